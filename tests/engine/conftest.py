"""Small random models and engines over them, one per backend. The GPU's kernels want heads of 64 numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from tests.engine.flashinfer_backend.on_a_processor import on_a_processor
from tests.engine.flashinfer_backend.real_library import real_library, why_no_library

from pie.engine.engine import Engine
from pie.engine.flashinfer_backend.availability import check_flashinfer
from pie.engine.weights import load_model
from pie.errors import ModelError
from pie.testing import Family, ModelSizes, write_random_model

BackendChoice = Literal["native", "torch"]
AnyBackend = Literal["native", "torch", "tables", "library", "flashinfer"]
MakeEngine = Callable[..., Engine]


def why_no_gpu() -> str | None:
    """Why the tests of a GPU cannot run here; None if they can."""
    try:
        check_flashinfer()
    except ModelError as error:
        return error.cause
    return None


ON_GPU = pytest.param(
    "flashinfer", marks=[pytest.mark.gpu, pytest.mark.skipif(why_no_gpu() is not None, reason=str(why_no_gpu()))]
)
ON_CPU = ["native", "torch", "tables"]
_WHY_NO_LIBRARY = why_no_library() or (None if why_no_gpu() else "there is a GPU, which tells more")
ON_LIBRARY = pytest.param("library", marks=pytest.mark.skipif(_WHY_NO_LIBRARY is not None, reason=str(_WHY_NO_LIBRARY)))
IN_HALF_PRECISION = ("library", "flashinfer")


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family, int], Path]:
    """The random model of a family with heads of such a width, written once."""
    folder = tmp_path_factory.mktemp("models")

    def model(family: Family, head_dim: int) -> Path:
        path = folder / f"{family}-{head_dim}"
        return path if path.exists() else write_random_model(path, family, sizes=ModelSizes(head_dim=head_dim))

    return model


@pytest.fixture
def models(model_of: Callable[[Family, int], Path], request: pytest.FixtureRequest) -> Callable[[Family], Path]:
    """The random model of a family, for the backend of the test if it has one."""
    backend = request.getfixturevalue("backend") if "backend" in request.fixturenames else "torch"
    return lambda family: model_of(family, 64 if backend in IN_HALF_PRECISION else ModelSizes().head_dim)


@pytest.fixture(params=ON_CPU)
def backend(request: pytest.FixtureRequest) -> AnyBackend:
    """Each backend of a CPU in turn; "tables" is that of flashinfer with a stand-in for the library.

    What holds up to rounding alone is told of a GPU too: such a module has a fixture of this name with `ON_GPU`, and
    with `ON_LIBRARY`, which is the library itself on a processor, up to its kernels.
    """
    choice: AnyBackend = request.param
    return choice


def tolerance(backend: AnyBackend) -> float:
    """How far numbers may be from the exact ones, by the largest of them: a GPU computes in bfloat16."""
    return 0.05 if backend in IN_HALF_PRECISION else 1e-5


@pytest.fixture(autouse=True)
def real_module(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModuleType | None]:
    """The real library, for tests whose backend is that."""
    if "backend" in request.fixturenames and request.getfixturevalue("backend") == "library":
        with real_library(tmp_path_factory.mktemp("kernels")) as asked:
            yield asked.library
    else:
        yield None


def engine_on(backend: AnyBackend, path: Path, options: dict[str, object]) -> Engine:
    """An engine over the model in a directory."""
    if backend in IN_HALF_PRECISION:
        options = {"dtype": "bfloat16"} | options
    pretended = backend in ("tables", "library")
    engine = Engine(path, **({"backend": "torch" if pretended else backend} | options))  # type: ignore[arg-type]
    if pretended:
        module = importlib.import_module("flashinfer") if backend == "library" else None
        on_a_processor(engine, load_model(path, dtype=options.get("dtype")), library_module=module)  # type: ignore[arg-type]
    return engine


@pytest.fixture
def make_engine(models: Callable[[Family], Path], backend: AnyBackend) -> MakeEngine:
    """An engine over a random model, on the backend of the test."""

    def make(family: Family = "qwen3", **options: object) -> Engine:
        return engine_on(backend, models(family), {"num_pages": 64, "threads": 1} | options)

    return make


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """A Qwen3 engine in f32 with 64 pages."""
    return make_engine()
