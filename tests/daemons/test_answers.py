"""Programs that answer HTTP requests: one instance each, bodies piece by piece both ways, nothing kept."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from pie.errors import PieError, ProcessError
from pie.host.mailbox import Event, Mailbox
from pie.process.programs import LoadedProgram
from pie.runtime import Answer, Client, Runtime
from pie.wasm.wasi.http_messages import HttpRequest

# The first test waits for the program to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    header_list: list[tuple[str, bytes]]
    parts: list[bytes]
    told: str

    @property
    def headers(self) -> dict[str, bytes]:
        return dict(self.header_list)

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)


class Asker:
    def __init__(self, runtime: Runtime, program: LoadedProgram) -> None:
        self.runtime = runtime
        self.program = program

    def request(self, path: str, parts: Sequence[bytes] = (), *, method: str = "POST") -> HttpRequest:
        waiting = [*parts, b""]

        async def receive() -> bytes:
            await asyncio.sleep(0)
            return waiting.pop(0) if waiting else b""

        return HttpRequest(method, "http", "localhost:1", path, [("X-One", b"1"), ("x-two", b"\xe9")], receive)

    async def begin(self, request: HttpRequest, told: list[Event] | None = None) -> Answer:
        listener = (lambda _event: None) if told is None else told.append
        return await self.runtime.answer(Client(str(uuid.uuid4()), "u", Mailbox(listener)), self.program, request)

    async def __call__(self, path: str, *parts: bytes, method: str = "POST") -> Answered:
        told: list[Event] = []
        answer = await self.begin(self.request(path, parts, method=method), told)
        body = [part async for part in answer.response.body]
        await answer.process.outcome()
        said = b"".join(event.data for event in told if isinstance(event.data, bytes)).decode()
        return Answered(answer.response.status, list(answer.response.headers), body, said)


@pytest_asyncio.fixture(loop_scope="session")
async def ask_python(runtime: Runtime, answering_wasm: Path) -> Asker:
    return Asker(runtime, await runtime.load(answering_wasm))


@pytest_asyncio.fixture(loop_scope="session")
async def ask_javascript(runtime: Runtime, answering_javascript_wasm: Path) -> Asker:
    return Asker(runtime, await runtime.load(answering_javascript_wasm))


@pytest_asyncio.fixture(loop_scope="session", params=["answering_wasm", "answering_javascript_wasm"])
async def ask(request: pytest.FixtureRequest, runtime: Runtime) -> Asker:
    """Asks the same program in each language."""
    return Asker(runtime, await runtime.load(request.getfixturevalue(request.param)))


async def test_a_program_sees_the_whole_request(ask: Asker) -> None:
    answered = await ask("/request?a=1&b=%20x&c", method="OPTIONS")
    assert json.loads(answered.body) == [
        "OPTIONS",
        "/request",
        {"a": "1", "b": " x", "c": ""},
        {"x-one": "1", "x-two": "é"},
    ]
    assert (answered.status, answered.headers["content-type"]) == (200, b"application/json")
    assert json.loads((await ask("/request", method="PURGE")).body)[0] == "PURGE"


async def test_bodies_stream_both_ways(ask: Asker) -> None:
    parts = [bytes([n]) * 50_000 for n in range(8)]
    answered = await ask("/echo", *parts)
    assert answered.body == b"".join(parts)
    assert len(answered.parts) >= 8
    assert (answered.status, answered.headers["x-kind"]) == (201, b"echo")


async def test_each_piece_is_sent_when_it_is_there(ask: Asker) -> None:
    assert (await ask("/count")).parts == [b"0\n", b"1\n", b"2\n"]


async def test_a_program_generates_while_it_answers(ask: Asker) -> None:
    answered = await ask("/chat", b"What is the capital of France?")
    assert answered.body == b"The capital of France is Paris."
    assert len(answered.parts) > 1


async def test_values_become_json_and_bytes_stay_bytes(ask: Asker) -> None:
    assert json.loads((await ask("/json", b'{"n": ', b"1}")).body) == {"got": {"n": 1}}
    answered = await ask("/")
    assert (answered.body, answered.headers["content-type"]) == (b"\x00\x01", b"application/octet-stream")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/raise", "ValueError: on purpose"),
        ("/json", "not-json: the body of the request is no JSON"),
        ("/twice", "body-taken: the body of a request can be read once"),
        ("/small", "body-too-large: the body of the request has more than 10 bytes"),
        ("/header", "bad-header: the response cannot have these header fields, or one of them: transfer-encoding"),
        ("/value", "not-json: JSON cannot express the response"),
    ],
)
async def test_a_program_that_raises_answers_500_and_tells_stderr(path: str, told: str, ask_python: Asker) -> None:
    answered = await ask_python(path, b"no json, and long")
    assert (answered.status, answered.body) == (500, b"The program failed.\n")
    assert told in answered.told


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/raise", "RangeError: on purpose\n    at handle (main.ts:"),
        ("/json", "not-json: the body of the request is no JSON"),
        ("/twice", "body-taken: the body of a request can be read once"),
        ("/stuck", "deadlock: every task waits"),
        ("/value", "not-json: JSON cannot express the response: handle() returned a function"),
    ],
)
async def test_a_javascript_program_that_raises_answers_500_and_tells_stderr(
    path: str, told: str, ask_javascript: Asker
) -> None:
    answered = await ask_javascript(path, b"no json")
    assert (answered.status, answered.body) == (500, b"The program failed.\n")
    assert told in answered.told


@pytest.mark.parametrize("path", ["/stream", "/from", "/piped"])
async def test_streams_of_a_javascript_program_are_sent_piece_by_piece(path: str, ask_javascript: Asker) -> None:
    assert (await ask_javascript(path)).parts == [b"0\n", b"1\n", b"2\n"]


async def test_the_responses_of_the_engine_are_sent_as_they_are(ask_javascript: Asker) -> None:
    answered = await ask_javascript("/response")
    assert (answered.body.decode(), answered.headers["content-length"]) == ("grün", b"5")
    assert answered.header_list.count(("set-cookie", b"a=1")) == answered.header_list.count(("set-cookie", b"b=2")) == 1
    assert (await ask_javascript("/values")).headers["content-type"] == b"application/json"
    assert len((await ask_javascript("/large")).body) == 5_000_000
    assert (await ask_javascript("/blob")).body == b"ab"
    empty = await ask_javascript("/empty")
    assert (empty.status, empty.body) == (204, b"")
    moved = await ask_javascript("/moved")
    assert (moved.status, moved.headers["location"]) == (303, b"http://localhost/there")


async def test_text_is_text_and_nothing_is_null(ask_javascript: Asker) -> None:
    answered = await ask_javascript("/text")
    assert (answered.body.decode(), answered.headers["content-type"]) == ("grün", b"text/plain; charset=utf-8")
    assert (await ask_javascript("/nothing")).body == b"null"


async def test_the_body_of_a_request_is_read_as_what_it_is(ask_javascript: Asker) -> None:
    assert json.loads((await ask_javascript("/bodies", b"ab", b"c")).body) == [3, True]
    form = ("content-type", b"application/x-www-form-urlencoded")
    request = replace(ask_javascript.request("/form", [b"a=1&", b"b=%20"]), headers=[form])
    answer = await ask_javascript.begin(request)
    assert json.loads(b"".join([part async for part in answer.response.body])) == {"a": "1", "b": " "}
    await answer.process.outcome()
    assert (await ask_javascript("/echo", b"abc", method="GET")).body == b""


async def test_a_body_that_is_too_large_to_be_read_whole_is_refused(ask_javascript: Asker) -> None:
    answered = await ask_javascript("/twice", *[bytes(1 << 20)] * 17)
    assert answered.status == 500
    assert "body-too-large: the body of the request has more than 16777216 bytes" in answered.told


async def test_a_request_that_is_still_being_read_when_its_answer_is_there_is_let_go(ask_javascript: Asker) -> None:
    async def never() -> bytes:
        await asyncio.sleep(3600)
        return b""

    answer = await ask_javascript.begin(HttpRequest("POST", "http", "localhost", "/left", [], never))
    assert b"".join([part async for part in answer.response.body]) == b"not waited for"
    await answer.process.outcome()


async def test_a_part_of_a_javascript_response_that_is_no_bytes_breaks_it_off(ask_javascript: Asker) -> None:
    told: list[Event] = []
    answer = await ask_javascript.begin(ask_javascript.request("/mixed"), told)
    with pytest.raises(ProcessError, match="no-response"):
        assert [part async for part in answer.response.body] == []
    await answer.process.outcome()
    said = b"".join(event.data for event in told if isinstance(event.data, bytes))
    assert b"bad-response: a part of the response is a number, neither text nor bytes" in said


async def test_a_stream_that_waits_costs_no_turns_of_the_loop(ask_javascript: Asker) -> None:
    answer = await ask_javascript.begin(ask_javascript.request("/slow"))
    parts = answer.response.body
    assert await anext(parts) == b"0"
    (guest,) = ask_javascript.runtime._wasm.guests.values()
    calls = []
    for _ in range(2):
        await asyncio.sleep(0.2)
        calls.append(guest.meter.host_calls)
    assert calls[0] == calls[1]
    answer.process.terminate()
    await parts.aclose()  # type: ignore[attr-defined]


async def test_a_status_that_does_not_exist_is_500(ask_python: Asker) -> None:
    answered = await ask_python("/status")
    assert answered.status == 500
    assert "999" in answered.told


@pytest.mark.parametrize("path", ["/break", "/length"])
async def test_a_body_that_is_not_finished_breaks_off(path: str, ask: Asker) -> None:
    answer = await ask.begin(ask.request(path))
    assert answer.response.status == 200
    with pytest.raises(ProcessError, match="no-response: the program ended before the body"):
        async for _ in answer.response.body:
            pass
    await answer.process.outcome()


async def test_a_client_that_leaves_ends_the_process(ask: Asker) -> None:
    answer = await ask.begin(ask.request("/endless"))
    parts = answer.response.body
    assert len(await anext(parts)) > 0
    answer.process.terminate()
    with pytest.raises(ProcessError, match="terminated"):
        await answer.process.outcome()
    await parts.aclose()  # type: ignore[attr-defined]


async def test_a_program_cannot_write_faster_than_it_is_read(ask: Asker) -> None:
    answer = await ask.begin(ask.request("/endless"))
    calls = []
    for _ in range(2):
        await asyncio.sleep(0.3)
        calls.append(sum(guest.meter.host_calls for guest in ask.runtime._wasm.guests.values()))
    assert calls[0] == calls[1]
    answer.process.terminate()


async def test_many_requests_are_answered_at_once(ask: Asker) -> None:
    answers = await asyncio.gather(*(ask("/count") for _ in range(50)))
    assert all(answered.body == b"0\n1\n2\n" for answered in answers)


async def test_a_request_that_is_given_up_before_its_answer_leaves_nothing(ask: Asker) -> None:
    async def never() -> bytes:
        await asyncio.sleep(3600)
        return b""

    request = HttpRequest("POST", "http", "localhost", "/json", [], never)
    task = asyncio.ensure_future(ask.begin(request))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_that_goes_in_the_middle_of_its_request_is_told_to_the_program(ask: Asker) -> None:
    async def broken() -> bytes:
        raise ConnectionResetError("gone")

    told: list[Event] = []
    request = HttpRequest("POST", "http", "localhost", "/json", [], broken)
    answer = await ask.begin(request, told)
    assert answer.response.status == 500
    await answer.process.outcome()
    assert b"client-gone" in b"".join(event.data for event in told if isinstance(event.data, bytes))


async def test_a_program_without_a_handle_does_not_answer(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("async def main(input): pass\n")
    ask = Asker(runtime, await runtime.load(tmp_path / "main.py"))
    with pytest.raises(ProcessError, match="no-handler"):
        await ask.begin(ask.request("/"))


async def test_a_program_without_a_main_cannot_be_launched(ask: Asker) -> None:
    with pytest.raises(PieError, match="no-main"):
        await ask.runtime.launch(ask.program, {}).outcome()
