"""Adapters in the engine: what they compute, beside each other and beside rows without any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from tests.engine.adapters import merge, random_peft
from tests.engine.batches import Draw, Feed, Held, decode_batch, make_batch
from tests.engine.conftest import MakeEngine

from pie.engine.adapters.adapter_file import read_adapter, write_adapter
from pie.engine.adapters.bank import AdapterBank
from pie.engine.adapters.search import begin_search, perturbed
from pie.engine.adapters.weights import MODULES
from pie.engine.engine import Engine
from pie.errors import AdapterError
from pie.forward import AdapterFiles, AdapterUse, Batch, Logits, SearchStart
from pie.testing import Family

PROMPT = [7, 280, 33, 91, 12, 12, 256, 3, 78, 199, 4, 61, 5, 118, 300, 22, 9, 140, 18]
SEARCH = SearchStart(rank=4, alpha=8.0, population=4, mu_fraction=0.5, sigma=0.1, seed=3)


def use(engine: Engine, number: int, seed: int | None = None) -> AdapterUse:
    return AdapterUse(number, engine.adapters.get(number).version, seed)


def hold(engine: Engine, seed: int, modules: Sequence[str] = MODULES) -> AdapterUse:
    """Put a random adapter in the engine's bank."""
    weights = read_adapter(random_peft(engine.config, seed, modules=modules).files, engine.config)
    return use(engine, engine.adapters.put(weights).number)


def with_adapters(batch: Batch, of_sequence: Sequence[AdapterUse | None]) -> Batch:
    uses = tuple(dict.fromkeys(one for one in of_sequence if one is not None))
    numbers = np.array([-1 if one is None else uses.index(one) for one in of_sequence], np.int32)
    return replace(batch, adapters=uses, adapter_of_row=numbers[batch.sequence_of_row])


def logits(engine: Engine, pages: list[int], tokens: list[int], adapter: AdapterUse | None) -> npt.NDArray[np.float32]:
    feed = Feed(Held(pages), tokens, probes=(Logits(),), probe_rows="all")
    batch = make_batch([feed], vocab_size=320)
    values = engine.step(with_adapters(batch, [adapter]) if adapter else batch).probes
    return np.stack([np.asarray(value, np.float32) for value in values])


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("rslora", [False, True])
def test_logits_with_an_adapter_are_those_of_transformers_with_the_merged_weights(
    make_engine: MakeEngine, models: Callable[[Family], Path], tmp_path: Path, family: Family, rslora: bool
) -> None:
    engine = make_engine(family)
    adapter = random_peft(engine.config, 1, use_rslora=rslora)
    merged = transformers.AutoModelForCausalLM.from_pretrained(merge(models(family), adapter, tmp_path / "merged"))
    merged.double()  # the sums of f32 differ from processor to processor, on either side
    number = engine.adapters.put(read_adapter(adapter.files, engine.config)).number
    with torch.inference_mode():
        expected = merged(torch.tensor([PROMPT])).logits[0].numpy()
    got = logits(engine, [0, 1], PROMPT, use(engine, number))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)  # f32 of values above 1
    plain = logits(engine, [2, 3], PROMPT, None)
    assert np.abs(np.asarray(plain) - expected).max() > 0.1


@pytest.mark.parametrize("module", MODULES)
def test_each_module_alone_is_applied(
    make_engine: MakeEngine, models: Callable[[Family], Path], tmp_path: Path, module: str
) -> None:
    engine = make_engine("qwen3")
    adapter = random_peft(engine.config, 2, modules=[module])
    merged = Engine(merge(models("qwen3"), adapter, tmp_path / "merged"), num_pages=8, backend="torch", threads=1)
    number = engine.adapters.put(read_adapter(adapter.files, engine.config)).number
    expected = logits(merged, [0, 1], PROMPT, None)
    got = np.asarray(logits(engine, [0, 1], PROMPT, use(engine, number)))
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    assert np.abs(logits(engine, [2, 3], PROMPT, None) - expected).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 3])
def test_many_adapters_in_one_batch_give_each_row_what_it_gets_alone_bit_for_bit(
    make_engine: MakeEngine, dtype: str, threads: int
) -> None:
    engine = make_engine(dtype=dtype, num_pages=256, threads=threads)
    uses: list[AdapterUse | None] = [hold(engine, seed) for seed in range(23)]
    uses += [uses[3], None, None]
    prompts = [PROMPT[: 1 + index % 17] for index in range(len(uses))]
    alone = [logits(engine, [2 * i, 2 * i + 1], p, one) for i, (p, one) in enumerate(zip(prompts, uses, strict=True))]
    feeds = [
        Feed(Held([100 + 2 * i, 101 + 2 * i]), prompt, probes=(Logits(),), probe_rows="all")
        for i, prompt in enumerate(prompts)
    ]
    together = engine.step(with_adapters(make_batch(feeds, vocab_size=320), uses)).probes
    np.testing.assert_array_equal(np.stack(together), np.concatenate(alone))  # type: ignore[arg-type]


def test_a_decode_run_keeps_each_rows_adapter_while_others_end(make_engine: MakeEngine) -> None:
    engine = make_engine(num_pages=64)
    uses = [hold(engine, 1), None, hold(engine, 2), hold(engine, 3)]
    limits = [3, 8, 1, 8]
    expected = []
    for index, (one, limit) in enumerate(zip(uses, limits, strict=True)):
        holder, token, made = Held([index]), 40 + index, []
        for _ in range(limit):
            batch = make_batch([Feed(holder, [token], [Draw()])], vocab_size=320)
            token = int(engine.step(with_adapters(batch, [one])).tokens[0, 0])
            made.append(token)
        expected.append(made)
    feeds = [Feed(Held([8 + index]), [40 + index], [Draw()]) for index in range(4)]
    batch = decode_batch(feeds, vocab_size=320, steps=8, limits=limits, stops=[[]] * 4)
    result = engine.step(with_adapters(batch, uses))
    assert [row[:count].tolist() for row, count in zip(result.tokens, result.num_tokens, strict=True)] == expected


def test_a_seed_adds_the_noise_that_the_search_describes(make_engine: MakeEngine) -> None:
    engine = make_engine()
    weights = begin_search(SEARCH, engine.config)
    number = engine.adapters.put(weights).number
    with_noise = engine.adapters.put(perturbed(weights, 77)).number
    got = np.asarray(logits(engine, [0, 1], PROMPT, use(engine, number, 77)))
    np.testing.assert_array_equal(got, logits(engine, [2, 3], PROMPT, use(engine, with_noise)))
    np.testing.assert_array_equal(
        logits(engine, [4, 5], PROMPT, None), logits(engine, [6, 7], PROMPT, use(engine, number))
    )
    assert np.abs(got - np.asarray(logits(engine, [8, 9], PROMPT, use(engine, number, 78)))).max() > 1e-3


def test_an_adapter_that_was_let_go_is_refused_and_nothing_runs(make_engine: MakeEngine) -> None:
    engine = make_engine()
    gone = hold(engine, 1)
    engine.adapters.free(gone.number)
    with pytest.raises(AdapterError, match="adapter-not-found"):
        logits(engine, [0, 1], PROMPT, gone)
    assert len(engine.adapters) == 0


def test_what_is_written_reads_back_with_the_same_version_and_search(make_engine: MakeEngine) -> None:
    engine = make_engine()
    for weights in (
        begin_search(SEARCH, engine.config),
        read_adapter(random_peft(engine.config, 5).files, engine.config),
    ):
        again = read_adapter(AdapterFiles(write_adapter(weights)), engine.config)
        assert again.version == weights.version
        assert (again.search is None) == (weights.search is None)
        if again.search is not None and weights.search is not None:
            assert again.search.population == weights.search.population
            assert perturbed(again, 9).version == perturbed(weights, 9).version


def test_the_bank_refuses_weights_that_it_has_no_room_for_and_has_it_again_after_a_release(
    make_engine: MakeEngine,
) -> None:
    weights = begin_search(SEARCH, make_engine().config)
    bank = AdapterBank(max_bytes=2 * weights.num_bytes)
    first = bank.put(weights)
    bank.put(weights)
    with pytest.raises(AdapterError, match="too-many-adapters"):
        bank.put(weights)
    bank.resolve([AdapterUse(first.number, first.version, 1)])
    bank.free(first.number)
    bank.free(first.number)
    bank.put(weights)
    assert len(bank) == 2
