"""Numbers in eight bits are those of torch, code by code, whatever the processor has for them."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pie.engine.kernel_build import FLAGS, SOURCES
from pie.engine.kv_form import FP8, keep

Bytes = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
MACHINES = ("native", "x86-64") if platform.machine() == "x86_64" else ("native",)
CODES = np.arange(256, dtype=np.uint8)


class Kernel:
    """The functions of `native/fp8.h`."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def kept(self, numbers: Float32Array) -> Bytes:
        codes = np.empty(len(numbers), np.uint8)
        self._call("to_fp8_each", numbers, codes)
        return codes

    def expanded(self, codes: Bytes, dtype: torch.dtype) -> torch.Tensor:
        made = torch.empty(len(codes), dtype=dtype)
        name = "expand_to_float" if dtype == torch.float32 else "expand_to_bf16"
        self._call(name, codes, made)
        return made

    def _call(self, name: str, given: Float32Array | Bytes, made: Bytes | torch.Tensor) -> None:
        to = made.data_ptr() if isinstance(made, torch.Tensor) else made.ctypes.data
        self._library[name](ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(to), len(given))


@pytest.fixture(scope="module", params=MACHINES)
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    library = tmp_path_factory.mktemp("fp8") / "fp8.so"
    compiler, source = shutil.which("g++"), Path(__file__).parent / "fp8.cpp"
    assert compiler is not None
    flags = [*FLAGS, f"-march={request.param}", f"-I{SOURCES}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    return Kernel(library)


def by_torch(numbers: Float32Array) -> Bytes:
    codes: Bytes = keep(torch.from_numpy(numbers), FP8).view(torch.uint8).numpy()
    return codes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_code_is_the_number_that_torch_says(kernel: Kernel, dtype: torch.dtype) -> None:
    shuffled = np.random.default_rng(0).permutation(np.tile(CODES, 3))
    got = kernel.expanded(shuffled, dtype)
    expected = torch.from_numpy(shuffled).view(FP8).to(dtype)
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)
    finite = ~expected.isnan()
    assert torch.equal(torch.signbit(got)[finite], torch.signbit(expected)[finite])


def test_every_number_of_sixteen_bits_is_kept_as_torch_keeps_it(kernel: Kernel) -> None:
    patterns = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    for numbers in (patterns.view(torch.bfloat16).float().numpy(), patterns.view(torch.float16).float().numpy()):
        finite = ~np.isnan(numbers)
        got, expected = kernel.kept(numbers), by_torch(numbers)
        np.testing.assert_array_equal(got[finite], expected[finite])
        assert (got[~finite] & 0x7F == 0x7F).all()


@given(arrays.arrays(np.float32, 64, elements=st.floats(-500, 500, width=32)))
def test_any_number_is_kept_as_torch_keeps_it(kernel: Kernel, numbers: Float32Array) -> None:
    np.testing.assert_array_equal(kernel.kept(numbers), by_torch(numbers))


def test_a_number_halfway_goes_to_the_even_one_and_nothing_leaves_the_range(kernel: Kernel) -> None:
    numbers = np.array([0, 2**-10, 3 * 2**-10, 1.0625, 1.1875, 447, 449, 1e30, np.inf, -np.inf], np.float32)
    got = torch.from_numpy(kernel.kept(numbers)).view(FP8).float().tolist()
    assert got == [0, 0, 2**-8, 1, 1.25, 448, 448, 448, 448, -448]


def test_what_was_kept_is_kept_as_it_is(kernel: Kernel) -> None:
    numbers = kernel.expanded(CODES, torch.float32).numpy()
    codes = kernel.kept(numbers)
    np.testing.assert_array_equal(codes[~np.isnan(numbers)], CODES[~np.isnan(numbers)])
