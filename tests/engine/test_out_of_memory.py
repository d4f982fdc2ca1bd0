"""A step for which there is too little memory is told as such, and the engine goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.engine.conftest import BackendChoice

from pie.testing import ModelSizes, write_random_model

PROGRAM = """
import json, resource, sys
from pathlib import Path

import numpy as np
from tests.engine.batches import Held, row_logits

from pie.engine.engine import Engine
from pie.errors import DeviceOutOfMemory

engine = Engine(Path(sys.argv[1]), backend=sys.argv[2], num_pages=64, threads=1)
before = row_logits(engine, Held([0]), range(8))
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (200 << 20), resource.RLIM_INFINITY))
told = None
try:
    row_logits(engine, Held(list(range(1, 33))), [5] * 512)
except DeviceOutOfMemory as error:
    told = str(error)
print(json.dumps([told, bool((row_logits(engine, Held([0]), range(8)) == before).all())]))
"""


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(ModelSizes(vocab_size=150_000), id="logits"),  # those of 512 tokens take 300 MB
        pytest.param(ModelSizes(intermediate_size=64_000), id="activations"),  # 370 MB, taken inside the kernels
    ],
)
def test_a_step_that_does_not_fit_into_memory_is_told_and_the_next_one_is_done(
    backend: BackendChoice, sizes: ModelSizes, tmp_path: Path
) -> None:
    model = write_random_model(tmp_path / "model", "qwen3", sizes=sizes)
    command = [sys.executable, "-c", PROGRAM, str(model), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    told, same = json.loads(done.stdout.splitlines()[-1])
    assert told.startswith("device-out-of-memory: a step of 512 tokens does not fit into memory. ")
    assert same
