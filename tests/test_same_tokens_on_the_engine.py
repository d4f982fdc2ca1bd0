"""Greedy tokens of the real engine are a prompt's own: however, when, beside whom and from what state they are made.

The schedules are random: which prompts, with which adapter, noise and window, in which of nine ways, started when, in
steps of which size, with or without prefix reuse. What must come out is computed step by step, with nobody else there.
Compared is bit for bit.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.adapters import random_peft
from tests.scheduler.harness import decode, feed, running, stepwise

from pie.config import embedded_model
from pie.engine.adapters.adapter_file import read_adapter
from pie.engine.adapters.search import begin_search
from pie.engine.device_thread import DeviceThread
from pie.engine.engine import BackendName, Engine
from pie.forward import AdapterUse, ContextId, SearchStart
from pie.generation.drafter import NgramDrafter
from pie.mask import Window
from pie.scheduler.scheduler import Scheduler
from pie.testing import Family, write_random_model
from pie.text.tokenizer import Tokenizer

MADE = 20
COMMON = 48  # tokens that half of the random prompts begin with: three whole pages
LENGTHS = (1, 2, 15, 16, 17, 33, 50, 70)
NUM_PAGES = 512
FACTS = "Ada lives in Rome. Paul lives in Quito. Eva lives in Oslo. Nora lives in Cairo. "
QUESTIONS = [
    "hello",
    "What is 47 + 38?",
    "What is 81 - 17?",
    "Count from 3 to 30.",
    "What is the capital of France?",
    f"{FACTS}Where does Eva live?",
    f"{FACTS}Where does Paul live?",
    f"{FACTS}{FACTS}What is 9 * 8?",
]
Prompt = tuple[int, ...]


def random_prompts() -> list[Prompt]:
    """Tokens of every length around a page; those of odd number share their beginnings, and a page with each other."""

    def token(number: int, index: int) -> int:
        own = 0 if number % 2 and index < COMMON else number + 1
        return (index * index * 7 + index * 13 + own * 31) % 263

    return [tuple(token(number, index) for index in range(length)) for number, length in enumerate(LENGTHS)]


def questions() -> list[Prompt]:
    """What the embedded model was trained to answer."""
    tokenizer = Tokenizer.load(embedded_model())
    turns = (f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in QUESTIONS)
    return [tuple(tokenizer.encode(turn)) for turn in turns]


Options = dict[str, Any]
"""An adapter and a window, as the harness takes them."""


@dataclass(frozen=True, slots=True)
class Served:
    """Two devices of one model with the same adapters, some prompts, and options for them."""

    first: DeviceThread
    second: DeviceThread
    prompts: list[Prompt]
    kinds: list[Options]
    known: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def alone(self, prompt: int, kind: int) -> list[int]:
        """What a prompt gives with some options when nobody else is there; computed once."""
        if (prompt, kind) not in self.known:
            self.known[prompt, kind] = asyncio.run(self._compute(self.prompts[prompt], self.kinds[kind]))
        return self.known[prompt, kind]

    async def _compute(self, prompt: Prompt, options: Options) -> list[int]:
        """Pass by pass, in a scheduler of its own that has nothing to reuse."""
        async with running(self.first, prefix_reuse=False) as scheduler:
            self.keep_adapters(scheduler)
            return await stepwise(scheduler, scheduler.create("alone"), prompt, max_tokens=MADE, **options)

    def keep_adapters(self, scheduler: Scheduler) -> None:
        """Let adapters outlive the contexts that use them, as names that are open do."""
        for options in self.kinds:
            if "adapter" in options:
                scheduler.weights.retain(options["adapter"].number)


def put_adapters(engine: Engine) -> list[AdapterUse]:
    """Two adapters, and one that is noise alone; they have the same numbers on every engine."""
    search = begin_search(
        SearchStart(rank=4, alpha=8.0, population=4, mu_fraction=0.5, sigma=0.5, seed=3), engine.config
    )
    loaded = [read_adapter(random_peft(engine.config, seed, lora_alpha=32).files, engine.config) for seed in (1, 2)]
    infos = [engine.adapters.put(weights) for weights in (*loaded, search)]
    return [AdapterUse(info.number, info.version, 7 if info.population else None) for info in infos]


@contextlib.contextmanager
def serving(path: Path, backend: BackendName, cache_dir: Path, prompts: list[Prompt]) -> Iterator[Served]:
    engines = [
        Engine(path, num_pages=NUM_PAGES, backend=backend, threads=1, cache_dir=cache_dir) for _ in ("first", "second")
    ]
    uses, _ = [put_adapters(engine) for engine in engines]
    kinds: list[Options] = [{}, *({"adapter": use} for use in uses)]
    if backend == "native":  # with torch it matters in the last bit which masked pages a pass leaves out
        kinds += [{"window": Window(19, sink=3)}, {"window": Window(9, sink=17), "adapter": uses[2]}]
    first, second = map(DeviceThread, engines)
    with contextlib.closing(first), contextlib.closing(second):
        yield Served(first, second, prompts, kinds)


MODELS: tuple[Family | Literal["embedded"], ...] = ("qwen3", "qwen2", "llama", "embedded")
SERVED = [(model, backend) for backend in ("native", "torch") for model in MODELS]
SERVED += [(model, "torch") for model in ("mistral", "gemma3_text", "qwen3_moe")]


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache_dir: Path
) -> Iterator[Served]:
    model, backend = request.param
    if model == "embedded":
        path, prompts = embedded_model(), questions()
    else:
        untied = {"tie_word_embeddings": False}  # a random model that is tied repeats what it reads
        path = write_random_model(tmp_path_factory.mktemp(model), model, config=dict(untied))
        prompts = random_prompts()
    with serving(path, backend, cache_dir / "kernels", prompts) as both:
        yield both


@dataclass(frozen=True, slots=True)
class Ask:
    """One generation of a schedule.

    Attributes:
        prompt: number of the prompt.
        kind: number of its options; counted round, since not every backend has as many.
        way: how it is made, a key of `WAYS`.
        start: turns of the event loop before it begins.
        cut: where a way of two parts is cut, as a share of the prompt or of the output.
    """

    prompt: int
    kind: int
    way: str
    start: int
    cut: float


@dataclass(frozen=True, slots=True)
class Guest:
    """Who makes one generation: where, of what, with which options, cut where, and the name it may save under."""

    scheduler: Scheduler
    prompt: Prompt
    options: Options
    cut: float
    name: str

    def context(self) -> ContextId:
        return self.scheduler.create(self.name)

    async def decode(self, context: ContextId, token_ids: Prompt, count: int) -> list[int]:
        """The tokens of one offloaded decode; none for a count of 0."""
        if count == 0:
            return []
        sink = await decode(self.scheduler, context, token_ids, max_tokens=count, **self.options)
        if sink.error:
            raise sink.error
        return sink.token_ids

    async def make_half(self) -> tuple[ContextId, list[int], Prompt]:
        """A context with the first part of the output, that part, and what is to be fed next."""
        context = self.context()
        made = await self.decode(context, self.prompt, int(self.cut * (MADE - 1)))
        return context, made, (made[-1],) if made else self.prompt


async def by_decode(guest: Guest) -> list[int]:
    return await guest.decode(guest.context(), guest.prompt, MADE)


async def by_guesses(guest: Guest) -> list[int]:
    drafter = NgramDrafter(shortest=1)
    sink = await decode(
        guest.scheduler, guest.context(), guest.prompt, max_tokens=MADE, drafter=drafter, **guest.options
    )
    if sink.error:
        raise sink.error
    return sink.token_ids


async def by_passes(guest: Guest) -> list[int]:
    return await stepwise(guest.scheduler, guest.context(), guest.prompt, max_tokens=MADE, **guest.options)


async def by_a_cut_prompt(guest: Guest) -> list[int]:
    """The first part of the prompt is a pass, the rest is the decode's."""
    context, cut = guest.context(), int(guest.cut * (len(guest.prompt) - 1))
    if cut:
        await feed(guest.scheduler, context, guest.prompt[:cut], **guest.options)
    return await guest.decode(context, guest.prompt[cut:], MADE)


async def after_fork(guest: Guest) -> list[int]:
    """The fork goes on while its parent writes something else to the page they share."""
    context, made, rest = await guest.make_half()
    fork = await guest.scheduler.fork(context, owner=guest.name)
    _, more = await asyncio.gather(
        feed(guest.scheduler, context, (5, 6, 7), **guest.options), guest.decode(fork, rest, MADE - len(made))
    )
    return made + more


async def after_truncate(guest: Guest) -> list[int]:
    """Tokens are fed that are dropped again."""
    context, made, rest = await guest.make_half()
    info = guest.scheduler.describe(context)
    dropped = info.page_size - 1 - info.working_tokens  # so many that the page does not get full and committed
    if dropped > 0:
        await feed(guest.scheduler, context, (9,) * dropped, **guest.options)
        await guest.scheduler.truncate(context, dropped)
    return made + await stepwise(guest.scheduler, context, rest, max_tokens=MADE - len(made), **guest.options)


async def after_open(guest: Guest) -> list[int]:
    context, made, rest = await guest.make_half()
    await guest.scheduler.save(context, user=USER, name=guest.name)
    guest.scheduler.destroy(context)
    opened = await guest.scheduler.open(user=USER, name=guest.name, owner=guest.name)
    return made + await guest.decode(opened, rest, MADE - len(made))


async def after_take(guest: Guest) -> list[int]:
    context, made, rest = await guest.make_half()
    await guest.scheduler.save(context, user=USER, name=guest.name)
    taken = await guest.scheduler.take(user=USER, name=guest.name, owner=guest.name)
    return made + await stepwise(guest.scheduler, taken, rest, max_tokens=MADE - len(made), **guest.options)


async def saved_for_later(guest: Guest) -> list[int]:
    """The first part only; `opened_elsewhere` makes the rest."""
    context, made, _ = await guest.make_half()
    await guest.scheduler.save(context, user=USER, name=guest.name)
    return made


async def opened_elsewhere(guest: Guest, made: list[int]) -> list[int]:
    taken = await guest.scheduler.take(user=USER, name=guest.name, owner=guest.name)
    return await guest.decode(taken, (made[-1],) if made else guest.prompt, MADE - len(made))


USER = "user"
ELSEWHERE = "open elsewhere"
WAYS: dict[str, Callable[[Guest], Awaitable[list[int]]]] = {
    "decode": by_decode,
    "guesses": by_guesses,
    "passes": by_passes,
    "cut prompt": by_a_cut_prompt,
    "fork": after_fork,
    "truncate": after_truncate,
    "open": after_open,
    "take": after_take,
    ELSEWHERE: saved_for_later,
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is asked for at once, and of what scheduler."""

    asks: tuple[Ask, ...]
    max_batch_tokens: int
    max_batch_rows: int
    prefix_reuse: bool

    def scheduler(self, device: DeviceThread, snapshot_dir: Path) -> AbstractAsyncContextManager[Scheduler]:
        return running(
            device,
            snapshot_dir=snapshot_dir,
            max_batch_tokens=self.max_batch_tokens,
            max_batch_rows=self.max_batch_rows,
            prefix_reuse=self.prefix_reuse,
        )


async def carry_out(schedule: Schedule, served: Served, snapshot_dir: Path) -> list[list[int]]:
    """What each ask gives; those that are opened elsewhere go on in a second scheduler on a second device."""
    results: list[list[int]] = [[] for _ in schedule.asks]

    def guest(scheduler: Scheduler, number: int) -> Guest:
        ask = schedule.asks[number]
        options = served.kinds[ask.kind % len(served.kinds)]
        return Guest(scheduler, served.prompts[ask.prompt], options, ask.cut, name=f"guest {number}")

    async def begin(scheduler: Scheduler, number: int) -> None:
        ask = schedule.asks[number]
        for _ in range(ask.start):
            await asyncio.sleep(0)
        results[number] += await WAYS[ask.way](guest(scheduler, number))

    async def go_on(scheduler: Scheduler, number: int) -> None:
        results[number] += await opened_elsewhere(guest(scheduler, number), results[number])

    numbers = range(len(schedule.asks))
    async with schedule.scheduler(served.first, snapshot_dir) as scheduler, asyncio.TaskGroup() as tasks:
        served.keep_adapters(scheduler)
        for number in numbers:
            tasks.create_task(begin(scheduler, number))
    async with schedule.scheduler(served.second, snapshot_dir) as scheduler, asyncio.TaskGroup() as tasks:
        served.keep_adapters(scheduler)
        for number in numbers:
            if schedule.asks[number].way == ELSEWHERE:
                tasks.create_task(go_on(scheduler, number))
    return results


def check(schedule: Schedule, served: Served) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(carry_out(schedule, served, Path(folder)))
    for ask, result in zip(schedule.asks, results, strict=True):
        assert result == served.alone(ask.prompt, ask.kind % len(served.kinds)), ask


ASKS = st.builds(
    Ask,
    prompt=st.integers(0, len(LENGTHS) - 1),
    kind=st.integers(0, 5),
    way=st.sampled_from(list(WAYS)),
    start=st.integers(0, 60),
    cut=st.floats(0, 1),
)
SCHEDULES = st.builds(
    Schedule,
    asks=st.lists(ASKS, min_size=1, max_size=20).map(tuple),
    max_batch_tokens=st.sampled_from([4, 7, 16, 17, 64, 512]),
    max_batch_rows=st.sampled_from([1, 3, 256]),
    prefix_reuse=st.booleans(),
)


@pytest.mark.parametrize("way", WAYS)
def test_greedy_tokens_alone_are_those_made_beside_thirty_one_others(served: Served, way: str) -> None:
    asks = tuple(
        Ask(number % len(LENGTHS), number // 4, way, start=number % 5, cut=number / 32) for number in range(32)
    )
    check(Schedule(asks, max_batch_tokens=64, max_batch_rows=256, prefix_reuse=True), served)


@given(schedule=SCHEDULES)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_greedy_tokens_are_the_same_in_every_schedule(served: Served, schedule: Schedule) -> None:
    check(schedule, served)


def test_different_prompts_and_options_give_different_tokens(served: Served) -> None:
    """Without this the comparisons above could not fail."""
    assert len({tuple(served.alone(prompt, 0)) for prompt in range(len(LENGTHS))}) == len(LENGTHS)
    assert len({tuple(served.alone(6, kind)) for kind in range(len(served.kinds))}) == len(served.kinds)
