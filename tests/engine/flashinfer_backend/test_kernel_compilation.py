"""Kernels that the backend asks flashinfer for compile, and take the arguments that it gives them, as far as a GPU.

Told where nvcc and flashinfer are installed. A few stand for all: `compile_kernels.py` compiles the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.engine.flashinfer_backend.compile_kernels import why_no_compiler

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(why_no_compiler() is not None, reason=str(why_no_compiler())),
]


@pytest.mark.parametrize("capability", ["8.0", "9.0"])
def test_kernels_compile_and_take_what_the_backend_gives_them(tmp_path: Path, capability: str) -> None:
    built = compiled(tmp_path, capability, "^(page|quantization|cascade)$")
    assert {name: list(refused) for name, refused in built.items()} == {
        "page": ["append_paged_kv_cache"],
        "quantization": ["segment_packbits"],
        "cascade": ["merge_state"],
    }
    for refused in built.values():
        assert all(reason.endswith("must be a CUDA tensor") for reason in refused.values())


def test_attention_compiles_and_takes_what_the_backend_gives_it(tmp_path: Path) -> None:
    ((_, refused),) = compiled(tmp_path, "8.0", "kv_e4m3.*head_dim_qk_64.*swa_True_use_logits_cap_True").items()
    assert list(refused) == ["plan", "paged_run"]
    assert all(reason.startswith("CUDA Runtime Error") for reason in refused.values())


def compiled(folder: Path, capability: str, only: str) -> dict[str, dict[str, str]]:
    """What the functions of the modules say of their arguments; a process of its own, as an architecture wants."""
    command = [sys.executable, "-m", "tests.engine.flashinfer_backend.compile_kernels"]
    options = ["--capability", capability, "--folder", str(folder), "--only", only]
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {line["module"]: line["refused"] for line in map(json.loads, done.stdout.splitlines())}
