"""What operators and programs see of prefixes that come back from host memory: it is half of the pages by default."""

from __future__ import annotations

from pathlib import Path

import httpcore2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.running import everything_is_given_back, run_to_end

from pie.config import Settings, embedded_model
from pie.runtime import Runtime
from pie.server.server import listen, serve
from pie.server.settings import ServerSettings
from pie_client import Client

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUM_PAGES, LENGTH = 24, 16 * 9 + 1
"""Three prompts of nine pages and a token each do not fit, with a page for what is drawn."""

PROGRAM = """
from inferlet import Context, Model, Sampler

async def main(length):
    told = []
    for _ in range(2):
        for first in (3, 4, 5):
            with Context(Model.default()) as context:
                context.append([first, *range(6, 5 + length)])
                tokens = await context.generate(Sampler.argmax(), max_tokens=3, stop=[]).collect_tokens()
                told.append([tokens, context.reused_tokens])
    return told
"""


async def told_by(settings: Settings, program: Path) -> tuple[list[list[int]], list[int], dict[str, float]]:
    """What each generation drew and how much it reused, and the figures of `/metrics`, by name and state."""
    chosen = ServerSettings(port=0, authentication=False)
    async with Runtime(settings) as runtime:
        made = await run_to_end(runtime, program, LENGTH, seed=1)
        with listen(chosen) as listening:
            async with serve(runtime, chosen, listening, home=settings.home) as server:
                async with httpcore2.AsyncConnectionPool() as pool:
                    page = await pool.request("GET", server.url.replace("ws://", "http://") + "/metrics")
                async with Client(server.url) as client:
                    await client.authenticate("operator")
                    status = await client.query("model_status")
        await everything_is_given_back(runtime)
    figures = {
        sample.name + sample.labels.get("state", ""): sample.value
        for family in text_string_to_metric_families(page.content.decode())
        for sample in family.samples
    }
    figures |= {name.removeprefix("embedded_model."): value for name, value in status.items()}
    return [tokens for tokens, _ in made.value], [reused for _, reused in made.value], figures


async def test_three_prompts_on_pages_for_two_are_computed_once_by_default(tmp_path: Path, cache_dir: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(PROGRAM)
    by_default, without = (
        Settings(tmp_path / str(number), cache_dir, embedded_model(), kv_pages=NUM_PAGES, host_pages=number)
        for number in (None, 0)
    )
    tokens, reused, figures = await told_by(by_default, program)
    assert tokens[:3] == tokens[3:]
    assert reused == [0, 0, 0, *[LENGTH - 1] * 3]
    assert figures["pie_kv_pageshost"] == 0
    assert figures["pie_kv_pageshost_cached"] + figures["pie_kv_pageshost_free"] == NUM_PAGES // 2
    assert figures["pie_kv_pageshost_cached"] == figures["host_pages_cached"] > 0
    assert (figures["host_pages_total"], figures["host_pages_used"]) == (NUM_PAGES // 2, 0)
    from_host = figures["pie_prefix_cache_host_tokens_total"]
    assert 0 < from_host == figures["total_tokens_from_host"] < figures["pie_prefix_cache_hit_tokens_total"]

    same, reused, figures = await told_by(without, program)
    assert same == tokens
    assert sum(reused) < 3 * (LENGTH - 1)
    assert figures["pie_prefix_cache_host_tokens_total"] == 0
