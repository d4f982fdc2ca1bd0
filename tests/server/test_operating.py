"""What an operator sees and sets: metrics, limits, the log, several models."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpcore2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.running import run_to_end
from tests.server.running import TALKER, Install, pack

from pie.config import ModelSettings, Settings, embedded_model
from pie.errors import UsageError
from pie.forward import Batch, StepResult
from pie.process.store import ProgramStore
from pie.runtime import Runtime
from pie.server.logs import set_up_logging
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.testing import write_random_model
from pie_client import Client, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")

GENERATE = """
from inferlet import Context, Model, Sampler

async def main(input):
    model = Model.load(input["model"]) if "model" in input else Model.default()
    with Context(model) as context:
        context.user("What is the capital of France?")
        return await context.generate(Sampler.argmax(), max_tokens=8, stop=[]).collect_tokens()
"""


async def ask(url: str) -> tuple[int, str]:
    async with httpcore2.AsyncConnectionPool() as pool:
        response = await pool.request("GET", url.replace("ws://", "http://"))
        return response.status, response.content.decode()


async def get(url: str) -> str:
    status, text = await ask(url)
    assert status == 200
    return text


def samples(page: str) -> dict[str, float]:
    return {
        sample.name
        + "".join(f",{value}" for label, value in sorted(sample.labels.items()) if label != "le"): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("le") in (None, "+Inf")
    }


async def test_metrics_tell_what_was_done(server: Server, install: Install) -> None:
    before = samples(await get(f"{server.url}/metrics"))
    async with Client(server.url) as client:
        await client.authenticate("me")
        (tokens,) = await client.run_processes(install("generate", GENERATE), [{}])
        after = samples(await get(f"{server.url}/metrics"))
    model = "embedded_model"
    assert len(tokens) == 8
    for name, more in (
        (f"pie_generation_tokens_total,{model}", 8),
        (f"pie_generations_total,{model},length", 1),
        (f"pie_time_to_first_token_seconds_count,{model}", 1),
        (f"pie_inter_token_latency_seconds_count,{model}", 7),
        (f"pie_generation_duration_seconds_count,{model}", 1),
        ("pie_processes_started_total", 1),
    ):
        assert after[name] - before.get(name, 0) == more, name
    assert after[f"pie_prompt_tokens_total,{model}"] > before.get(f"pie_prompt_tokens_total,{model}", 0)
    assert (after["pie_ready"], after["pie_sessions"]) == (1, 1)
    pages = {name: value for name, value in after.items() if name.startswith("pie_kv_pages,")}
    states = ("held", "cached", "free", "host", "host_cached", "host_free")
    assert set(pages) == {f"pie_kv_pages,{model},{state}" for state in states}
    assert f"pie_prefix_cache_host_tokens_total,{model}" in after
    assert not [name for name in after if name.startswith("vllm:")]
    assert after["process_resident_memory_bytes"] > 0


async def test_what_vllm_has_too_can_be_had_under_its_names(shared_runtime: Runtime, tmp_path: Path) -> None:
    settings = ServerSettings(port=0, authentication=False, vllm_metrics=True)
    with listen(settings) as listening:
        async with serve(shared_runtime, settings, listening, home=tmp_path) as server:
            told = samples(await get(f"{server.url}/metrics"))
    model = "embedded_model"
    for ours, theirs in (
        (f"pie_generation_tokens_total,{model}", f"vllm:generation_tokens_total,{model}"),
        (f"pie_kv_cache_usage_ratio,{model}", f"vllm:kv_cache_usage_perc,{model}"),
        (f"pie_time_to_first_token_seconds_count,{model}", f"vllm:time_to_first_token_seconds_count,{model}"),
    ):
        assert told[theirs] == told[ours]
    assert "vllm:num_requests_waiting,embedded_model" in told


async def test_a_user_has_so_many_processes_and_all_users_together_too(shared_runtime: Runtime, tmp_path: Path) -> None:
    settings = ServerSettings(port=0, authentication=False, max_processes=3, max_processes_per_user=2, grace_s=0)
    manifest = '[package]\nname = "talker"\nversion = "0.1.0"\n'
    ProgramStore(tmp_path / "programs").install(pack(tmp_path / "talker", TALKER), manifest, replace=True)
    with listen(settings) as listening:
        async with (
            serve(shared_runtime, settings, listening, home=tmp_path) as server,
            Client(server.url) as mine,
            Client(server.url) as other,
        ):
            await mine.authenticate("me")
            await other.authenticate("other")
            processes = await mine.launch_processes("talker", [{"hear": 1}] * 2)
            with pytest.raises(Refused, match="too-many-processes: 2 processes of yours run, and 1 more"):
                await mine.launch_process("talker")
            with pytest.raises(Refused, match="too-many-processes: 2 processes run, and 2 more would be more than 3"):
                await other.launch_processes("talker", [{}, {}])
            assert await (await other.launch_process("talker", {"value": 1})).result() == 1
            for process in processes:
                await process.terminate()
            assert await (await mine.launch_process("talker", {"value": 2})).result() == 2


async def test_a_step_that_does_not_end_makes_the_server_not_ready(
    shared_runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = shared_runtime.model.scheduler._device
    step, begun, gate = device.step, asyncio.Event(), asyncio.Event()

    async def held(batch: Batch) -> StepResult:
        begun.set()
        await gate.wait()
        return await step(batch)

    monkeypatch.setattr(device, "step", held)
    (tmp_path / "main.py").write_text(GENERATE)
    settings = ServerSettings(port=0, authentication=False, stalled_s=0.0)
    with listen(settings) as listening:
        async with serve(shared_runtime, settings, listening, home=tmp_path) as server:
            assert await ask(f"{server.url}/readyz") == (200, "ready\n")
            generation = asyncio.create_task(run_to_end(shared_runtime, tmp_path / "main.py", {}, seed=1))
            await begun.wait()
            assert await ask(f"{server.url}/readyz") == (503, "not ready: a step of the model has not ended for 0 s\n")
            assert samples(await get(f"{server.url}/metrics"))["pie_ready"] == 0
            gate.set()
            await generation
            assert await ask(f"{server.url}/readyz") == (200, "ready\n")
            server.service.is_draining = True
            assert await ask(f"{server.url}/readyz") == (503, "not ready: the server is about to stop\n")


async def test_programs_load_models_by_their_names(tmp_path: Path, cache_dir: Path) -> None:
    random_model = write_random_model(tmp_path / "random", seed=3)
    settings = Settings(
        tmp_path / "home",
        cache_dir,
        embedded_model(),
        kv_pages=64,
        more_models=(ModelSettings(random_model, name="small", kv_pages=32),),
    )
    (tmp_path / "main.py").write_text(GENERATE)
    async with Runtime(settings) as runtime:
        assert list(runtime.models) == ["embedded_model", "small"]
        first = await run_to_end(runtime, tmp_path / "main.py", {"model": "embedded_model"}, seed=1)
        default = await run_to_end(runtime, tmp_path / "main.py", {}, seed=1)
        other = await run_to_end(runtime, tmp_path / "main.py", {"model": "small"}, seed=1)
        assert first.value == default.value != other.value
        for model in runtime.models.values():
            assert model.scheduler.ledger().held == 0
            assert model.scheduler.stats().timings.generated_tokens > 0


async def test_a_context_saved_of_one_model_is_not_that_of_another(tmp_path: Path, cache_dir: Path) -> None:
    random_model = write_random_model(tmp_path / "random", seed=3)
    settings = Settings(
        tmp_path / "home",
        cache_dir,
        embedded_model(),
        kv_pages=64,
        more_models=(ModelSettings(random_model, name="small", kv_pages=32),),
    )
    (tmp_path / "main.py").write_text(
        "from inferlet import Context, Model\n\n"
        "async def main(input):\n"
        "    model = Model.load(input['model'])\n"
        "    if input.get('save'):\n"
        "        with Context(model) as context:\n"
        "            context.append(list(range(3, 3 + input['save'])))\n"
        "            await context.flush()\n"
        "            context.save('n')\n"
        "    with Context.open(model, 'n') as context:\n"
        "        return context.seq_len\n"
    )
    async with Runtime(settings) as runtime:
        ask = {"model": "embedded_model", "save": 20}
        assert (await run_to_end(runtime, tmp_path / "main.py", ask, seed=1)).value == 20
        with pytest.raises(Exception, match=r"snapshot-unusable: .*it was made by model 'embedded_model'"):
            await run_to_end(runtime, tmp_path / "main.py", {"model": "small"}, seed=1)
        assert (await run_to_end(runtime, tmp_path / "main.py", {"model": "small", "save": 9}, seed=1)).value == 9
        assert (await run_to_end(runtime, tmp_path / "main.py", {"model": "embedded_model"}, seed=1)).value == 20


async def test_two_models_cannot_have_one_name(tmp_path: Path, cache_dir: Path) -> None:
    twice = (ModelSettings(embedded_model(), kv_pages=8),)
    settings = Settings(tmp_path, cache_dir, embedded_model(), kv_pages=8, more_models=twice)
    before = sys.getswitchinterval()
    with pytest.raises(UsageError, match="model-name-taken"):
        async with Runtime(settings):
            raise AssertionError("it started")
    assert sys.getswitchinterval() == before


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restored_logging")
async def test_the_log_tells_of_processes_and_nothing_they_say(server: Server, install: Install) -> None:
    stream = io.StringIO()
    set_up_logging(form="json", level="info", stream=stream)
    async with Client(server.url) as client:
        await client.authenticate("me")
        process = await client.launch_process(install("talker", TALKER), {"say": ["a secret"], "print": "a secret"})
        await process.result()
        failing = await client.launch_process("talker", {"fail": "a secret"})
        with pytest.raises(Exception, match="a secret"):
            await failing.result()
    async with asyncio.timeout(10):
        while "program-failed" not in stream.getvalue():
            await asyncio.sleep(0.01)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    launched, ended = (
        next(line for line in lines if line["message"] == text) for text in ("process launched", "process ended")
    )
    assert (launched["level"], launched["program"], launched["user"]) == ("info", "talker@0.1.0", "me")
    assert (ended["process"], ended["outcome"]) == (launched["process"], "return")
    assert "secret" not in stream.getvalue()


@pytest.mark.usefixtures("restored_logging")
async def test_the_log_as_text_is_one_line_an_event() -> None:
    stream = io.StringIO()
    set_up_logging(form="text", level="warning", stream=stream)
    logging.getLogger("pie.x").info("not this")
    logging.getLogger("pie.x").warning("this", extra={"facts": {"a": 1}})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z warning this a=1\n", stream.getvalue())
