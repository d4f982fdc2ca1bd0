"""What is asked for and not there is refused by name; auto goes on without it. No GPU and no flashinfer is needed."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.engine.conftest import why_no_gpu

from pie.engine.engine import Engine
from pie.engine.flashinfer_backend import availability
from pie.engine.flashinfer_backend.device_weights import move_model
from pie.engine.quantization import QuantizedMatrix
from pie.engine.weights import load_model
from pie.errors import ModelError
from pie.testing import ModelSizes, write_random_model

pytestmark = pytest.mark.skipif(why_no_gpu() is None, reason="there is a GPU with flashinfer here")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_random_model(tmp_path / "model")


@pytest.fixture
def wide_model(tmp_path: Path) -> Path:
    """One whose heads suit the kernels."""
    return write_random_model(tmp_path / "wide", sizes=ModelSizes(head_dim=64))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch say that there is a GPU, a rather new one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))


@pytest.fixture
def library(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let flashinfer look as if it were installed too, with its compilers; it cannot be imported."""
    real = importlib.util.find_spec
    monkeypatch.setattr(availability, "why_not_compiled", lambda: None)

    def find(name: str, package: str | None = None) -> object:
        return real("json") if name == "flashinfer" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setitem(__import__("sys").modules, "flashinfer", None)


def refused(path: Path, **options: object) -> ModelError:
    with pytest.raises(ModelError) as raised:
        Engine(path, num_pages=4, **options)  # type: ignore[arg-type]
    return raised.value


def test_flashinfer_without_a_gpu_is_refused_before_the_model_is_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere", backend="flashinfer").code == "no-gpu"


def test_flashinfer_that_is_not_installed_is_refused(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    error = refused(tmp_path / "nowhere", backend="flashinfer")
    assert error.code == "flashinfer-missing"
    assert "pie[gpu]" in error.remedy


def test_flashinfer_that_cannot_be_imported_is_refused(library: None, wide_model: Path) -> None:
    error = refused(wide_model, backend="flashinfer", dtype="bfloat16")
    assert error.code == "flashinfer-missing"
    assert "flashinfer" in error.cause


def test_a_card_that_does_not_multiply_bfloat16_is_refused(
    library: None, wide_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    error = refused(wide_model, backend="flashinfer", dtype="bfloat16")
    assert (error.code, "7.5" in error.cause) == ("no-gpu", True)


def test_programs_that_compile_the_kernels_are_looked_for_where_the_library_looks(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "flashinfer_jit_cache" else name)
    tools = tmp_path / "toolkit" / "bin"
    tools.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("CUDA_HOME", str(tools.parent))
    monkeypatch.delenv("CXX", raising=False)

    def refusal() -> str:
        with pytest.raises(ModelError) as raised:
            availability.check_flashinfer()
        assert raised.value.code == "flashinfer-missing"
        return raised.value.cause

    def put(name: str, release: str = "") -> None:
        (tools / name).write_text(f"#!/bin/sh\necho Cuda compilation tools, {release}\n")
        (tools / name).chmod(0o755)

    for missing in ("nvcc, ninja, c++", "ninja, c++", "c++"):
        assert refusal().endswith(f"not found: {missing}")
        put(missing.split(",")[0])
    assert refusal().endswith("nvcc is of no known version")
    put("nvcc", "release 12.6, V12.6.85")
    assert refusal().endswith("nvcc is 12.6")
    put("nvcc", "release 12.8, V12.8.61")
    availability.check_flashinfer()


def test_a_model_that_its_kernels_cannot_compute_is_refused(library: None, model: Path, wide_model: Path) -> None:
    narrow = refused(model, backend="flashinfer", dtype="bfloat16")
    assert (narrow.code, "head_dim is 32" in narrow.cause) == ("flashinfer-unsuited", True)
    heads = ModelSizes(hidden_size=8, num_attention_heads=33, num_key_value_heads=33, head_dim=256, num_hidden_layers=1)
    many = refused(write_random_model(model.parent / "many", sizes=heads), backend="flashinfer", dtype="bfloat16")
    assert (many.code, "8448 numbers" in many.cause) == ("flashinfer-unsuited", True)
    exact = refused(wide_model, backend="flashinfer", dtype="float32")
    assert (exact.code, "not in float32" in exact.cause) == ("flashinfer-unsuited", True)


def test_auto_computes_on_the_processor_and_says_why_if_there_is_a_gpu(
    gpu: None, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert Engine(model, num_pages=4).backend in ("native", "torch")
    assert "beside a GPU" in caplog.text


def test_auto_says_nothing_of_gpus_where_there_is_none(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert Engine(model, num_pages=4).backend in ("native", "torch")
    assert "GPU" not in caplog.text


def test_importing_the_engine_imports_no_flashinfer() -> None:
    code = "import sys, pie.engine.backend_choice; sys.exit('flashinfer' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.parametrize("weights", ["original", "int4"])
def test_all_weights_of_a_model_are_moved_and_what_is_one_stays_one(model: Path, weights: str) -> None:
    loaded = load_model(model, weights=weights)  # type: ignore[arg-type]
    moved = move_model(loaded, torch.device("meta")).weights
    assert moved.embedding.is_meta
    assert (moved.head is moved.embedding) == (loaded.weights.head is loaded.weights.embedding)
    for layer, before in zip(moved.layers, loaded.weights.layers, strict=True):
        for name in type(layer).__slots__:
            value, was = getattr(layer, name), getattr(before, name)
            if isinstance(value, QuantizedMatrix):
                assert value.codes.is_meta
                assert value.scales.is_meta
            else:
                assert (value is None) == (was is None)
                assert value is None or (value.is_meta and value.shape == was.shape)
