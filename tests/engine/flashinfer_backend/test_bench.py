"""The benchmark of the GPU says in one line of JSON that there is none, and its roofline is that of the larger part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benches.gpu import SHAPES, Speeds, roofline_s
from tests.engine.conftest import why_no_gpu

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(why_no_gpu() is None, reason="there is a GPU here")
def test_without_a_gpu_it_says_so_and_leaves_with_nothing_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benches.gpu", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["skipped"].startswith(("no-gpu: ", "flashinfer-missing: "))


def test_a_step_takes_at_least_as_long_as_reading_the_weights_or_multiplying_all_rows() -> None:
    slow_memory, slow_products = Speeds(1e12, 1e30), Speeds(1e30, 1e12)
    weights = 596_049_920 - 28 * 2 * (1024 + 128) - 1024  # of Qwen3-0.6B, without its norms
    assert roofline_s(SHAPES["0.6b"], 1, 0, slow_memory) == pytest.approx(2 * weights / 1e12)
    assert roofline_s(SHAPES["0.6b"], 8, 0, slow_products) == pytest.approx(8 * weights / 1e12)
    kept = 28 * 2 * 8 * 128 * 1000
    assert roofline_s(SHAPES["0.6b"], 4, 1000, slow_memory) == pytest.approx(2 * (weights + 4 * kept) / 1e12)
