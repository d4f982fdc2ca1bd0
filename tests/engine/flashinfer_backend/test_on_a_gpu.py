"""What the GPU does and no other backend, in bfloat16, next to torch in float32; without one, up to its kernels alone.

That is on the stand-in, and on the library itself where it is installed. Captured steps, beginnings read once, grouped
adapters, pages that move, runs whose tokens stay on the device, fp8.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from tests.engine.adapters import random_peft
from tests.engine.batches import Draw, Feed, Held, decode_batch, make_batch, row_logits
from tests.engine.conftest import ON_GPU, ON_LIBRARY, AnyBackend, engine_on
from tests.engine.flashinfer_backend.on_a_processor import on_a_processor
from tests.engine.test_adapters import use, with_adapters

from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.engine import Engine
from pie.engine.weights import load_model
from pie.forward import Batch, Logits, Sampler
from pie.testing import ModelSizes, write_random_model

PAGES = 160
TOLERANCE = 0.05  # of the largest logit: the rounding of bfloat16
FP8_TOLERANCE = 0.15

Pair = tuple[Engine, Engine]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_model(tmp_path_factory.mktemp("wide") / "m", sizes=ModelSizes(head_dim=64))


@pytest.fixture(params=["tables", ON_LIBRARY, ON_GPU])
def backend(request: pytest.FixtureRequest) -> AnyBackend:
    choice: AnyBackend = request.param
    return choice


@pytest.fixture
def pair(backend: AnyBackend, path: Path) -> Pair:
    """An engine of the backend, and one of torch."""
    options: dict[str, object] = {"num_pages": PAGES, "threads": 1}
    return engine_on(backend, path, options | {"dtype": "bfloat16"}), engine_on("torch", path, options)


def probed(engine: Engine, batch: Batch) -> npt.NDArray[np.float32]:
    return np.stack([np.asarray(value, np.float32) for value in engine.step(batch).probes])


def close(got: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], tolerance: float = TOLERANCE) -> bool:
    return bool(np.abs(got - expected).max() <= tolerance * np.abs(expected).max())


def prompt_of(length: int) -> list[int]:
    tokens: list[int] = np.random.default_rng(length).integers(0, 320, length).tolist()
    return tokens


@pytest.mark.parametrize("num_rows", [1, 3, 11])
def test_steps_of_one_token_each(pair: Pair, num_rows: int) -> None:
    found = []
    for engine in pair:
        rows = [Held([3 * i, 3 * i + 1, 3 * i + 2]) for i in range(num_rows)]
        for number, held in enumerate(rows):
            row_logits(engine, held, prompt_of(20 + number))
        for token in (5, 6):  # both captures
            feeds = [Feed(held, [token + i], probes=[Logits()]) for i, held in enumerate(rows)]
            found.append(probed(engine, make_batch(feeds, vocab_size=320)))
    assert close(found[0], found[2])
    assert close(found[1], found[3])


def test_forks_of_a_long_beginning(pair: Pair) -> None:
    found = []
    for engine in pair:
        row_logits(engine, Held(list(range(32))), prompt_of(512))
        forks = [Held([*range(32), 40 + i], 512) for i in range(4)]
        feeds = [Feed(held, [60 + i] * (1 + i % 2), probes=[Logits()]) for i, held in enumerate(forks)]
        found.append(probed(engine, make_batch(feeds, vocab_size=320)))
    assert close(found[0], found[1])


def test_rows_with_and_without_adapters(pair: Pair) -> None:
    found = []
    for engine in pair:
        uses = []
        for seed, rank in ((1, 4), (2, 20)):
            weights = read_adapter(random_peft(engine.config, seed, rank=rank).files, engine.config)
            uses.append(use(engine, engine.adapters.put(weights).number))
        feeds = [Feed(Held([2 * i, 2 * i + 1]), prompt_of(17 + i), probes=[Logits()]) for i in range(4)]
        batch = make_batch(feeds, vocab_size=320)
        found.append(probed(engine, with_adapters(batch, [uses[1], None, uses[0], uses[1]])))
    assert close(found[0], found[1], tolerance=0.1)  # their change is as large as the weights


def test_pages_that_are_copied_and_moved_to_the_host_and_back(pair: Pair) -> None:
    found = []
    for engine in pair:
        row_logits(engine, Held([5, 1]), prompt_of(30))
        engine.move_pages([(5, 3), (1, 0)], [(17, 3), (40, 0)])
        feed = Feed(Held([17, 9], 30), [7], probes=[Logits()])
        found.append(probed(engine, make_batch([feed], vocab_size=320, page_copies=[(40, 9)])))
    assert close(found[0], found[1])


def test_every_token_of_a_greedy_run_is_nearly_the_most_likely(pair: Pair) -> None:
    engine, plain = pair
    feeds = [Feed(Held([4 * i, 4 * i + 1, 4 * i + 2]), [30 + i], [Draw()]) for i in range(5)]
    limits = [20, 7, 20, 1, 20]
    run = engine.step(decode_batch(feeds, vocab_size=320, steps=20, limits=limits, stops=[[]] * 5))
    assert run.num_tokens.tolist() == limits
    for number, limit in enumerate(limits):
        fed = [30 + number, *run.tokens[number, : limit - 1].tolist()]
        logits = row_logits(plain, Held([100, 101, 102]), fed)
        taken = logits[np.arange(limit), run.tokens[number, :limit]]
        assert (taken >= logits.max(axis=1) - 2 * TOLERANCE * np.abs(logits).max()).all()


def test_the_same_seed_draws_the_same_tokens_again(pair: Pair) -> None:
    engine, _ = pair
    made = []
    for _ in range(2):
        feeds = [
            Feed(Held([2 * i, 2 * i + 1]), [30 + i], [Draw(Sampler(1.0, top_k=50, top_p=0.95), seed=i)])
            for i in range(4)
        ]
        made.append(engine.step(decode_batch(feeds, vocab_size=320, steps=16, limits=[16] * 4, stops=[[]] * 4)).tokens)
    np.testing.assert_array_equal(made[0], made[1])
    assert len({tuple(tokens) for tokens in made[0].tolist()}) == 4


def test_pages_in_fp8(backend: AnyBackend, path: Path, pair: Pair, real_module: ModuleType | None) -> None:
    options: dict[str, object] = {"num_pages": PAGES, "dtype": "bfloat16"}
    if backend == "flashinfer":
        engine = engine_on(backend, path, options | {"kv_cache": "fp8"})
    else:
        engine = engine_on("torch", path, options)
        on_a_processor(engine, load_model(path, dtype="bfloat16"), "fp8", real_module)
    found = []
    for each in (engine, pair[1]):
        held = Held([3, 8, 1])
        row_logits(each, held, prompt_of(25))
        found.append(row_logits(each, held, [9]))
        found.append(row_logits(each, held, prompt_of(5)))
    assert close(found[0], found[2], FP8_TOLERANCE)
    assert close(found[1], found[3], FP8_TOLERANCE)
