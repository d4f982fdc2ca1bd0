"""Penalties and biases change what the server makes as a program would that changes the logits itself."""

from __future__ import annotations

import pytest
from tests.running import RunProgram

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = """
    import asyncio
    from array import array
    from inferlet import Context, Logits, Model, Sampler

    PROMPTS = ["hello", "Count from 3 to 30.", "ba ba ba ba ba ba ba", "What is 47 + 38?"]

    def started(case):
        context = Context(Model.default()).user(PROMPTS[case["prompt"]]).cue()
        options = case["options"]
        if "logit_bias" in options:
            options = options | {"logit_bias": {int(token): bias for token, bias in options["logit_bias"].items()}}
        return context, options

    async def by_the_server(case, guess=False):
        context, options = started(case)
        generator = context.generate(
            Sampler.argmax(), max_tokens=30, auto_flush=False, system_speculation=guess, **options)
        return await generator.collect_tokens()

    async def by_hand(case):
        context, options = started(case)
        prompt, output = set(context.buffer()), []
        repetition = options.get("repetition_penalty", 1.0)
        generator = context.generate(Sampler.argmax(), max_tokens=30, auto_flush=False)
        async for step in generator:
            step.clear_sampler()
            probe = step.probe(-1, Logits())
            logits = list(array("f", (await step.execute()).logits(probe)))
            for token in prompt | set(output):
                logits[token] = logits[token] / repetition if logits[token] > 0 else logits[token] * repetition
            for token in set(output):
                logits[token] -= output.count(token) * options.get("frequency_penalty", 0)
                logits[token] -= options.get("presence_penalty", 0)
            for token, bias in options.get("logit_bias", {}).items():
                logits[token] += bias
            output += generator.accept([max(range(len(logits)), key=lambda token: (logits[token], -token))])
        return output

    async def main(cases):
        together = await asyncio.gather(*map(by_the_server, cases))
        alone = [await by_the_server(case) for case in cases]
        guessed = [await by_the_server(case, guess=True) for case in cases]
        return [together, alone, guessed, [await by_hand(case) for case in cases]]
"""

OPTIONS = [
    {},
    {"repetition_penalty": 1.5},
    {"repetition_penalty": 0.5},
    {"frequency_penalty": 1.25},
    {"presence_penalty": 2.0},
    {"frequency_penalty": -1.0, "presence_penalty": -0.5},
    {"logit_bias": {"300": 60.0, "301": 59.5}, "frequency_penalty": 2.0},
    {"repetition_penalty": 1.25, "frequency_penalty": 0.5, "presence_penalty": 0.25, "logit_bias": {"32": -100.0}},
]


async def test_the_server_makes_the_tokens_of_a_program_that_adjusts_logits_by_hand(run_program: RunProgram) -> None:
    cases = [{"prompt": number % 4, "options": options} for number, options in enumerate(OPTIONS)]
    cases += [{"prompt": 1, "options": options} for options in OPTIONS]
    together, alone, guessed, by_hand = (await run_program(PROGRAM, cases)).value
    assert together == by_hand
    assert alone == by_hand
    assert guessed == by_hand
    assert len({tuple(tokens) for tokens in by_hand[len(OPTIONS) :]}) >= 4  # small ones do not turn a sure model


async def test_numbers_out_of_range_and_steps_are_refused(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Error, Model, Sampler

        async def code(way, options):
            generator = Context(Model.default()).user("hello").generate(Sampler.argmax(), max_tokens=3, **options)
            try:
                if way == "whole":
                    await generator.collect_tokens()
                else:
                    await anext(generator)
                return None
            except Error as error:
                return error.code

        async def main():
            wrong = [
                {"repetition_penalty": 0.0}, {"repetition_penalty": 1000.0}, {"frequency_penalty": 2.1},
                {"presence_penalty": float("nan")}, {"logit_bias": {5: 101.0}}, {"logit_bias": {2**20: 1.0}},
                {"logit_bias": {-1: 1.0}},
            ]
            right = [
                {"repetition_penalty": 0.01}, {"frequency_penalty": -2.0}, {"logit_bias": {5: 100}},
                {"repetition_penalty": None, "logit_bias": None},
            ]
            return [[await code(way, one) for one in some]
                    for way, some in (("whole", wrong), ("whole", right), ("steps", right))]
    """
    wrong, right, steps = (await run_program(source)).value
    assert wrong[:5] == ["bad-sampler"] * 5
    assert wrong[5] == "bad-token"
    assert wrong[6] in {"bad-argument", "bad-number"}
    assert right == [None] * 4
    assert steps == ["host-only"] * 3 + [None]
