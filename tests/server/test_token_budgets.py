"""A client that launches with token budgets."""

from __future__ import annotations

import pytest
from tests.server.running import Install, Upstream

from pie.server.server import Server
from pie_client import Client, Refused

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
    async with Client(server.url) as client:
        await client.authenticate("me")
        for budget in (-1, -(2**63)):
            with pytest.raises(Refused, match=f"bad-token-budget: a token budget of {budget}"):
                await client.launch_process(program, {"n": 1}, token_budget=budget)
