"""What programs see of adapters and evolution strategies, through the Python SDK and the embedded model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.adapters.folders import write_peft
from tests.running import RunProgram

from pie.forward import Batch, DecodeRequest, Progress, StepResult, TokenSink
from pie.host.mailbox import Event
from pie.process.programs import LoadedProgram
from pie.runtime import Runtime
from pie.scheduler.decode_handle import DecodeHandle

pytestmark = pytest.mark.asyncio(loop_scope="session")

PRELUDE = """
import asyncio
from inferlet import Adapter, Context, Error, Model, Sampler, zo
from inferlet.sampler import Logprobs

model = None

def begin():
    global model
    model = Model.default()

def attempt(function, *arguments):
    try:
        function(*arguments)
    except Error as error:
        return error.code
    return None

async def generate(text, adapter=None, seed=None, n=6):
    with Context(model) as context:
        context.user(text)
        return await context.generate(Sampler.argmax(), adapter=adapter, zo_seed=seed, max_tokens=n).collect_tokens()
"""


async def test_adapters_are_made_found_copied_and_destroyed(run_program: RunProgram) -> None:
    run = await run_program(
        PRELUDE
        + """
async def main():
    begin()
    told = [Adapter.open(model, "a") is None]
    with Adapter.create(model, "a") as a:
        told.append(attempt(Adapter.create, model, "a"))
        told.append(await generate("Hello") == await generate("Hello", a))
        zo.initialize(a, 4, 8.0, 4, 0.5, 0.05)
        told.append(attempt(zo.initialize, a, 4, 8.0, 4, 0.5, 0.05))
        b = a.fork("b")
        a.destroy()
        told.append(attempt(a.save, "/scratch/a"))
        told.append(Adapter.open(model, "a") is None)
        told.append(attempt(b.save, "/scratch/b"))
        told.append(attempt(b.fork("b").save, "/scratch/c"))
    b.destroy()
    b.destroy()
    return told
"""
    )
    assert run.value == [
        True,
        "adapter-exists",
        True,
        "adapter-unusable",
        "adapter-not-found",
        True,
        None,
        "adapter-exists",
    ]


async def test_a_loaded_adapter_changes_the_output_and_survives_the_program_that_named_it(
    run_program: RunProgram, peft_folder: Path
) -> None:
    write_peft(peft_folder, "other-voice", 1)
    first = await run_program(
        PRELUDE
        + """
async def main():
    begin()
    adapter = Adapter.create(model, "voice")
    adapter.load("other-voice")
    adapter.save("/scratch/voice.safetensors")
    again = Adapter.create(model, "again")
    again.load("/scratch/voice.safetensors")
    made = [await generate("Hello", one) for one in (None, adapter, again)]
    again.destroy()
    return made
"""
    )
    plain, adapted, again = first.value
    assert plain != adapted == again
    second = await run_program(
        PRELUDE
        + """
async def main():
    begin()
    with Adapter.open(model, "voice") as adapter:
        made = await generate("Hello", adapter)
        adapter.destroy()
    return made
"""
    )
    assert second.value == adapted


async def test_paths_lead_to_scratch_or_the_users_own_folder_and_nowhere_else(
    run_program: RunProgram, peft_folder: Path, runtime: Runtime
) -> None:
    write_peft(peft_folder, "mine", 2)
    write_peft(runtime.model.adapter_dir / "somebody", "theirs", 3)
    (peft_folder / "pickled").mkdir(exist_ok=True)
    (peft_folder / "pickled" / "adapter_config.json").write_text("{}")
    (peft_folder / "pickled" / "adapter_model.bin").write_bytes(b"\x80\x04.")
    paths = [
        "mine",
        "../somebody/theirs",
        "somebody/theirs",
        str(peft_folder / "mine"),
        "./mine",
        "mine/../mine",
        "pickled",
        "nothing",
        "",
        "/scratch",
        "/scratch/../../etc/passwd",
        "/scratch/nothing",
        "/etc/passwd",
        "mine\0",
        "m" * 10_000,
    ]
    run = await run_program(
        PRELUDE
        + """
async def main(paths: list[str]):
    begin()
    with Adapter.create(model, "paths") as adapter:
        loaded = [attempt(adapter.load, path) for path in paths]
        saved = [attempt(adapter.save, path) for path in (*paths, "/scratch/a/b", "/scratch/fine")]
        adapter.destroy()
    return [loaded, saved]
""",
        {"paths": paths},
    )
    loaded, saved = run.value
    assert loaded[0] is None
    assert loaded[6] == "adapter-unusable"
    assert [code for index, code in enumerate(loaded) if index not in (0, 6)] == ["adapter-not-found"] * 13
    assert [index for index, code in enumerate(saved) if code is None] == [11, 16]  # where nothing was, and fine
    assert {code for code in saved if code is not None} == {"adapter-not-saved"}


async def test_a_seed_without_a_search_or_an_adapter_is_an_error_of_that_pass(
    run_program: RunProgram, peft_folder: Path
) -> None:
    write_peft(peft_folder, "mine", 2)
    run = await run_program(
        PRELUDE
        + """
async def failing(adapter, seed):
    try:
        await generate("Hello", adapter, seed)
    except Error as error:
        return error.code

async def main():
    begin()
    told = [await failing(None, 1)]
    with Adapter.create(model, "mine") as adapter:
        told.append(await failing(adapter, 1))
        adapter.load("mine")
        told.append(await failing(adapter, 1))
        told.append(attempt(zo.update, adapter, [1.0], [1], 1.0))
        told.append(await failing(adapter, None))
        adapter.destroy()
        told.append(await failing(adapter, None))
    return told
"""
    )
    assert run.value == ["adapter-unusable"] * 4 + [None, "adapter-not-found"]


async def test_an_adapter_destroyed_with_passes_in_flight_serves_them_to_their_end(
    run_program: RunProgram, peft_folder: Path
) -> None:
    write_peft(peft_folder, "mine", 2)
    run = await run_program(
        PRELUDE
        + """
async def read(context, adapter):
    forward = context.forward().adapter(adapter).input(list(range(100, 400)))
    handle = forward.probe(299, Logprobs([5, 6, 7]))
    return forward, handle

async def main():
    begin()
    adapter = Adapter.create(model, "mine")
    adapter.load("mine")
    contexts = [Context(model) for _ in range(4)]
    passes = [await read(context, adapter) for context in contexts]
    running = [asyncio.ensure_future(forward.execute()) for forward, _ in passes]
    await asyncio.sleep(0)
    adapter.destroy()
    outputs = await asyncio.gather(*running)
    values = [output.logprobs(handle) for output, (_, handle) in zip(outputs, passes)]
    return [value == values[0] for value in values]
"""
    )
    assert run.value == [True] * 4


async def test_evolution_strategies_raise_the_probability_of_a_token(run_program: RunProgram) -> None:
    run = await run_program(
        PRELUDE
        + """
PROMPT, WANTED, POPULATION = "Hello, how are", 777, 16

async def score(adapter, seed):
    with Context(model) as context:
        tokens = model.tokenizer().encode(PROMPT)
        forward = context.forward().adapter(adapter).input(tokens)
        if seed is not None:
            forward.zo_seed(seed)
        handle = forward.probe(len(tokens) - 1, Logprobs([WANTED]))
        return (await forward.execute()).logprobs(handle)[0]

async def main():
    begin()
    adapter = Adapter.create(model, "trained")
    zo.initialize(adapter, 4, 16.0, POPULATION, 0.5, 0.1)
    rewards = [await score(adapter, None)]
    for generation in range(8):
        seeds = [generation * 1000 + member for member in range(POPULATION)]
        scores = await asyncio.gather(*(score(adapter, seed) for seed in seeds))
        zo.update(adapter, scores, seeds, 0.2)
        rewards.append(await score(adapter, None))
    adapter.destroy()
    return rewards
"""
    )
    rewards = run.value
    assert rewards[-1] > rewards[0] + 1.0  # five seeds gained 2.7 to 3.7


NUM_ADAPTERS, NUM_PLAIN = 24, 3
ONE_VOICE = """
from inferlet import Adapter, Context, Model, Sampler, session

async def main(number: int):
    model = Model.default()
    adapter = Adapter.create(model, f"voice {number}") if number >= 0 else None
    if adapter:
        adapter.load(f"voice-{number}")
    session.send("ready")
    await session.receive()
    with Context(model) as context:
        context.user("Tell me about rain.")
        tokens = await context.generate(Sampler.argmax(), adapter=adapter, max_tokens=40, stop=[]).collect_tokens()
    if adapter:
        adapter.destroy()
    return tokens
"""


async def run_voices(runtime: Runtime, program: LoadedProgram, numbers: Sequence[int]) -> list[list[int]]:
    """What programs generate at the same time, each with the adapter of its number; a negative number has none."""
    waiting, all_ready = len(numbers), asyncio.Event()

    def listen(event: Event) -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_ready.set()

    processes = [runtime.launch(program, {"number": number}, listener=listen) for number in numbers]
    await asyncio.wait_for(all_ready.wait(), 120)
    for process in processes:
        process.state.mailbox.deliver("go")
    return [json.loads(await process.outcome()) for process in processes]


async def test_programs_with_twenty_four_adapters_in_one_batch_get_the_tokens_that_each_gets_alone(
    runtime: Runtime, peft_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(NUM_ADAPTERS):
        write_peft(peft_folder, f"voice-{number}", number)
    (tmp_path / "main.py").write_text(ONE_VOICE)
    program, numbers = await runtime.load(tmp_path), [*range(NUM_ADAPTERS), *range(-NUM_PLAIN, 0)]
    alone = [(await run_voices(runtime, program, [number]))[0] for number in numbers]
    scheduler, batches, asked = runtime.model.scheduler, list[Batch](), list[DecodeRequest]()
    device = scheduler._device

    def decode(request: DecodeRequest, sink: TokenSink) -> DecodeHandle:
        asked.append(request)
        return type(scheduler).decode(scheduler, request, sink)

    async def step(batch: Batch, progress: Progress | None = None) -> StepResult:
        batches.append(batch)
        while len(batches) == 1 and len(asked) < len(numbers):  # until all of them have asked
            await asyncio.sleep(0.001)
        return await type(device).step(device, batch, progress)

    monkeypatch.setattr(scheduler, "decode", decode)
    monkeypatch.setattr(device, "step", step)
    together = await run_voices(runtime, program, numbers)

    assert together == alone
    assert alone[-NUM_PLAIN:] == [alone[-1]] * NUM_PLAIN
    assert len({tuple(tokens) for tokens in alone}) == NUM_ADAPTERS + 1
    assert any(len(batch.adapters) == NUM_ADAPTERS and batch.num_rows == len(numbers) for batch in batches)


async def test_a_pass_flushes_what_is_buffered_with_its_adapter_and_its_noise(run_program: RunProgram) -> None:
    run = await run_program(
        PRELUDE
        + """
async def read(adapter, seed, buffered):
    tokens = list(range(300, 340))
    with Context(model) as context:
        context.append(tokens[:buffered])
        forward = context.forward().adapter(adapter).zo_seed(seed).input(tokens[buffered:])
        handle = forward.probe(len(tokens) - buffered - 1, Logprobs([5, 6, 7]))
        return (await forward.execute()).logprobs(handle)

async def main():
    begin()
    with Adapter.create(model, "flushed") as adapter:
        zo.initialize(adapter, 4, 8.0, 4, 0.5, 0.5)
        told = [await read(adapter, seed, buffered) for seed in (1, 2) for buffered in (0, 1, 33)]
        adapter.destroy()
    return told
"""
    )
    first, second = run.value[:3], run.value[3:]
    assert first == [first[0]] * 3
    assert second == [second[0]] * 3
    assert first[0] != second[0]
