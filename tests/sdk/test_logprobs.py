"""A generation tells how likely its tokens were: what the log-softmax of its logits says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.running import RunProgram

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = """
    import asyncio
    from array import array
    from inferlet import Context, Logits, Model, Sampler, json_schema

    PROMPTS = ["hello", "Count from 3 to 30.", "ba ba ba ba ba ba ba", "What is 47 + 38?"]

    def started(case):
        context = Context(Model.default()).user(PROMPTS[case["prompt"]]).cue()
        options = dict(case["options"])
        if options.pop("as_json", False):
            options["constrain"] = json_schema({"type": "object"})
        if "logit_bias" in options:
            options["logit_bias"] = {int(token): bias for token, bias in options["logit_bias"].items()}
        return context, options

    async def made(case, guess=False, pieces=False):
        context, options = started(case)
        generator = context.generate(
            Sampler.top_p(1.2, 0.95) if "seed" in options else Sampler.argmax(),
            max_tokens=24, auto_flush=False, system_speculation=guess, **options)
        if pieces:
            async for _ in generator.text():
                assert len(generator.logprobs) == (generator.tokens_generated if "logprobs" in options else 0)
            tokens = [one.token for one in generator.logprobs]
        else:
            tokens = await generator.collect_tokens()
        return tokens, [(one.token, one.logprob, one.top) for one in generator.logprobs]

    async def logits(case, tokens):
        context, _ = started(case)
        fed = [*context.buffer(), *tokens[:-1]]
        forward = Context(Model.default()).forward().input(fed)
        probes = [forward.probe(index, Logits()) for index in range(len(fed) - len(tokens), len(fed))]
        output = await forward.execute()
        return [list(array("f", output.logits(probe))) for probe in probes]

    async def main(cases):
        together = await asyncio.gather(*map(made, cases))
        others = [[await made(case), await made(case, guess=True), await made(case, pieces=True)] for case in cases]
        return [together, others, [await logits(*each) for each in zip(cases, [tokens for tokens, _ in together])]]
"""

CASES: list[dict[str, Any]] = [
    {"prompt": 0, "options": {"logprobs": 0}},
    {"prompt": 1, "options": {"logprobs": 20, "seed": 3}},
    {"prompt": 2, "options": {"logprobs": 3, "seed": 5}},
    {"prompt": 3, "options": {"logprobs": 2, "as_json": True}},
    {"prompt": 1, "options": {"logprobs": 5, "frequency_penalty": 2.0, "logit_bias": {"300": 40.0}}},
    {"prompt": 0, "options": {"logprobs": 1, "stop_texts": [" the", " help"]}},
    {"prompt": 2, "options": {}},
]


async def test_the_values_are_those_of_the_log_softmax_however_the_tokens_came(run_program: RunProgram) -> None:
    together, others, all_logits = (await run_program(PROGRAM, CASES)).value
    for case, (tokens, told), again, logits in zip(CASES, together, others, all_logits, strict=True):
        wanted = case["options"].get("logprobs")
        assert [one[0] for one in told] == (tokens if wanted is not None else [])
        assert tokens
        values = np.asarray(logits, np.float64)
        exact = values - np.log(np.exp(values - values.max(1, keepdims=True)).sum(1, keepdims=True))
        exact -= values.max(1, keepdims=True)
        for (token, logprob, top), row in zip(told, exact, strict=wanted is not None):
            assert logprob == pytest.approx(row[token], abs=1e-4)
            assert len(top) == wanted
            np.testing.assert_allclose([each for _, each in top], np.sort(row)[::-1][:wanted], atol=1e-4)
            np.testing.assert_allclose([each for _, each in top], row[[number for number, _ in top]], atol=1e-4)
        for other_tokens, other_told in again:
            if wanted is not None:
                assert other_tokens == tokens
            assert [(token, len(top)) for token, _, top in other_told] == [(token, len(top)) for token, _, top in told]
            np.testing.assert_allclose([one[1] for one in other_told], [one[1] for one in told], atol=1e-4)


async def test_numbers_out_of_range_and_steps_are_refused(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Error, Model, Sampler
        from inferlet.errors import call
        from wit_world.imports import generation

        async def code(way, logprobs):
            context = Context(Model.default()).user("hello").cue()
            try:
                if way == "host":
                    options = generation.Options(
                        tokens=context.buffer(), sampler=Sampler.argmax().wit, adjustment=None, logprobs=logprobs,
                        max_tokens=5, stop=[], stop_texts=[], logit_mask=None, speculate=False, seed=None, counter=0,
                        adapter_seed=None, window=None, notify_every=0, pipe=False, hide_reasoning=False)
                    call(generation.Generation.start, context.wit, options, [], None).cancel()
                    return None
                generator = context.generate(Sampler.argmax(), max_tokens=3, logprobs=logprobs)
                if way == "steps":
                    await anext(generator)
                else:
                    await generator.collect_text()
                return None
            except Error as error:
                return error.code

        async def main():
            wrong = [await code("whole", one) for one in (-1, 21, True, 2.0)]
            right = [await code("whole", one) for one in (None, 0, 20)]
            return [wrong, right, await code("steps", 2), await code("host", 21), await code("host", 20)]
    """
    wrong, right, steps, host, fine = (await run_program(source)).value
    assert wrong == ["bad-option"] * 4
    assert right == [None] * 3
    assert (steps, host, fine) == ("host-only", "bad-request", None)
