"""Keeps a count and a context from one request to the next."""

import os

from inferlet import Context, Model, Sampler
from inferlet.serving import Request

STATE = {"count": 0, "context": None}


async def warm():
    if STATE["context"] is None:
        STATE["context"] = Context(Model.default())
        STATE["context"].system("Answer in one sentence.")
        await STATE["context"].flush()
    return STATE["context"]


async def chat(question):
    with (await warm()).fork() as context:
        context.user(question)
        return await context.generate(Sampler.argmax(), max_tokens=20).collect_text()


async def endless():
    while True:
        yield "x" * 100_000


async def handle(request: Request):
    match request.path:
        case "/count":
            STATE["count"] += 1
            return str(STATE["count"])
        case "/chat":
            return await chat(await request.text())
        case "/echo":
            return request.parts()
        case "/raise":
            raise ValueError("on purpose")
        case "/abort":
            os.abort()
    return endless()
