"""Pages are copied, written to disk and read back without losing a bit, and only where they fit."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tests.engine.batches import Draw, Feed, Held, greedy, make_batch, row_logits
from tests.engine.conftest import MakeEngine

from pie.engine.engine import Engine
from pie.errors import ContextError, RequestError
from pie.forward import Logits
from pie.testing import Family, write_random_model

PROMPT = list(range(60, 97))  # three pages, the last one partly filled


def test_a_fork_by_page_copy_goes_its_own_way(make_engine: MakeEngine) -> None:
    engine, reference = make_engine(), make_engine()
    parent = Held([5, 1, 8])
    row_logits(engine, parent, PROMPT)
    child = Held([5, 1, 30], parent.length)
    batch = make_batch(
        [Feed(child, [200], probes=[Logits()]), Feed(parent, [100], probes=[Logits()])],
        vocab_size=320,
        page_copies=[(8, 30)],
    )
    got = engine.step(batch).probes
    for value, token in zip(got, (200, 100), strict=True):
        expected = row_logits(reference, Held([0, 1, 2]), [*PROMPT, token])[-1]
        np.testing.assert_array_equal(value, expected)


def test_page_copies_are_done_one_after_another(engine: Engine) -> None:
    row_logits(engine, Held([0]), [1, 2, 3])
    row_logits(engine, Held([1]), [4, 5, 6])
    before = engine._backend.read_pages([0])
    engine.step(make_batch([Feed(Held([9]), [1], [Draw()])], vocab_size=320, page_copies=[(0, 1), (1, 2)]))
    assert torch.equal(engine._backend.read_pages([2]), before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pages_come_back_from_host_memory_bit_for_bit_in_other_places(make_engine: MakeEngine, dtype: str) -> None:
    engine = make_engine(dtype=dtype)
    held, other = Held([5, 1, 8]), Held([6, 2, 9])
    row_logits(engine, held, PROMPT)
    before = engine._backend.read_pages([5, 1, 8])
    engine.move_pages([(5, 3), (1, 0), (8, 4)], [])
    row_logits(engine, other, PROMPT[::-1])
    engine.move_pages([(6, 1)], [(17, 3), (40, 0), (2, 4), (9, 1)])
    assert torch.equal(engine._backend.read_pages([17, 40, 2]), before)
    assert torch.equal(engine._backend.read_pages([9]), engine._backend.read_pages([6]))
    assert greedy(engine, Held([17, 40, 2], held.length), [7], 5) == greedy(engine, held, [7], 5)


@pytest.mark.parametrize("moves", [([(0, 10**6)], []), ([(10**6, 0)], []), ([], [(-1, 0)]), ([], [(0, -1)])])
def test_moves_of_pages_that_do_not_exist_are_refused(
    engine: Engine, moves: tuple[list[tuple[int, int]], list[tuple[int, int]]]
) -> None:
    with pytest.raises(RequestError, match="bad-batch"):
        engine.move_pages(*moves)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_pages_come_back_bit_for_bit_in_other_places(make_engine: MakeEngine, tmp_path: Path, dtype: str) -> None:
    engine = make_engine(dtype=dtype)
    held = Held([5, 1, 8])
    row_logits(engine, held, PROMPT)
    path = tmp_path / "context.safetensors"
    engine.save_pages(path, held.pages, metadata={"name": "a", "tokens": "37"})
    other = make_engine(dtype=dtype)
    other.load_pages(path, [40, 2, 17])
    restored = Held([40, 2, 17], held.length)
    assert greedy(other, restored, [7], 5) == greedy(engine, held, [7], 5)
    with safe_open(path, "np") as file:
        assert file.metadata()["tokens"] == "37"


def test_pages_of_one_backend_open_in_the_other(models: Callable[[Family], Path], tmp_path: Path) -> None:
    native, plain = (Engine(models("qwen3"), backend=name, num_pages=16) for name in ("native", "torch"))
    held = Held([5, 1, 8])
    row_logits(native, held, PROMPT)
    native.save_pages(tmp_path / "pages", held.pages, metadata={})
    plain.load_pages(tmp_path / "pages", [3, 2, 1])
    assert torch.equal(plain._backend.read_pages([3, 2, 1]), native._backend.read_pages([5, 1, 8]))
    expected = row_logits(native, held, [9])
    np.testing.assert_allclose(row_logits(plain, Held([3, 2, 1], len(PROMPT)), [9]), expected, rtol=0, atol=1e-4)


def test_a_file_of_another_model_is_refused(make_engine: MakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "pages"
    make_engine().save_pages(path, [1], metadata={})
    other = Engine(write_random_model(tmp_path / "other", seed=1), num_pages=4)
    with pytest.raises(ContextError, match=r"snapshot-unusable.*another model"):
        other.load_pages(path, [1])


@pytest.mark.parametrize("damage", ["missing", "cut short", "garbage", "other size", "other dtype"])
def test_an_unusable_file_is_refused_and_leaves_the_pages_alone(
    make_engine: MakeEngine, tmp_path: Path, damage: str
) -> None:
    engine = make_engine()
    path = tmp_path / "pages"
    maker = make_engine(dtype="bfloat16") if damage == "other dtype" else engine
    maker.save_pages(path, [1, 2] if damage == "other size" else [1], metadata={})
    if damage == "missing":
        path.unlink()
    if damage == "cut short":
        os.truncate(path, path.stat().st_size // 2)
    if damage == "garbage":
        path.write_bytes(b"\xff" * 100)
    row_logits(engine, Held([3]), [1, 2, 3])
    before = engine._backend.read_pages([3])
    with pytest.raises(ContextError, match="snapshot-unusable"):
        engine.load_pages(path, [3])
    assert torch.equal(engine._backend.read_pages([3]), before)


def test_a_bit_that_flipped_on_the_disk_is_found_before_its_page_is_used(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "pages"
    row_logits(engine, Held([1]), [1, 2, 3])
    engine.save_pages(path, [1], metadata={"name": "a", "token_ids": "[1, 2, 3]"})
    whole = path.read_bytes()
    rng = random.Random(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*rng.sample(range(header), min(header, 200)), *rng.sample(range(header, len(whole)), 100)]
    before = engine._backend.read_pages([3])
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
        with pytest.raises(ContextError, match="snapshot-unusable"):
            engine.load_pages(path, [3])
    assert torch.equal(engine._backend.read_pages([3]), before)


def test_a_failed_save_leaves_neither_a_new_file_nor_a_broken_old_one(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="snapshot-not-saved"):
        engine.save_pages(tmp_path / "missing" / "pages", [1], metadata={})
    folder = tmp_path / "taken"
    folder.mkdir()
    with pytest.raises(ContextError, match="snapshot-not-saved"):
        engine.save_pages(folder, [1], metadata={})
    assert list(tmp_path.iterdir()) == [folder]


def test_a_page_that_does_not_exist_is_refused(engine: Engine, tmp_path: Path) -> None:
    for pages in ([64], [-1]):
        with pytest.raises(RequestError, match="bad-batch"):
            engine.save_pages(tmp_path / "pages", pages, metadata={})
        with pytest.raises(RequestError, match="bad-batch"):
            engine.load_pages(tmp_path / "pages", pages)


def test_no_pages_at_all_can_be_saved_and_loaded(engine: Engine, tmp_path: Path) -> None:
    engine.save_pages(tmp_path / "pages", [], metadata={"empty": "yes"})
    engine.load_pages(tmp_path / "pages", [])
