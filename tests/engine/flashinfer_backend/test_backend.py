"""The backend over a stand-in for the library: which calls steps take, and that they give what torch gives.

That whole models, masks, adapters, pages and decode runs hold is told by the suite of all backends, under "tables".
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from tests.engine.batches import Draw, Feed, Held, decode_batch, make_batch, row_logits
from tests.engine.flashinfer_backend.on_a_processor import on_a_processor
from tests.engine.flashinfer_backend.steps import Step, steps, visible
from tests.engine.test_adapters import hold, with_adapters

from pie.engine.engine import Engine
from pie.engine.flashinfer_backend.backend import FlashInferBackend
from pie.engine.flashinfer_backend.decode_pipeline import Launched
from pie.engine.flashinfer_backend.library import unpack_on_device
from pie.engine.flashinfer_backend.masks import pack_masks
from pie.engine.flashinfer_backend.segments import cut_rows
from pie.engine.weights import load_model
from pie.forward import Logits, Sampler
from pie.testing import Family, ModelSizes, write_random_model

Models = Callable[[Family], Path]
Pair = tuple[Engine, list[str]]

NUM_PAGES = 160


@pytest.fixture
def pair(models: Models) -> Pair:
    """An engine over the stand-in, and what is planned."""
    return make_pair(models("qwen3"))


def make_pair(path: Path) -> Pair:
    engine = Engine(path, backend="torch", num_pages=NUM_PAGES, threads=1)
    return engine, on_a_processor(engine, load_model(path))


def decoding(sequences: list[Held]) -> list[Feed]:
    """One token for each sequence."""
    return [Feed(held, [50 + i], [Draw(Sampler(1.0), seed=i)]) for i, held in enumerate(sequences)]


def test_a_decode_run_replays_two_captured_steps_in_turn(pair: Pair) -> None:
    engine, planned = pair
    feeds = decoding([Held([2 * i, 2 * i + 1]) for i in range(3)])
    for _ in range(2):
        engine.step(decode_batch(feeds, vocab_size=320, steps=5, limits=[5] * 3, stops=[[]] * 3))
        for feed in feeds:
            feed.sequence.length = 0
    assert {"captured"} == set(planned)
    assert len(planned) == 10 + 2  # each is filled once when it is captured


def test_a_captured_step_writes_into_the_pages_of_its_rows_alone(pair: Pair) -> None:
    engine, planned = pair
    noise = torch.randn_like(engine._backend.read_pages(range(NUM_PAGES)))
    engine._backend.write_pages(range(NUM_PAGES), noise)
    engine.step(make_batch(decoding([Held([7], 3), Held([9], 5), Held([11], 0)]), vocab_size=320))
    assert set(planned) == {"captured"}
    after = engine._backend.read_pages(range(NUM_PAGES))
    changed = (after != noise).flatten(4).any(dim=4).any(dim=0).any(dim=0).nonzero().tolist()
    assert changed == [[7, 3], [9, 5], [11, 0]]


def test_the_host_plans_a_step_before_it_reads_the_one_before(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, planned = pair
    read = Launched.read

    def telling(launched: Launched) -> object:
        planned.append("read")
        return read(launched)

    monkeypatch.setattr(Launched, "read", telling)
    batch = decode_batch(decoding([Held([0])]), vocab_size=320, steps=4, limits=[4], stops=[[]])
    engine.step(batch)
    planned.clear()
    engine.step(batch)
    assert planned == ["captured", "captured", "read", "captured", "read", "captured", "read", "read"]


def test_forks_of_a_long_beginning_read_it_once_and_give_what_torch_gives(models: Models) -> None:
    engine, planned = make_pair(models("qwen3"))
    plain = Engine(models("qwen3"), backend="torch", num_pages=NUM_PAGES, threads=1)
    prompt = np.random.default_rng(0).integers(0, 320, 512).tolist()
    found = []
    for each in (engine, plain):
        row_logits(each, Held(list(range(32))), prompt)
        forks = [Held([*range(32), 40 + i], 512) for i in range(4)]
        planned.clear()
        feeds = [Feed(held, [60 + i] * (1 + i % 2), probes=[Logits()]) for i, held in enumerate(forks)]
        found.append(np.stack([np.asarray(value) for value in each.step(make_batch(feeds, vocab_size=320)).probes]))
        if each is engine:
            assert "shared" in planned
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5 * np.abs(found[1]).max())


def test_a_short_beginning_is_not_read_by_itself(pair: Pair) -> None:
    engine, planned = pair
    row_logits(engine, Held([0, 1]), list(range(32)))
    engine.step(make_batch(decoding([Held([0, 1, 5 + i], 32) for i in range(4)]), vocab_size=320))
    assert "shared" not in planned


def test_a_model_that_is_too_wide_for_the_kernel_that_merges_reads_no_beginning_by_itself(tmp_path: Path) -> None:
    sizes = ModelSizes(num_attention_heads=66, num_key_value_heads=2, head_dim=128, num_hidden_layers=1)
    engine, planned = make_pair(write_random_model(tmp_path / "wide", sizes=sizes))
    row_logits(engine, Held(list(range(32))), [7] * 512)
    planned.clear()
    forks = [Held([*range(32), 40 + i], 512) for i in range(4)]
    engine.step(make_batch([Feed(held, [60, 61], probes=[Logits()]) for held in forks], vocab_size=320))
    engine.step(make_batch([Feed(held, [62], probes=[Logits()]) for held in forks], vocab_size=320))
    assert set(planned) == {"causal", "captured"}
    assert "captured" in planned


def test_pages_in_fp8_come_back_bit_for_bit_and_agree_up_to_their_rounding(models: Models) -> None:
    path = models("qwen3")
    engine = Engine(path, backend="torch", num_pages=16, threads=1, dtype="bfloat16")
    exact = row_logits(engine, Held([1, 2, 3]), list(range(40)))
    on_a_processor(engine, load_model(path, dtype="bfloat16"), "fp8")
    first = row_logits(engine, Held([1, 2, 3]), list(range(20)))
    content = engine._backend.read_pages([1, 2])
    assert content.dtype == torch.bfloat16
    engine._backend.write_pages([6, 5], content)
    assert torch.equal(engine._backend.read_pages([6, 5]), content)
    engine._backend.copy_pages(np.array([[2, 9], [9, 10]], np.int32))
    assert torch.equal(engine._backend.read_pages([10]), content[:, :, 1:])
    rest = row_logits(engine, Held([6, 10, 3], 20), list(range(20, 40)))
    got = np.concatenate((first, rest))
    assert not np.array_equal(got, exact)
    assert np.abs(got - exact).max() <= 0.15 * np.abs(exact).max()


def test_what_is_beyond_fp8_is_cut_off_at_its_end(models: Models) -> None:
    path = models("qwen3")
    engine = Engine(path, backend="torch", num_pages=4, threads=1, dtype="bfloat16")
    on_a_processor(engine, load_model(path, dtype="bfloat16"), "fp8")
    content = torch.full_like(engine._backend.read_pages([0]), 1e6)
    engine._backend.write_pages([0], -content)
    assert (engine._backend.read_pages([0]) == -448).all()


def test_a_stopped_row_computes_one_step_more_and_makes_nothing_of_it(pair: Pair) -> None:
    engine, _ = pair
    feeds = decoding([Held([0, 1]), Held([2, 3])])
    free = engine.step(decode_batch(feeds, vocab_size=320, steps=6, limits=[6, 6], stops=[[], []]))
    for feed in feeds:
        feed.sequence.length = 0
    stop = int(free.tokens[0, 2])
    stops = [[stop], []]
    held = engine.step(decode_batch(feeds, vocab_size=320, steps=6, limits=[6, 6], stops=stops))
    first = free.tokens[0].tolist().index(stop) + 1
    assert held.num_tokens.tolist() == [first, 6]
    np.testing.assert_array_equal(held.tokens[0, :first], free.tokens[0, :first])
    np.testing.assert_array_equal(held.tokens[0, first:], 0)
    np.testing.assert_array_equal(held.tokens[1], free.tokens[1])


@given(step=steps())
def test_masks_are_unpacked_without_the_bits_that_fill_up_bytes(step: Step) -> None:
    rows, segments = step.rows, cut_rows(step.rows)
    masks = pack_masks(rows, segments, page_size=step.page_size, window=None)
    wanted = []
    for number in range(len(segments)):
        keys = segments.kv_lengths[number]
        for row in segments.rows[segments.starts[number] : segments.starts[number + 1]]:
            seen = visible(rows, row, step.page_size, None)
            wanted.append(np.pad(seen, (0, keys - len(seen))))
    got = unpack_on_device(masks, torch.device("cpu"))
    np.testing.assert_array_equal(got.numpy(), np.concatenate(wanted))
    unmasked = replace(rows, key_mask=None, mask_of_row=None)
    assert unpack_on_device(
        pack_masks(unmasked, segments, page_size=step.page_size, window=None), torch.device("cpu")
    ).any()


def test_matrices_of_adapters_are_laid_side_by_side_once_and_go_with_them(pair: Pair) -> None:
    engine, _ = pair
    uses = [hold(engine, seed) for seed in (1, 2)]
    backend = engine._backend
    assert isinstance(backend, FlashInferBackend)
    kept = []
    for _ in range(2):
        feeds = [Feed(Held([2 * i, 2 * i + 1]), [5, 6, 7], probes=[Logits()]) for i in range(3)]
        engine.step(with_adapters(make_batch(feeds, vocab_size=320), [uses[0], None, uses[1]]))
        kept.append(backend._adapters._layers)
    assert kept[0]
    assert kept[0] is kept[1]
    kept.clear()
    engine.adapters.free(uses[1].number)
    gc.collect()
    assert backend._adapters._layers == ()
