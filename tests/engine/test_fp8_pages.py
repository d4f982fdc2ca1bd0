"""Keys and values in eight bits: half the memory, nearly the same logits, and all else as without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.engine.batches import Draw, Feed, Held, decode_batch, greedy, make_batch, row_logits
from tests.engine.conftest import BackendChoice
from tests.engine.test_quantization import compare_with_original

from pie.config import embedded_model
from pie.engine.engine import Engine
from pie.errors import ContextError
from pie.forward import Logits
from pie.testing import Family, ModelSizes, write_random_model

RNG = np.random.default_rng(6)
PROMPT = RNG.integers(0, 320, 53).tolist()
WIDE = ModelSizes(hidden_size=128, num_attention_heads=16, num_key_value_heads=4, head_dim=64)  # by matrix tiles
BACKENDS: tuple[BackendChoice, ...] = ("torch", "native")
FAMILIES: tuple[Family, ...] = ("qwen3", "mistral", "gemma2", "gemma3_text")


def fp8_engine(path: Path, backend: BackendChoice, dtype: str = "float32") -> Engine:
    return Engine(path, backend=backend, dtype=dtype, kv_cache="fp8", num_pages=64, threads=1)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[ModelSizes(), WIDE], ids=["small", "wide"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("fp8") / "model", "qwen3", sizes=request.param)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_gives_the_same_bits_alone_in_chunks_and_among_others(
    model: Path, backend: BackendChoice, dtype: str
) -> None:
    engine = fp8_engine(model, backend, dtype)
    whole = row_logits(engine, Held([3, 0, 5, 9]), PROMPT)
    alone, chunks = Held([1, 2, 4, 6]), Held([10, 11, 12, 13])
    np.testing.assert_array_equal(np.concatenate([row_logits(engine, alone, [token]) for token in PROMPT]), whole)
    cut = [row_logits(engine, chunks, PROMPT[start : start + 20]) for start in range(0, len(PROMPT), 20)]
    np.testing.assert_array_equal(np.concatenate(cut), whole)
    feeds = [Feed(Held([20 + 4 * n + k for k in range(4)]), PROMPT[n:], probes=[Logits()]) for n in range(8)]
    together = engine.step(make_batch(feeds, vocab_size=320)).probes
    np.testing.assert_array_equal(together[0], whole[-1])


def test_a_decode_run_gives_the_tokens_of_single_steps(model: Path, backend: BackendChoice) -> None:
    engine = fp8_engine(model, backend)
    holders = [Held([4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3]) for n in range(3)]
    for n, holder in enumerate(holders):
        row_logits(engine, holder, PROMPT[n:])
    lengths = [holder.length for holder in holders]
    feeds = [Feed(holder, [7 + n], [Draw()]) for n, holder in enumerate(holders)]
    tokens = engine.step(decode_batch(feeds, vocab_size=320, steps=9, limits=[9] * 3, stops=[[]] * 3)).tokens
    for n, (holder, length) in enumerate(zip(holders, lengths, strict=True)):
        holder.length = length
        assert greedy(engine, holder, [7 + n], 9) == tokens[n].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_both_backends_agree_and_rounding_changes_little(tmp_path: Path, family: Family) -> None:
    path = write_random_model(tmp_path / "model", family)
    torch_logits, native_logits = (row_logits(fp8_engine(path, name), Held([3, 0, 5, 9]), PROMPT) for name in BACKENDS)
    exact = row_logits(Engine(path, num_pages=64, threads=1), Held([3, 0, 5, 9]), PROMPT)
    scale = np.sqrt(np.square(exact).mean())
    # A number halfway between two codes may become the one or the other.
    assert np.sqrt(np.square(native_logits - torch_logits).mean()) <= 0.002 * scale
    assert 1e-4 * scale < np.sqrt(np.square(native_logits - exact).mean()) <= 0.06 * scale


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pages_are_copied_and_come_back_bit_for_bit(model: Path, backend: BackendChoice, dtype: str) -> None:
    engine = fp8_engine(model, backend, dtype)
    held = Held([5, 1, 8, 2])
    row_logits(engine, held, PROMPT)
    before = engine.read_pages([5, 1, 8, 2])
    engine.write_pages([30, 31, 32, 33], before)
    engine.move_pages([(5, 3), (1, 0)], [(40, 3), (41, 0)])
    copies = make_batch([Feed(Held([60]), [1], [Draw()])], vocab_size=320, page_copies=[(5, 50), (50, 51)])
    engine.step(copies)
    for pages in ([30, 31, 32, 33], [40, 41, 8, 2], [51, 31, 8, 33]):
        assert torch.equal(*(content[:, :, : len(PROMPT)] for content in (engine.read_pages(pages), before)))
        assert greedy(engine, Held(list(pages), held.length), [7], 5) == greedy(engine, held, [7], 5)
        held.length = len(PROMPT)


def test_a_page_takes_half_or_a_quarter_of_the_memory(model: Path) -> None:
    for dtype, share in (("float32", 4), ("bfloat16", 2)):
        plain = Engine(model, dtype=dtype, num_pages=8)  # type: ignore[arg-type]
        assert plain.info.page_bytes == share * fp8_engine(model, "torch", dtype).info.page_bytes


def test_a_saved_context_belongs_to_one_way_to_keep_it(model: Path, tmp_path: Path) -> None:
    kept, plain = fp8_engine(model, "native"), Engine(model, num_pages=8)
    row_logits(kept, Held([0, 1, 2, 3]), PROMPT)
    kept.save_pages(tmp_path / "context", [0, 1, 2, 3], metadata={})
    with pytest.raises(ContextError, match="snapshot-unusable"):
        plain.load_pages(tmp_path / "context", [0, 1, 2, 3])
    other = fp8_engine(model, "torch")
    other.load_pages(tmp_path / "context", [9, 8, 7, 6])
    assert torch.equal(other.read_pages([9, 8, 7, 6]), kept.read_pages([0, 1, 2, 3]))


def test_the_embedded_model_says_almost_the_same(backend: BackendChoice) -> None:
    engine = Engine(embedded_model(), kv_cache="fp8", backend=backend, num_pages=16, threads=1)
    agreed, ours, theirs = compare_with_original(engine, backend)
    assert agreed >= 0.98
    assert abs(np.log(ours / theirs)) <= 0.01
