"""The library itself, up to its kernels, takes what the backend gives it, as on cards of each generation."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests.engine.conftest import ON_LIBRARY
from tests.engine.flashinfer_backend.real_library import real_library

from pie.engine.flashinfer_backend import library

pytestmark = list(ON_LIBRARY.marks)


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (10, 0), (12, 0)], ids=str)
def test_rows_are_multiplied_by_the_weights_of_their_segments(tmp_path: Path, capability: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(7, 32, generator=generator).bfloat16()
    weights = torch.randn(3, 32, 16, generator=generator).bfloat16()
    with real_library(tmp_path, capability), patch.object(library, "_WORKSPACE_BYTES", 1024):
        kernels = library.FlashInferKernels(torch.device("cpu"))
        product = kernels.segment_product(rows, weights, np.array([0, 2, 3, 7]))
    expected = torch.cat([rows[:2] @ weights[0], rows[2:3] @ weights[1], rows[3:] @ weights[2]])
    torch.testing.assert_close(product, expected, rtol=1e-2, atol=1e-2)
