"""Answers requests in every way there is; built into a component for the tests."""

import asyncio

from inferlet import Context, Model, Sampler
from inferlet.serving import Request, Response


async def echo(request):
    async for part in request.parts():
        yield part


async def count():
    for number in range(3):
        await asyncio.sleep(0.001)
        yield f"{number}\n"


async def chat(prompt):
    with Context(Model.default()) as context:
        context.user(prompt)
        async for piece in context.generate(Sampler.argmax(), max_tokens=20).text():
            yield piece


async def break_off():
    yield "the beginning"
    raise ValueError("the middle is missing")


async def endless():
    while True:
        yield "x" * 100_000


async def handle(request: Request):  # noqa: C901 - one route a case
    match request.path:
        case "/request":
            return [request.method, request.path, request.query, request.headers]
        case "/echo":
            return Response(echo(request), status=201, headers={"x-kind": "echo"})
        case "/json":
            return {"got": await request.json()}
        case "/twice":
            return [await request.text(), await request.text()]
        case "/small":
            return len(await request.body(max_bytes=10))
        case "/count":
            return count()
        case "/chat":
            return chat(await request.text())
        case "/raise":
            raise ValueError("on purpose")
        case "/header":
            return Response("x", headers={"transfer-encoding": "chunked"})
        case "/status":
            return Response("x", status=999)
        case "/length":
            return Response("four", headers={"content-length": "5"})
        case "/break":
            return break_off()
        case "/endless":
            return endless()
        case "/value":
            return {1, 2}
    return Response(b"\x00\x01")
