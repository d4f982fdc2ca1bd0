"""The examples that exist in both languages do the same in both."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.running import Run, RunInferlet, run_to_end

from pie.runtime import Runtime

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

INFERLETS = Path(__file__).parents[2] / "inferlets"
PROGRAMS = [path for path in INFERLETS.glob("*/javascript/main.ts") if "function main(" in path.read_text()]
NAMES = sorted(path.parent.parent.name for path in PROGRAMS)
CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("text-completion", {"prompt": "Hello", "temperature": 0}, []),
    ("text-completion", {}, []),
    ("text-completion", {"system": "You are Captain, a helpful assistant.", "max_tokens": 5}, []),
    ("chat", {}, ["Hi, my name is Wilma.", "What is my name?", "/quit", "Hello"]),
    ("chat", {"system": "You are Captain, a helpful assistant."}, ["What is your name?"]),
    ("best-of-n", {"n": 6}, []),
    ("best-of-n", {"n": 4, "prompt": "What is 47 + 38?", "temperature": 0.1}, []),
    ("json-record", {}, []),
    ("json-record", {"sentence": "Nora comes from Oslo and is 29 years old."}, []),
    ("parallel-asyncio", {"questions": "What is the capital of Spain?|What is 47 + 38?"}, []),
    ("constrained-decoding", {}, []),
    ("constrained-decoding", {"prompt": "Is 42 even or odd?", "choices": "odd, even", "ebnf": "root ::= [a-z]+"}, []),
    ("speculative-decoding", {}, []),
    ("speculative-decoding", {"prompt": "What is 7 * 8?", "match": 1, "length": 3}, []),
    ("output-validation", {}, []),
    ("output-validation", {"kind": "colors", "count": 9, "tries": 2}, []),
    ("watermarking", {"texts": 3}, []),
    ("attention-sink", {"max_tokens": 200}, []),
    ("hierarchical-attention", {}, []),
    ("hierarchical-attention", {"question": "How old is Max?", "keep": 2}, []),
    ("windowed-attention", {}, []),
    ("jacobi-decoding", {}, []),
    ("jacobi-decoding", {"prompt": "Count from 3 to 12.", "block": 3, "max_tokens": 20}, []),
    ("agent-swarm", {"program": "agent-swarm"}, []),
    ("mcp-tools", {}, []),
    ("mcp-tools", {"question": "What is the weather in Paris?", "server": "weather"}, []),
    ("beam-search", {}, []),
    ("beam-search", {"prompt": "Tell me a short story.", "width": 3, "max_tokens": 20}, []),
    ("tree-of-thought", {}, []),
    ("tree-of-thought", {"numbers": "5, 55, 5", "proposals": 4, "keep": 2}, []),
    ("graph-of-thought", {"numbers": "12, 45, 33", "candidates": 2}, []),
    ("skeleton-of-thought", {}, []),
    ("skeleton-of-thought", {"topic": "fruits", "points": 2}, []),
    ("mcts", {}, []),
    ("mcts", {"words": "fox, spaceship", "rounds": 5, "branching": 2, "rollouts": 3}, []),
    ("agent-react", {}, []),
    ("agent-react", {"question": "Find a train for the capital of Norway.", "max_steps": 1}, []),
]
SECONDS = re.compile(r"_s$")


def spaced(message: str) -> str:
    """A message as Python writes it: the languages put spaces into JSON, or do not."""
    try:
        return json.dumps(json.loads(message))
    except ValueError:
        return message


def without_seconds(value: Any) -> Any:
    return {key: one for key, one in value.items() if not SECONDS.search(key)} if isinstance(value, dict) else value


@pytest.mark.parametrize(("name", "value", "lines"), CASES, ids=lambda case: case if isinstance(case, str) else "")
async def test_an_example_does_the_same_in_both_languages(
    run_inferlet: RunInferlet,
    javascript_runtime: Runtime,
    name: str,
    value: dict[str, Any],
    lines: list[str],
) -> None:
    by_python = await run_inferlet(name, value, seed=3, lines=lines)
    by_javascript: Run = await run_to_end(
        javascript_runtime, INFERLETS / name / "javascript", dict(value), seed=3, lines=lines
    )
    assert without_seconds(by_javascript.value) == without_seconds(by_python.value)
    assert by_javascript.stdout == by_python.stdout
    assert sorted(map(spaced, by_javascript.messages)) == sorted(map(spaced, by_python.messages))


async def test_together_every_question_starts_before_the_first_one_ends(
    javascript_runtime: Runtime, runtime: Runtime
) -> None:
    path = INFERLETS / "parallel-asyncio" / "javascript"
    messages = (await run_to_end(runtime, path, {}, seed=1)).messages
    middle = messages.index("now together")
    assert [message.partition(":")[0] for message in messages[:middle]] == ["started", "finished"] * 4
    assert [message.partition(":")[0] for message in messages[middle + 1 :]] == ["started"] * 4 + ["finished"] * 4


async def test_a_swarm_launches_copies_of_itself_in_its_own_language(
    javascript_runtime: Runtime, runtime: Runtime, programs_dir: Path, run_inferlet: RunInferlet
) -> None:
    path = INFERLETS / "agent-swarm" / "javascript"
    (programs_dir / "javascript").symlink_to(path)
    try:
        by_javascript = await run_to_end(runtime, path, {}, seed=3)
    finally:
        (programs_dir / "javascript").unlink()
    assert by_javascript.value == (await run_inferlet("agent-swarm", {}, seed=3)).value


@pytest.mark.parametrize("name", NAMES)
async def test_the_manifest_declares_exactly_what_the_program_reads(name: str) -> None:
    manifest = tomllib.loads((INFERLETS / name / "Pie.toml").read_text())
    text = (INFERLETS / name / "javascript" / "main.ts").read_text()
    assert set(re.findall(r"\binput\.(\w+)", text)) == set(manifest["parameters"])
    assert name in {case[0] for case in CASES}
