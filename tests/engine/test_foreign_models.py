"""Architectures that transformers runs over our pages: its own logits, whatever the steps, and the rest refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.engine.batches import Draw, Feed, Held, greedy, held, make_batch, row_logits, same_in_mixed_batches
from tests.engine.foreign_models import FOREIGN, write_foreign
from tests.engine.test_masked_pages import LENGTH, by_scheduler, whole, windows

from pie.engine.engine import Engine
from pie.forward import Logits

RNG = np.random.default_rng(5)
PROMPTS = [RNG.integers(3, 320, length).tolist() for length in (1, 7, 16, 17, 50, 65, 90, 40)]
SOME = ("gpt2", "cohere2", "mixtral", "deepseek_v3")
Write = Callable[[str], Path]


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """The directory of an architecture, written once."""
    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("foreign")
    return lambda kind: folder / kind if (folder / kind).exists() else write_foreign(folder / kind, kind)


def engine_of(path: Path, **options: Any) -> Engine:
    chosen: dict[str, Any] = {"dtype": "float32", "num_pages": 80, "threads": 1} | options
    return Engine(path, **chosen)


def eager(path: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")


def eager_logits(module: Any, tokens: list[int]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = module(torch.tensor([tokens])).logits[0].numpy()
    return logits


def assert_near(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("kind", FOREIGN)
def test_logits_of_prefills_in_parts_and_of_decodes_are_those_of_transformers(write: Write, kind: str) -> None:
    engine, module = engine_of(write(kind)), eager(write(kind))
    assert engine.backend == "transformers"
    tokens, sequence = PROMPTS[5], Held([11, 3, 7, 0, 15])
    parts = [row_logits(engine, sequence, tokens[start:end]) for start, end in ((0, 1), (1, 30), (30, 47), (47, 60))]
    parts += [row_logits(engine, sequence, [token]) for token in tokens[60:]]
    assert_near(np.concatenate(parts), eager_logits(module, tokens))


@pytest.mark.parametrize("kind", FOREIGN)
def test_greedy_tokens_are_those_of_transformers(write: Write, kind: str) -> None:
    engine, module = engine_of(write(kind)), eager(write(kind))
    prompt = PROMPTS[4][:21]
    made = greedy(engine, Held([9, 4, 13, 1]), prompt, 24)
    choices = eager_logits(module, prompt + made).argmax(axis=1).tolist()
    assert made == choices[len(prompt) - 1 : -1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_rows_of_mixed_batches_are_to_the_bit_those_of_prompts_alone(
    write: Write, kind: str, dtype: Literal["float32", "bfloat16"]
) -> None:
    alone, together = engine_of(write(kind), dtype=dtype), engine_of(write(kind), dtype=dtype)
    same_in_mixed_batches(alone, together, PROMPTS)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", ["gpt2", "starcoder2", "olmo2", "mixtral"])
def test_rows_do_not_depend_on_others_where_threads_divide_them(tmp_path: Path, kind: str, threads: int) -> None:
    """So many numbers, in an odd number of columns, that torch divides them among threads in the middle of rows."""
    engine = engine_of(write_foreign(tmp_path / "wide", kind, {"n_inner": 1101, "intermediate_size": 1101}))
    try:
        torch.set_num_threads(threads)
        expected = row_logits(engine, held(0), PROMPTS[6])
        part = row_logits(engine, held(1), PROMPTS[6][:41])
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(part, expected[:41])


@pytest.mark.parametrize("kind", SOME)
def test_a_row_sees_what_its_mask_lets_through(write: Write, kind: str) -> None:
    engine, module = engine_of(write(kind)), eager(write(kind))
    tokens = PROMPTS[4][:30]
    place = np.arange(len(tokens))
    visible = (place <= place[:, None]) & ((place < 2) | (place > place[:, None] - 9))
    feed = Feed(held(0), tokens, probes=[Logits()], probe_rows="all", visible=visible)
    got = np.stack([np.asarray(value) for value in engine.step(make_batch([feed], vocab_size=320)).probes])
    mask = torch.where(torch.from_numpy(visible), 0.0, torch.finfo(torch.float32).min)[None, None]
    window = {"cohere2": torch.from_numpy(place > place[:, None] - 12)}.get(kind)
    masks: Any = mask
    if window is not None:
        masks = {"full_attention": mask, "sliding_attention": mask.masked_fill(~window, torch.finfo(torch.float32).min)}
    with torch.inference_mode():
        expected = module(torch.tensor([tokens]), attention_mask=masks).logits[0].numpy()
    assert_near(got, expected)


@pytest.mark.parametrize("kind", SOME)
def test_forks_share_pages_and_go_on_by_themselves(write: Write, kind: str) -> None:
    engine, module = engine_of(write(kind)), eager(write(kind))
    start, first, second = PROMPTS[6][:40], PROMPTS[3], PROMPTS[7][:20]
    parent = Held([1, 2, 3, 4])
    row_logits(engine, parent, start)
    # Two full pages are shared; the third, which is half full, is copied for the second fork.
    forks = [Held([1, 2, 3, 5, 6], 40), Held([1, 2, 9, 10, 11], 40)]
    feeds = [
        Feed(fork, tokens, probes=[Logits()], probe_rows="all")
        for fork, tokens in zip(forks, (first, second), strict=True)
    ]
    probes = engine.step(make_batch(feeds, vocab_size=320, page_copies=[(3, 9)])).probes
    got = np.stack([np.asarray(value) for value in probes])
    expected = [eager_logits(module, start + tokens)[40:] for tokens in (first, second)]
    assert_near(got, np.concatenate(expected))


def test_a_decode_run_draws_what_single_steps_draw(write: Write) -> None:
    prompts = [prompt[:9] for prompt in PROMPTS[1:4]]
    alone = [greedy(engine_of(write("olmo2")), held(0), prompt, 6) for prompt in prompts]
    engine = engine_of(write("olmo2"))
    holders = [held(index) for index in range(len(prompts))]
    feeds = [Feed(holder, prompt, [Draw()]) for holder, prompt in zip(holders, prompts, strict=True)]
    tokens = [int(token) for token in engine.step(make_batch(feeds, vocab_size=320)).tokens[:, 0]]
    made = [[token] for token in tokens]
    while len(made[0]) < 6:
        feeds = [Feed(holder, tokens_[-1:], [Draw()]) for holder, tokens_ in zip(holders, made, strict=True)]
        for tokens_, drawn in zip(made, engine.step(make_batch(feeds, vocab_size=320)).tokens[:, 0], strict=True):
            tokens_.append(int(drawn))
    assert made == alone


def test_pages_of_such_a_model_are_saved_and_read_again(write: Write, tmp_path: Path) -> None:
    engine, other = engine_of(write("gpt_neox")), engine_of(write("gpt_neox"))
    tokens = PROMPTS[4]
    expected = row_logits(engine, Held([1, 2, 3, 4]), tokens)[48:]
    engine.save_pages(tmp_path / "pages", [1, 2, 3], metadata={})
    other.load_pages(tmp_path / "pages", [7, 5, 6])
    np.testing.assert_array_equal(row_logits(other, Held([7, 5, 6, 0], 48), tokens[48:]), expected)


@pytest.mark.parametrize(("kind", "heads", "width"), [("gpt2", 4, 16), ("olmo2", 2, 16), ("deepseek_v3", 4, 24)])
def test_the_device_tells_the_facts_of_such_a_model(write: Write, kind: str, heads: int, width: int) -> None:
    info = engine_of(write(kind), num_pages=7).info
    assert (info.model, info.vocab_size, info.max_positions) == (kind, 320, 512)
    assert (info.num_pages, info.page_bytes) == (7, 2 * 2 * 16 * heads * width * 4)


@pytest.mark.parametrize("kind", ["cohere2", "olmo3"])
@pytest.mark.parametrize(("size", "sink"), [(33, 4), (9, 40)])
def test_a_window_counts_tokens_also_where_masked_pages_are_left_out(
    write: Write, kind: str, size: int, sink: int
) -> None:
    engine = engine_of(write(kind))
    tokens = np.random.default_rng(size).integers(3, 320, LENGTH).tolist()
    visible = windows(size, sink)
    trimmed, skipped = asyncio.run(by_scheduler(engine, tokens, visible))
    assert skipped > 5
    assert_near(trimmed, whole(engine, tokens, visible))


def test_weights_of_half_precision_are_the_numbers_that_they_are(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "model", "opt")
    halves = {name: tensor.half() for name, tensor in load_file(path / "model.safetensors").items()}
    logits = []
    for kind in (torch.float16, torch.float64, torch.float32):
        tensors = {name: tensor.to(kind) for name, tensor in halves.items()}
        save_file(tensors, path / "model.safetensors", {"format": "pt"})
        logits.append(row_logits(engine_of(path), held(0), PROMPTS[3]))
    np.testing.assert_array_equal(logits[0], logits[2])
    np.testing.assert_array_equal(logits[1], logits[2])


def test_names_without_the_prefix_of_the_head_are_found(write: Write, tmp_path: Path) -> None:
    """GPT-2 itself lies on the hub in this form."""
    path = write_foreign(tmp_path / "model", "gpt2")
    tensors = {name.removeprefix("transformer."): one for name, one in load_file(path / "model.safetensors").items()}
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    expected = row_logits(engine_of(write("gpt2")), held(0), PROMPTS[3])
    np.testing.assert_array_equal(row_logits(engine_of(path), held(0), PROMPTS[3]), expected)


def test_a_context_ends_where_longrope_would_turn_all_keys_anew(tmp_path: Path) -> None:
    factors = {"short_factor": [1.0 + index / 9 for index in range(8)], "long_factor": [2.0] * 8}
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_mscale": 1.2, "long_mscale": 1.3} | factors
    rope["original_max_position_embeddings"] = 128
    path = write_foreign(tmp_path / "model", "phimoe", {"rope_parameters": rope})
    engine = engine_of(path)
    assert engine.info.max_positions == 128
    assert_near(row_logits(engine, held(0), PROMPTS[6]), eager_logits(eager(path), PROMPTS[6]))


def test_the_fingerprint_tells_such_models_apart(tmp_path: Path) -> None:
    def fingerprint(name: str, seed: int = 0, **keys: float) -> str:
        return engine_of(write_foreign(tmp_path / name, "gpt_neox", keys, seed=seed)).info.fingerprint

    first = fingerprint("a")
    assert fingerprint("b") == first
    assert fingerprint("c", seed=1) != first
    assert fingerprint("d", rotary_pct=0.25) != first
