"""HTTP from a JavaScript program: to the one place that is open, and to nowhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.egress.local_server import LocalServer, serve
from tests.running import RunProgram

from pie.errors import ProcessError
from pie.runtime import Runtime

# The first test waits for the runner to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]


@pytest_asyncio.fixture(loop_scope="session")
async def server(http_socket: socket.socket) -> AsyncIterator[LocalServer]:
    async with serve(http_socket) as local:
        yield local


@pytest.mark.api("HTTP under the egress policy", "javascript")
async def test_get_post_and_fetch_answer(run_javascript: RunProgram, server: LocalServer) -> None:
    source = """
        import { http } from 'inferlet';

        export async function main({ url }: { url: string }) {
          const posted = await http.post(`${url}/echo`, { json: { n: 1 }, headers: { 'X-Key': 'k' } });
          const got = await http.get(`${url}/redirect`);
          const put = await fetch(`${url}/echo?q=ä#part`, {
            method: 'put', body: 'grün', headers: [['a', '1'], ['a', '2']],
          });
          const copy = put.clone();
          return [
            posted.status, posted.ok, await posted.json(), posted.headers.get('x-two'),
            got.status, got.ok, got.headers.get('location'), await got.text(),
            put instanceof Response, put.url === `${url}/echo?q=%C3%A4`, await put.text(), put.bodyUsed,
            (await copy.bytes()).length, await put.text().catch((error) => error.name),
          ];
        }
    """
    value = (await run_javascript(source, {"url": server.url("")})).value
    assert value[:4] == [200, True, {"n": 1}, "a, b"]
    assert value[4:8] == [302, False, "http://169.254.169.254/", ""]
    assert value[8:] == [True, True, "grün", True, 5, "TypeError"]
    heads = [head.lower() for head, _ in server.requests]
    assert heads[0].startswith("post /echo http/1.1\r\n")
    assert "content-type: application/json" in heads[0]
    assert "x-key: k" in heads[0]
    assert heads[2].startswith("put /echo?q=%c3%a4 http/1.1\r\n")
    assert "\r\na: 1, 2\r\n" in heads[2]


BODIES = {
    "text": ("'grün'", "grün".encode(), "text/plain;charset=utf-8"),
    "bytes": ("Uint8Array.of(0, 255)", b"\x00\xff", None),
    "a part of bytes": ("new Uint8Array([1, 2, 3, 4]).subarray(1, 3)", b"\x02\x03", None),
    "a buffer": ("new ArrayBuffer(2)", b"\x00\x00", None),
    "fields": ("new URLSearchParams({ a: 'b c' })", b"a=b+c", "application/x-www-form-urlencoded"),
    "a blob": ("new Blob(['ab', 'c'], { type: 'text/csv' })", b"abc", "text/csv"),
    "a stream": ("slow()", b"AB", None),
    "nothing": ("null", b"", None),
}


@pytest.mark.parametrize(("body", "sent", "kind"), BODIES.values(), ids=BODIES.keys())
async def test_a_body_may_be_anything_that_the_standard_names(
    run_javascript: RunProgram, server: LocalServer, body: str, sent: bytes, kind: str | None
) -> None:
    source = f"""
        const slow = () => {{
          const rest = [65, 66];
          return new ReadableStream({{ async pull(controller) {{
            await new Promise((r) => setTimeout(r, 5));
            if (rest.length > 0) controller.enqueue(Uint8Array.of(rest.shift()!)); else controller.close();
          }} }});
        }};

        export const main = async ({{ url }}: {{ url: string }}) =>
          (await fetch(url, {{ method: 'POST', body: {body} }})).status;
    """
    assert (await run_javascript(source, {"url": server.url("/echo")})).value == 200
    [(head, data)] = server.requests
    kinds = [line.split(": ")[1] for line in head.lower().split("\r\n") if line.startswith("content-type")]
    assert data == sent
    assert [each.replace("; ", ";").removesuffix(";charset=utf-8") for each in kinds] == (
        [kind.removesuffix(";charset=utf-8")] if kind else []
    )


async def test_forms_and_whole_requests_are_sent(run_javascript: RunProgram, server: LocalServer) -> None:
    source = """
        export async function main({ url }: { url: string }) {
          const form = new FormData();
          form.set('name', 'Wilma');
          form.set('file', new File(['content'], 'a.txt'));
          const echoed = await fetch(new Request(url, { method: 'POST', body: form }));
          const request = new Request(url, { method: 'PUT', body: 'x', headers: { a: 'b' } });
          const replaced = await fetch(request, { method: 'PATCH', headers: { c: 'd' } });
          return [await echoed.text(), await replaced.text()];
        }
    """
    form, body = (await run_javascript(source, {"url": server.url("/echo")})).value
    assert 'name="name"\r\n\r\nWilma\r\n' in form
    assert 'filename="a.txt"' in form
    assert "content\r\n" in form
    assert body == "x"
    first, second = [head.lower() for head, _ in server.requests]
    assert "content-type: multipart/form-data; boundary=" in first
    assert second.startswith("patch ")
    assert "c: d\r\n" in second
    assert "a: b\r\n" not in second


async def test_fetch_timers_and_generations_run_together(run_javascript: RunProgram, server: LocalServer) -> None:
    source = """
        import { Context, Model, Sampler } from 'inferlet';

        export async function main({ url }: { url: string }) {
          const order: string[] = [];
          const note = <T>(name: string, promise: Promise<T>) =>
            promise.then((value) => { order.push(name); return value; });
          using context = new Context(Model.default()).user('hello');
          const stop = new AbortController();
          let ticks = 0;
          const clock = setInterval(() => { ticks += 1; }, 1);
          const silent = fetch(`${url}/silent`, { signal: stop.signal }).catch((error) => error.name);
          const [tokens, answers] = await Promise.all([
            note('generation', context.generate(Sampler.argmax(), { maxTokens: 1500, stop: [] }).collectTokens()),
            note('fetch', Promise.all(Array.from({ length: 8 }, () => fetch(`${url}/echo`)))),
            note('timer', new Promise((r) => setTimeout(r, 2))),
          ]);
          clearInterval(clock);
          stop.abort();
          return [tokens.length, answers.map(({ status }) => status), order.at(-1), ticks > 2, await silent];
        }
    """
    value = (await run_javascript(source, {"url": server.url("")})).value
    assert value == [1500, [200] * 8, "generation", True, "AbortError"]


async def test_requests_run_beside_each_other(run_javascript: RunProgram, server: LocalServer) -> None:
    source = """
        export async function main({ url }: { url: string }) {
          const stop = new AbortController();
          let waits = true;
          const silent = fetch(`${url}/silent`, { signal: stop.signal }).catch(() => {}).then(() => { waits = false; });
          const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/echo`)));
          const waited = waits;
          stop.abort();
          await silent;
          return [answers.map(({ status }) => status), waited];
        }
    """
    assert (await run_javascript(source, {"url": server.url("")})).value == [[200] * 20, True]


async def test_a_signal_ends_a_request(run_javascript: RunProgram, server: LocalServer) -> None:
    source = """
        export async function main({ url }: { url: string }) {
          const told = (signal: AbortSignal) =>
            fetch(`${url}/silent`, { signal }).catch((error) => error.name ?? error);
          const mine = new AbortController();
          setTimeout(() => mine.abort('mine'), 10);
          const late = new AbortController();
          const answer = await fetch(`${url}/echo`, { signal: late.signal });
          late.abort();
          return [await told(AbortSignal.abort()), await told(mine.signal), await told(AbortSignal.timeout(10)),
                  await answer.text()];
        }
    """
    value = (await run_javascript(source, {"url": server.url("")})).value
    assert value == ["AbortError", "mine", "TimeoutError", ""]


async def test_the_largest_bodies_go_both_ways(run_javascript: RunProgram, server: LocalServer) -> None:
    source = """
        export async function main({ url }: { url: string }) {
          const data = Uint8Array.from({ length: 2 << 20 }, (_, index) => index);
          const answer = new Uint8Array(await (await fetch(url, { method: 'POST', body: data })).arrayBuffer());
          return [answer.length, answer.every((byte, index) => byte === (index & 255))];
        }
    """
    assert (await run_javascript(source, {"url": server.url("/echo")})).value == [2 << 20, True]


async def test_everything_else_is_refused_with_the_codes_of_python(
    run_javascript: RunProgram, server: LocalServer
) -> None:
    source = """
        import { InferletError, http } from 'inferlet';

        const told = (url: string, options: http.RequestOptions = {}) => http.fetch(url, options).then(
          () => 'an answer', (error) => error instanceof InferletError ? error.code : String(error));

        export async function main({ url }: { url: string }) {
          return [
            await told('http://example.com/'),
            await told('http://127.0.0.1:1/'),
            await told('http://169.254.169.254/latest/meta-data'),
            await told(url.replace('127.0.0.1', 'localhost') + '/echo'),
            await told('file:///etc/passwd'),
            await told('/echo'),
            await told(url + '/echo', { headers: { Host: 'example.com' } }),
            await told(url + '/echo', { headers: { 'Content-Length': '3' } }),
            await told(url + '/echo', { headers: { X: 'a\\r\\nY: b' } }),
            await told(url + '/echo', { method: 'CONNECT' }),
            await told(url + '/echo', { timeoutMs: -1 }),
            await told(url + '/echo', { timeoutMs: 200_000 }),
            await told(url.replace('//', '//user:secret@') + '/echo'),
            await told(url + '/echo', { method: 'POST', body: new Uint8Array(9 << 20) }),
            await told(url + '/large'),
            await told(url + '/silent', { timeoutMs: 200 }),
            await told(url + '/cut'),
          ];
        }
    """
    codes = (await run_javascript(source, {"url": server.url("")})).value
    assert codes[:4] == ["http-not-allowed"] * 4
    assert codes[4:13] == ["bad-http-request"] * 9
    assert codes[13:] == ["http-too-large", "http-too-large", "http-timeout", "http-failed"]
    assert len(server.requests) == 3


async def test_requests_end_with_their_program(
    run_javascript: RunProgram, runtime: Runtime, server: LocalServer, tmp_path: Path
) -> None:
    (tmp_path / "main.ts").write_text(
        "export const main = ({ url }: { url: string }) => Promise.all([1, 2, 3].map(() => fetch(`${url}/silent`)));"
    )
    process = runtime.launch(await runtime.load(tmp_path), {"url": server.url("")})
    async with asyncio.timeout(20):
        while len(server.requests) < 3:
            await asyncio.sleep(0.005)
    process.terminate()
    with pytest.raises(ProcessError, match="terminated"):
        await process.outcome()
