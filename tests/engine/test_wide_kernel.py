"""Products of bf16 rows with wide matrices in C++, which have several ways to the same bits."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from pie.engine.kernel_build import FLAGS, SOURCES
from pie.engine.memory import Arena
from pie.engine.packing import BLOCK, pack

Float32Array = npt.NDArray[np.float32]
OUTPUTS = [BLOCK * blocks for blocks in (1, 2, 3, 4, 7, 9, 21)]
"""The last ones are of matrices that are read ahead, with or without tiles."""


PLAINER = ["x86-64", "x86-64-v3"] if platform.machine() == "x86_64" else []
"""Processors with SSE2 and with AVX2, whose registers hold four numbers and eight."""


@pytest.fixture(scope="module", params=["native", *PLAINER])
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("product") / "product.so"
    compiler = shutil.which("g++")
    assert compiler is not None
    source = Path(__file__).parent / "wide_product.cpp"
    machine = f"-march={request.param}"
    subprocess.run([compiler, *FLAGS, machine, f"-I{SOURCES}", str(source), "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def add(
    library: ctypes.CDLL, x: torch.Tensor, matrix: torch.Tensor, y: Float32Array, *, threads: int = 1
) -> Float32Array:
    """y [rows, outputs] + x [rows, inputs] W^T."""
    packed, y = pack(matrix, Arena()), y.copy()
    sizes = (ctypes.c_int * 4)(len(x), *matrix.shape, threads)
    pointers = [ctypes.c_void_p(tensor.contiguous().data_ptr()) for tensor in (x, packed)]
    library.add_product(*pointers, sizes, ctypes.c_void_p(y.ctypes.data))
    return y


def random_case(
    rows: int, outputs: int, inputs: int, seed: int, *, size: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, Float32Array]:
    """Rows and a matrix of numbers of about `size`, and what is added to, of about its square."""
    rng = np.random.default_rng(seed)
    x, matrix, y = (
        (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 1, shape) * scale).astype(np.float32)
        for shape, scale in (((rows, inputs), size), ((outputs, inputs), size), ((rows, outputs), size * size))
    )
    return torch.from_numpy(x).bfloat16(), torch.from_numpy(matrix).bfloat16(), y


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 16, 17, 33])
def test_a_product_is_right_to_the_rounding_of_its_sums(library: ctypes.CDLL, rows: int, outputs: int) -> None:
    x, matrix, y = random_case(rows, outputs, 800, rows)
    expected = x.double() @ matrix.double().T + torch.from_numpy(y).double()
    sizes = x.double().abs() @ matrix.double().abs().T
    assert (np.abs(add(library, x, matrix, y) - expected.numpy()) <= 4e-6 * sizes.numpy()).all()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(OUTPUTS),
    st.sampled_from([32, 768, 800, 816, 1024]),
    st.sampled_from([2, 3, 5, 8, 15, 16, 17, 32, 40, 64, 70]),
    st.integers(1, 3),
    st.sampled_from([1.0, 1e-18, 1e-19, 1e-20]),
    st.integers(0, 2**32 - 1),
)
def test_a_row_has_the_same_bits_alone_among_others_and_on_threads(
    library: ctypes.CDLL, outputs: int, inputs: int, rows: int, threads: int, size: float, seed: int
) -> None:
    x, matrix, y = random_case(rows, outputs, inputs, seed, size=size)
    together = add(library, x, matrix, y, threads=threads)
    for row in range(0, rows, 3):
        alone = add(library, x[row : row + 1], matrix, y[row : row + 1])
        np.testing.assert_array_equal(alone[0].view(np.int32), together[row].view(np.int32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [1, 3])
def test_what_is_not_finite_stays_so_in_its_row_alone(library: ctypes.CDLL, rows: int, value: float) -> None:
    x, matrix, y = random_case(rows, 96, 800, 3)
    x[0, 77] = value
    result = add(library, x, matrix, y)
    assert not np.isfinite(result[0]).any()
    assert np.isfinite(result[1:]).all()
