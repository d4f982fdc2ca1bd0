"""A batch with one number out of range is refused whole, before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.engine.batches import Draw, Feed, Held, make_batch

from pie.engine.engine import Engine
from pie.errors import RequestError
from pie.forward import Batch, Entropy


@pytest.fixture
def batch() -> Batch:
    visible = np.tril(np.ones((4, 4), np.bool_))
    feeds = [
        Feed(Held([0, 1], 16), [1, 2, 3], [Draw(mask=np.full(10, 0xFFFFFFFF, np.uint32))]),
        Feed(Held([2]), [4, 5, 6, 7], [Draw()], visible=visible),
    ]
    return make_batch(feeds, vocab_size=320, page_copies=[(5, 6)])


def changed(array: npt.NDArray[Any], index: int | tuple[int, int], value: int) -> Any:
    copy = array.copy()
    copy[index] = value
    return copy


def test_a_sound_batch_runs(engine: Engine, batch: Batch) -> None:
    assert engine.step(batch).num_tokens.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "index", "values"),
    [
        ("token_ids", 1, (-1, 320)),
        ("positions", 0, (-1, 1024)),
        ("sequence_of_row", 3, (-1, 2)),
        ("kv_index", 0, (-1, 32)),
        ("kv_index", 3, (16,)),  # its table has a second column, but not for this sequence
        ("page_table", (0, 1), (-1, 64)),
        ("logit_rows", 0, (-1, 7)),
        ("sampler_rows", 1, (-1, 2)),
        ("sampler_masks", 0, (-2, 1)),
        ("masked_rows", 0, (-1, 7)),
        ("page_copies", (0, 0), (-1, 64)),
        ("page_copies", (0, 1), (-1, 64)),
    ],
)
def test_a_number_out_of_range_is_refused(
    engine: Engine, batch: Batch, name: str, index: int | tuple[int, int], values: tuple[int, ...]
) -> None:
    for value in values:
        broken = replace(batch, **{name: changed(getattr(batch, name), index, value)})
        before = engine._backend.read_pages(range(64))
        with pytest.raises(RequestError, match="bad-batch"):
            engine.step(broken)
        assert bool((engine._backend.read_pages(range(64)) == before).all())


@pytest.mark.parametrize(
    "name", ["token_ids", "positions", "sequence_of_row", "kv_index", "temperature", "seeds", "top_k", "counters"]
)
def test_arrays_of_different_lengths_are_refused(engine: Engine, batch: Batch, name: str) -> None:
    with pytest.raises(RequestError, match="bad-batch"):
        engine.step(replace(batch, **{name: getattr(batch, name)[:-1]}))


@pytest.mark.parametrize(
    "changes",
    [
        {"token_ids": np.array([1, 2, 3, 4, 5, 6, 7], np.int64)},
        {"page_table": np.zeros(4, np.int32)},
        {"logit_masks": np.zeros((1, 9), np.uint32)},
        {"key_mask": np.ones((4, 3), np.uint8)},
        {"key_mask": np.ones((3, 4), np.uint8)},
        {"probes": ((2, Entropy()),)},
        {"page_copies": np.zeros((1, 3), np.int32)},
        {"steps": 0},
        {"steps": 2},
    ],
)
def test_arrays_of_a_wrong_kind_or_shape_are_refused(engine: Engine, batch: Batch, changes: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="bad-batch"):
        engine.step(replace(batch, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("logprobs", [[2], [-2, 0], [321, 0], [2**31 - 1, 0], [0, 0, 0]])
def test_logprobs_are_a_number_of_tokens_for_each_sampler(engine: Engine, batch: Batch, logprobs: list[int]) -> None:
    with pytest.raises(RequestError, match="logprobs"):
        engine.step(replace(batch, logprobs=np.array(logprobs, np.int32)))


def test_an_empty_batch_is_refused(engine: Engine, batch: Batch) -> None:
    none = np.zeros(0, np.int32)
    rows: dict[str, Any] = {"token_ids": none, "positions": none, "sequence_of_row": none, "kv_index": none}
    with pytest.raises(RequestError, match="bad-batch"):
        engine.step(replace(batch, **rows))


def test_strided_arrays_are_read_as_what_they_are(engine: Engine, batch: Batch) -> None:
    names = ("token_ids", "positions", "sequence_of_row", "kv_index", "temperature", "seeds")
    strided: dict[str, Any] = {name: np.repeat(getattr(batch, name), 2)[::2] for name in names}
    np.testing.assert_array_equal(engine.step(replace(batch, **strided)).tokens, engine.step(batch).tokens)


def test_a_step_may_draw_nothing_and_read_nothing(engine: Engine) -> None:
    feed = Feed(Held([0]), [1, 2, 3])
    silent = replace(make_batch([feed], vocab_size=320), logit_rows=np.zeros(0, np.int32))
    result = engine.step(silent)
    assert result.tokens.shape == (0, 1)
