"""The calls of a turn, and the answer without reasoning."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.running import RunProgram

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = """
    import { chat, Context, Model, Sampler, tools } from 'inferlet';

    export async function main(turn: string) {
      const model = Model.default();
      const tokens = model.tokenizer().encode(turn);
      using decoder = new chat.Decoder(model, { reasoning: false });
      const event = decoder.feed(tokens);
      const anything = { step: () => [] };
      const texts: string[] = [];
      for (const constrain of [[], [anything]]) {
        using context = new Context(model);
        context.user('What is 47 + 38?');
        const generator = context.generate(Sampler.argmax(), { maxTokens: 100, constrain });
        texts.push(await generator.collectText({ reasoning: false }));
      }
      return { calls: tools.parse(model, tokens), event, texts };
    }
"""


async def test_calls_and_answers_are_those_of_python(run_javascript: RunProgram) -> None:
    turn = '<think>one</think>\n\nTwo.<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    value = (await run_javascript(PROGRAM, turn)).value
    assert value["calls"] == [{"type": "call", "name": "f", "args": '{"a": 1}'}]
    assert value["event"] == {"type": "interrupt", "token": 3}
    assert value["texts"] == ["47 + 38 = 85", "47 + 38 = 85"]


async def test_the_result_of_a_tool_is_told_in_the_same_tokens_from_both_languages(
    run_javascript: RunProgram, run_program: RunProgram, tmp_path: Path
) -> None:
    results = [
        {"temperature": -4, "sky": "cloudy, \\n windy"},
        {"list": [1, [], {}], "city": "Zürich"},
        ["a", None],
        "{}",
    ]
    by_python = await run_program(
        """
        from inferlet import Model, tools

        async def main(results):
            return [list(tools.answer_prefix(Model.default(), "get", result)) for result in results["all"]]
        """,
        {"all": results},
    )
    (tmp_path / "main.py").unlink()
    by_javascript = await run_javascript(
        """
        import { Model, tools } from 'inferlet';

        export async function main(input: { all: (string | object)[] }) {
          return input.all.map((result) => [...tools.answerPrefix(Model.default(), 'get', result)]);
        }
        """,
        {"all": results},
    )
    assert by_javascript.value == by_python.value
