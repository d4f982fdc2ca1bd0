"""How much of a conversation is computed again when all of it is sent again with each turn?

Clients of `/v1/chat/completions` keep the conversation and send it whole. Twenty turns on the embedded model, each
a message of about thirty tokens; after each turn the answer and the next message are added. What a turn computes of
its prompt is `prompt_tokens` less `cached_tokens`, as the server tells; what is new in it is what it is longer than
the prompt before: the answer, without what the model thought, and the next message. `computed_per_new_token` is the
one over the other, for all turns together, and `worst` that of the worst conversation; without any reuse it is what
`computed_per_new_token_without_reuse` says. Ten conversations run at once, each with words of its own.

    python -m benches.chat_reuse --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpcore2

from benches.sessions import server

TURNS = 20
CONVERSATIONS = 10
NAMES = ("Wilma", "Tom", "Eva", "Ada", "Ben", "Carl", "Dora", "Finn", "Gina", "Hugo")
CITIES = ("Oslo", "Rome", "Paris", "Lima", "Quito", "Cairo", "Tokyo", "Delhi", "Madrid", "Vienna")


@dataclass(slots=True)
class Counted:
    """Tokens of one conversation: sent in prompts, computed of them, and new in them."""

    sent: int = 0
    computed: int = 0
    new: int = 0


def message(name: str, turn: int) -> str:
    """What the user says in a turn."""
    city = CITIES[turn % len(CITIES)]
    return (
        f"My friend {name} {turn} was in {city} last year and liked the food. Remember it. What is {turn} + {turn + 3}?"
    )


async def converse(pool: httpcore2.AsyncConnectionPool, url: str, name: str) -> Counted:
    """One conversation, from its first turn to its last."""
    messages: list[dict[str, Any]] = []
    counted, before = Counted(), 0
    for turn in range(TURNS):
        messages.append({"role": "user", "content": message(name, turn)})
        answer = await _ask(pool, url, messages)
        usage = answer["usage"]
        prompt = usage["prompt_tokens"]
        counted.sent += prompt
        counted.computed += prompt - usage["prompt_tokens_details"]["cached_tokens"]
        counted.new += prompt - before
        before = prompt
        messages.append(answer["choices"][0]["message"])
    return counted


async def _ask(pool: httpcore2.AsyncConnectionPool, url: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"model": "embedded_model", "messages": messages, "temperature": 0, "max_tokens": 40}
    response = await pool.request(
        "POST",
        f"{url}/v1/chat/completions",
        headers=[(b"content-type", b"application/json")],
        content=json.dumps(body).encode(),
    )
    answer: dict[str, Any] = json.loads(response.content)
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {answer}")
    return answer


async def measure(url: str) -> dict[str, float]:
    """All figures."""
    async with httpcore2.AsyncConnectionPool() as pool:
        all_counted = await asyncio.gather(*(converse(pool, url, name) for name in NAMES[:CONVERSATIONS]))
    sent, computed, new = (sum(getattr(one, name) for one in all_counted) for name in ("sent", "computed", "new"))
    return {
        "turns": TURNS,
        "conversations": CONVERSATIONS,
        "prompt_tokens": sent,
        "computed_tokens": computed,
        "new_tokens": new,
        "computed_per_new_token": round(computed / new, 3),
        "worst": round(max(one.computed / one.new for one in all_counted), 3),
        "computed_per_new_token_without_reuse": round(sent / new, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print only the JSON line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, server(Path(home)) as url:
        result = asyncio.run(measure(url.replace("ws://", "http://")))
    if not arguments.json:
        for name, value in result.items():
            print(f"{name:40} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
