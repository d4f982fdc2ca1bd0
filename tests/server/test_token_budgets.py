"""A client that launches with token budgets."""

from __future__ import annotations

import pytest
from tests.server.running import Install, Upstream
from websockets.asyncio.client import connect

from pie.server.server import Server
from pie_client.messages import AuthIdentify, LaunchProcess, Response, decode_server_message, encode

pytestmark = pytest.mark.asyncio(loop_scope="session")

GENERATES = """
from inferlet import Context, Model, Sampler

async def main(input):
    with Context(Model.default()) as context:
        context.user("Count to ten.")
        return len(await context.generate(Sampler.argmax(), max_tokens=input["n"], stop=[]).collect_tokens())
"""


async def test_each_process_has_the_budget_of_its_input(server: Server, upstream: Upstream, install: Install) -> None:
    body = """
        await client.authenticate("me")
        told = []
        for budgets in ([None, 100], [None, 20], [5, 0], [5]):
            try:
                told.append(await client.run_processes(given["id"], [{"n": 30}, {"n": 30}], token_budgets=budgets))
            except Exception as error:
                told.append(str(error))
        return told
    """
    enough, spent, nothing, too_few = await upstream.run(server.url, body, id=install("generates", GENERATES))
    assert enough == ["30", "30"]
    assert "token-budget-spent: the token budget of 20 is used up" in spent
    assert "bad-token-budget: a token budget of 0" in nothing
    assert "token_budgets length 1 does not match inputs length 2" in too_few


async def test_a_negative_budget_is_refused(server: Server, install: Install) -> None:
    program = install("generates", GENERATES)
    async with connect(server.url) as websocket:
        await websocket.send(encode(AuthIdentify(corr_id=0, username="me")))
        await websocket.recv()
        for budget in (-1, -(2**63)):
            launch = LaunchProcess(
                corr_id=1, inferlet=program, input='{"n": 1}', capture_outputs=True, token_budget=budget
            )
            await websocket.send(encode(launch))
            answer = decode_server_message(await websocket.recv(decode=False))
            assert isinstance(answer, Response)
            assert answer.result.startswith(f"bad-token-budget: a token budget of {budget}")
