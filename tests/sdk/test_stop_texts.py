"""A generation ends at a stop text: in the server, piped or not, and step by step, with guesses and without."""

from __future__ import annotations

from typing import Any

import pytest
from tests.running import RunProgram

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = """
    from inferlet import Context, Error, Model, Sampler, runs

    async def make(way, echo, options):
        generator = Context(Model.default()).user("Count from 3 to 30.").generate(Sampler.argmax(), **options)
        wishes = runs.Wishes(text=True, echo=echo)
        run = runs.start(generator, wishes) if way == "host" else runs.StepRun(generator, wishes)
        tokens = []
        while (more := await run.next()) is not None:
            tokens += more
        return [tokens, run.text(), generator.is_done, generator.context.seq_len, generator.context.buffer()]

    async def main(input):
        return await make(input["way"], input.get("echo", False), input["options"])
"""


async def test_the_text_ends_before_it_and_the_tokens_with_it(run_program: RunProgram) -> None:
    options: dict[str, Any] = {"max_tokens": 60}
    whole = (await run_program(PROGRAM, {"way": "host", "options": options})).value[1]
    stop = whole[9:14]  # over the boundaries of tokens
    for guess in (False, True):
        options = {"max_tokens": 60, "stop_texts": ["never said", stop], "system_speculation": guess}
        runs = [
            await run_program(PROGRAM, {"way": way, "echo": echo, "options": options})
            for way in ("host", "steps")
            for echo in (False, True)
        ]
        tokens, text, is_done, *_ = runs[0].value
        assert text == whole[: whole.index(stop)]
        assert is_done
        assert all(run.value == runs[0].value for run in runs)
        assert [run.stdout for run in runs] == ["", text, "", text]
        assert len(tokens) < 60


async def test_a_stop_text_that_the_limit_cuts_off_is_shown(run_program: RunProgram) -> None:
    whole = (await run_program(PROGRAM, {"way": "host", "options": {"max_tokens": 12}})).value[1]
    options = {"max_tokens": 12, "stop_texts": [whole[-3:] + "and more"]}
    for way in ("host", "steps"):
        assert (await run_program(PROGRAM, {"way": way, "options": options})).value[1] == whole


async def test_the_server_says_that_it_stopped_and_refuses_texts_that_are_none(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Error, Model, Sampler, loop
        from inferlet.errors import call
        from wit_world.imports import generation

        async def finish(texts):
            context = Context(Model.default()).user("What is the capital of Italy?").cue()
            options = generation.Options(
                tokens=context.buffer(), sampler=Sampler.argmax().wit, adjustment=None, logprobs=None, max_tokens=5,
                stop=[], stop_texts=texts, logit_mask=None, speculate=False, seed=None, counter=0, adapter_seed=None,
                window=None, notify_every=0, pipe=False, hide_reasoning=False)
            try:
                running = call(generation.Generation.start, context.wit, options, [], None)
                progress = await loop.progress(running)
                return [progress.finish.name.lower(), len(progress.tokens) < 5]
            except Error as error:
                return error.code

        async def main():
            wanted = [["capital"], ["\\x00 never"], [""], ["a"] * 65, ["b" * 1025]]
            codes = []
            for texts in ([""], "abc", ["a"] * 65, [7]):
                try:
                    Context(Model.default()).generate(Sampler.argmax(), stop_texts=texts)
                except Error as error:
                    codes.append(error.code)
            return [[await finish(texts) for texts in wanted], codes]
    """
    ends, codes = (await run_program(source)).value
    assert ends == [["stop", True], ["length", False], *["bad-request"] * 3]
    assert codes == ["bad-option"] * 4


async def test_a_context_counts_the_tokens_that_were_known_already(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        async def main():
            text = [300 + 1013 * place % 1700 for place in range(70)]  # what no other test has put into the cache
            counts = []
            for rest in ([5], [6]):
                context = Context(Model.default()).append(text + rest)
                await context.generate(Sampler.argmax(), max_tokens=2, auto_flush=False).collect_tokens()
                fork = context.fork()
                counts.append([context.reused_tokens, fork.reused_tokens, context.page_size])
            context.append([9])
            await context.flush()
            return counts + [context.reused_tokens]
    """
    (first, _, size), (second, of_fork, _), later = (await run_program(source)).value
    assert first == of_fork == 0
    assert second == later == 70 // size * size
