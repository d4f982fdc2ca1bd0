"""Products with quantized matrices in C++: right to the last digit that rows keep, and the same bits however made."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pie.engine.kernel_build import FLAGS, SOURCES
from pie.engine.memory import Arena
from pie.engine.packing import pack
from pie.engine.quantization import QuantizedMatrix, quantize
from pie.engine.schemes import SCHEMES, Scheme

Float32Array = npt.NDArray[np.float32]
BUILT = [scheme for choice in SCHEMES.values() if choice for scheme in (choice.layers, choice.head)]
OTHERS = [Scheme(8, 64), Scheme(8, 32), Scheme(4, 64), Scheme(4, 128)]


@dataclass(frozen=True, slots=True)
class Product:
    """The products of one build."""

    library: ctypes.CDLL

    def has_tiles(self, matrix: QuantizedMatrix) -> bool:
        """Whether the processor's tiles can multiply by it."""
        return bool(self.library.has_tiles(_sizes(matrix, 1, 1)))

    def add(self, x: Float32Array, matrix: QuantizedMatrix, y: Float32Array, *, tiles: bool, threads: int = 1) -> None:
        """y [rows, outputs] += x [rows, inputs] W^T; outputs are a multiple of 32."""
        packed = pack(matrix, Arena())
        sizes = _sizes(matrix, len(x), threads)
        self.library.add_product(_pointer(x), ctypes.c_void_p(packed.data_ptr()), sizes, int(tiles), _pointer(y))


def _sizes(matrix: QuantizedMatrix, rows: int, threads: int) -> ctypes.Array[ctypes.c_int]:
    scheme = matrix.scheme
    return (ctypes.c_int * 6)(rows, len(matrix.codes), matrix.inputs, scheme.group, scheme.bits, threads)


def _pointer(array: Float32Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Product]:
    """Builds the product for a processor, with more flags for the compiler."""
    folder = tmp_path_factory.mktemp("product")

    @cache
    def made(machine: str, *flags: str) -> Product:
        library = folder / f"{machine}{''.join(flags)}.so"
        source = Path(__file__).parent / "quantized_product.cpp"
        compiler = shutil.which("g++")
        assert compiler is not None
        command = [compiler, *FLAGS, *flags, f"-march={machine}", f"-I{SOURCES}", str(source), "-o", str(library)]
        subprocess.run(command, check=True)
        return Product(ctypes.CDLL(str(library)))

    return made


@pytest.fixture(scope="module")
def product(build: Callable[..., Product]) -> Product:
    return build("native")


def random_case(
    scheme: Scheme, rows: int, outputs: int, inputs: int, seed: int
) -> tuple[Float32Array, QuantizedMatrix, Float32Array]:
    """Rows of any size with some far larger numbers, a matrix, and what the product is added to."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, inputs)) * 10.0 ** rng.integers(-4, 4, (rows, 1))).astype(np.float32)
    x[rng.random(x.shape) < 0.02] *= 50
    matrix, _ = quantize(torch.from_numpy(rng.normal(size=(outputs, inputs))), scheme, torch.float32)
    return x, matrix, rng.normal(size=(rows, outputs)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(BUILT + OTHERS),
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_a_product_is_that_of_the_numbers_that_the_integers_stand_for(
    product: Product, scheme: Scheme, rows: int, blocks: int, lanes: int, tiles: bool, seed: int
) -> None:
    x, matrix, y = random_case(scheme, rows, 32 * blocks, 16 * lanes, seed)
    wide = matrix.wide().numpy().astype(np.float64)
    expected = x.astype(np.float64) @ wide.T + y
    # A number of a row is rounded to 1/16256 of the largest of its group, and sums to 24 bits.
    starts = range(0, x.shape[1], scheme.group)
    steps = np.concatenate([np.abs(x[:, at : at + scheme.group]).max(1, keepdims=True) for at in starts], 1) / 16256
    widths = np.stack([np.abs(wide[:, at : at + scheme.group]).sum(1) for at in starts])
    bound = 0.51 * steps @ widths + 2e-6 * (np.abs(x) @ np.abs(wide).T + np.abs(y))
    product.add(x, matrix, y, tiles=tiles and product.has_tiles(matrix))
    assert (np.abs(y - expected) <= bound).all()


@pytest.mark.parametrize("scheme", BUILT + OTHERS, ids=str)
@pytest.mark.parametrize("inputs", [64, 192, 256, 400, 1024])
def test_a_row_has_the_same_bits_alone_among_others_in_tiles_and_on_threads(
    product: Product, scheme: Scheme, inputs: int
) -> None:
    x, matrix, before = random_case(scheme, 37, 160, inputs, 5)
    alone = before.copy()
    for row in range(len(x)):
        product.add(x[row : row + 1], matrix, alone[row : row + 1], tiles=False)
    for tiles in {False, product.has_tiles(matrix)}:
        for threads in (1, 2, 3):
            for rows in (2, 3, 4, 7, 16, 17, 32, 37):
                y = before[:rows].copy()
                product.add(x[:rows], matrix, y, tiles=tiles, threads=threads)
                np.testing.assert_array_equal(y, alone[:rows])


@dataclass(frozen=True, slots=True)
class Plain:
    """A processor without products of bytes."""

    machine: str
    needs: str = "sse2"
    """The flag of /proc/cpuinfo without which what is built for it does not run."""
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "".join((self.machine, *self.flags))

    @property
    def fuses(self) -> bool:
        """Whether it has fused multiplications and additions."""
        return self.machine != "x86-64"


# Without SSE2 the products are those of ARM.
PLAIN = [
    Plain("x86-64", flags=("-U__SSE2__",)),
    Plain("x86-64"),
    Plain("x86-64-v3", "fma"),
    Plain("x86-64-v4", "avx512bw"),
]


@pytest.fixture(params=PLAIN, ids=str)
def plain(request: pytest.FixtureRequest) -> Plain:
    chosen: Plain = request.param
    if platform.machine() != "x86_64" or chosen.needs not in Path("/proc/cpuinfo").read_text().split():
        pytest.skip(f"needs x86-64 with {chosen.needs}")
    return chosen


@pytest.mark.parametrize("scheme", BUILT + OTHERS, ids=str)
def test_plainer_processors_make_the_same_bits(build: Callable[..., Product], plain: Plain, scheme: Scheme) -> None:
    fusing = () if plain.fuses else ("-ffp-contract=off",)  # then the native build must not fuse either
    built, native = build(plain.machine, *plain.flags, *fusing), build("native", *fusing)
    for blocks, inputs in ((5, 400), (2, 1024)):  # five blocks: more than are read side by side
        x, matrix, before = random_case(scheme, 33, 32 * blocks, inputs, 7)
        expected = before.copy()
        native.add(x, matrix, expected, tiles=False)
        for rows in (*range(1, 10), 15, 16, 17, 33):
            y = before[:rows].copy()
            built.add(x[:rows], matrix, y, tiles=False, threads=1 + rows % 2)
            np.testing.assert_array_equal(y, expected[:rows])


@pytest.mark.parametrize("bits", [4, 8])
def test_the_largest_sums_of_a_group_are_exact_on_plainer_processors(
    build: Callable[..., Product], plain: Plain, bits: Literal[4, 8]
) -> None:
    scheme = Scheme(bits, 128)
    codes = torch.full((64, 256 * bits // 8), 255, dtype=torch.uint8)
    matrix = QuantizedMatrix(codes, torch.ones((64, 2), dtype=torch.bfloat16), 256, scheme, torch.float32)
    x, y = np.full((6, 256), 127 * 128, np.float32), np.zeros((6, 64), np.float32)
    x[1::2] *= -1
    build(plain.machine, *plain.flags).add(x, matrix, y, tiles=False)
    np.testing.assert_array_equal(y, np.broadcast_to(x[:, :1] * np.float32(scheme.half - 1) * 256, y.shape))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks for an x86-64 build")
def test_processors_that_multiply_bytes_but_not_bf16_have_products(build: Callable[..., Product]) -> None:
    build("cascadelake")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scheme", BUILT, ids=str)
def test_what_is_not_finite_stays_so_in_its_row_alone(product: Product, scheme: Scheme, value: float) -> None:
    x, matrix, y = random_case(scheme, 3, 32, 256, 9)
    x[1, 77] = value
    product.add(x, matrix, y, tiles=False)
    assert not np.isfinite(y[1]).any()
    assert np.isfinite(y[[0, 2]]).all()


def test_rows_of_zeros_and_of_the_smallest_numbers_add_nothing_that_can_be_seen(product: Product) -> None:
    x, matrix, y = random_case(BUILT[0], 2, 32, 256, 11)
    x[0], x[1] = 0, 1e-40
    before = y.copy()
    product.add(x, matrix, y, tiles=False)
    np.testing.assert_allclose(y, before, atol=1e-30)
