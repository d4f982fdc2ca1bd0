"""Weights that do not fit into memory are refused before they are read, with what would fit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from tests.engine.foreign_models import write_foreign

from pie.engine.description import describe_model
from pie.engine.engine import Engine
from pie.engine.memory import lazy_zeros
from pie.errors import ModelError
from pie.testing import write_random_model


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How much memory is free; tests say."""
    told = {"bytes": 0}
    for module in ("room", "backend_choice"):
        monkeypatch.setattr(f"pie.engine.{module}.available_bytes", lambda: told["bytes"])
    return told


def test_weights_that_do_not_fit_are_refused_with_the_choice_that_does(tmp_path: Path, free: dict[str, int]) -> None:
    path = write_random_model(tmp_path / "model", "llama")
    sizes = describe_model(path).weight_bytes
    free["bytes"] = sizes["original"] - 1
    with pytest.raises(ModelError, match=r"not-enough-memory: the weights of model take .* GiB") as caught:
        Engine(path, num_pages=4)
    assert "--weights int8 or --weights int4 or a smaller model" in caught.value.remedy
    assert Engine(path, weights="int8", num_pages=4).quantization is not None
    free["bytes"] = sizes["int4"]
    with pytest.raises(ModelError, match="not-enough-memory") as caught:
        Engine(path, weights="int8", num_pages=4)
    assert caught.value.remedy == "Free memory, or choose --weights int4 or a smaller model."
    free["bytes"] = sizes["original"]
    assert Engine(path, num_pages=4).info.num_pages == 4


def test_weights_of_transformers_that_do_not_fit_are_refused(tmp_path: Path, free: dict[str, int]) -> None:
    path = write_foreign(tmp_path / "model", "gpt2")
    free["bytes"] = describe_model(path).weight_bytes["original"] - 1
    with pytest.raises(ModelError, match="not-enough-memory") as caught:
        Engine(path, num_pages=4)
    assert caught.value.remedy == "Free memory, or choose a smaller model."
    free["bytes"] += 1
    assert Engine(path, num_pages=4).backend == "transformers"


def test_pages_that_would_not_fit_once_they_are_used_are_refused(tmp_path: Path, free: dict[str, int]) -> None:
    path = write_random_model(tmp_path / "model")
    page_bytes = 16 * describe_model(path).kv_bytes_per_token
    free["bytes"] = 200 * page_bytes
    assert Engine(path, num_pages=150, num_host_pages=50).info.num_pages == 150
    assert Engine(path, num_pages=300, num_host_pages=0, kv_cache="fp8").info.num_pages == 300
    for num_pages, num_host_pages in ((151, 50), (1, 200), (2**62, 0), (2**62, None)):
        with pytest.raises(ModelError, match=f"not-enough-memory: {num_pages:,} KV pages") as caught:
            Engine(path, num_pages=num_pages, num_host_pages=num_host_pages)
        assert "model.kv_pages" in caught.value.remedy


@pytest.mark.parametrize("kv_cache", ["model", "fp8"])
@pytest.mark.parametrize("num_pages", [None, 10, 100, 170])
def test_host_pages_are_half_as_many_as_pages_or_as_many_as_fit_beside_them(
    tmp_path: Path, free: dict[str, int], num_pages: int | None, kv_cache: Literal["model", "fp8"]
) -> None:
    path = write_random_model(tmp_path / "model")
    page_bytes = 16 * describe_model(path).kv_bytes_per_token
    free["bytes"] = 200 * page_bytes
    info = Engine(path, num_pages=num_pages, kv_cache=kv_cache).info
    taken = info.num_pages * info.page_bytes + info.num_host_pages * page_bytes
    if (
        taken <= 0.8 * free["bytes"] - page_bytes
        and info.num_host_pages * page_bytes < 0.4 * free["bytes"] - page_bytes
    ):
        assert info.num_host_pages == info.num_pages // 2
    assert taken <= 0.8 * free["bytes"] or info.num_host_pages == 0
    if num_pages is None:
        assert info.num_pages == free["bytes"] * 4 // 10 // info.page_bytes


def test_more_bytes_than_addresses_are_memory_that_is_not_there() -> None:
    with pytest.raises(MemoryError, match="more than an address can tell"):
        lazy_zeros((2**62,), torch.float32)
