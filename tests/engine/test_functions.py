"""The functions that the kernels compute sixteen at a time are those of mathematics, to a few bits of f32."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from pie.engine.kernel_build import FLAGS, SOURCES

Float32Array = npt.NDArray[np.float32]
Apply = Callable[[str, Float32Array], Float32Array]
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu": functional.gelu,
    "tanh": torch.tanh,
}


@pytest.fixture(scope="module")
def apply(tmp_path_factory: pytest.TempPathFactory) -> Apply:
    """A function of the kernels, of numbers whose count is a multiple of 16."""
    library = tmp_path_factory.mktemp("functions") / "functions.so"
    source = Path(__file__).parent / "functions.cpp"
    compiler = shutil.which("g++")
    assert compiler is not None
    subprocess.run([compiler, *FLAGS, "-march=native", f"-I{SOURCES}", str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))

    def applied(name: str, x: Float32Array) -> Float32Array:
        made = np.empty_like(x)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, made)]
        loaded.apply_function(list(FUNCTIONS).index(name), *pointers, len(x))
        return made

    return applied


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_right_to_a_few_bits(apply: Apply, name: str) -> None:
    x = np.concatenate([np.linspace(-12, 12, 48000), np.geomspace(1e-30, 1e4, 8000), -np.geomspace(1e-30, 1e4, 8000)])
    x = x.astype(np.float32)
    expected = FUNCTIONS[name](torch.from_numpy(x).double()).numpy()
    got = apply(name, x)
    assert (np.abs(got - expected) <= 2e-7 * np.maximum(1, np.abs(x))).all()
    near = np.abs(x) < 4
    assert (np.abs(got - expected)[near] <= 2e-6 * np.abs(expected)[near] + 1e-37).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_not_a_number_stays_so_and_harms_no_other_lane(apply: Apply, name: str) -> None:
    x = np.linspace(-3, 3, 16, dtype=np.float32)
    plain = apply(name, x)
    x[5] = np.nan
    got = apply(name, x)
    assert np.isnan(got[5])
    np.testing.assert_array_equal(np.delete(got, 5), np.delete(plain, 5))
