"""Ways to run a generation: collectors, text pieces, single steps, and code of the program between tokens."""

from __future__ import annotations

import pytest
from tests.running import RunProgram

from pie.errors import ProcessError

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_text_pieces_join_to_the_collected_text(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        def start():
            return Context(Model.default()).user("hello").generate(Sampler.argmax(), max_tokens=200, stop=[])

        async def main(input):
            pieces = [piece async for piece in start().text()]
            return [pieces, await start().collect_text()]
    """
    pieces, text = (await run_program(source)).value
    assert len(pieces) > 1
    assert "".join(pieces) == text


async def test_echoed_text_is_printed_by_the_server_and_by_the_step_loop(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        class Anything:
            def step(self, tokens):
                return []

        async def main(custom):
            generator = Context(Model.default()).user("hello").generate(Sampler.argmax(), max_tokens=12)
            if custom:
                generator.constrain(Anything())
            return await generator.collect_text(echo=True)
    """
    offloaded, stepped = await run_program(source, False), await run_program(source, True)
    assert offloaded.stdout == offloaded.value == stepped.stdout == stepped.value
    assert offloaded.value


async def test_leaving_a_text_stream_early_leaves_a_usable_context(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        async def main(input):
            context = Context(Model.default()).user("Count from one to ninety in words.")
            generator = context.generate(Sampler.argmax(), max_tokens=500, stop=[])
            whole = ""
            async for piece in generator.text():
                whole += piece
                if len(whole) > 10:
                    break
            made = generator.tokens_generated
            total = context.seq_len + len(context.buffer())
            rest = await context.generate(Sampler.argmax(), max_tokens=4, auto_flush=False, stop=[]).collect_tokens()
            return [whole, generator.tokens_generated, total, rest, context.seq_len]
    """
    whole, made, total, rest, seq_len = (await run_program(source)).value
    assert len(whole) > 10
    assert 0 < made < 500
    assert len(rest) == 4
    assert seq_len == total + 3


async def test_a_generation_that_is_given_up_ends_and_the_context_goes_on(run_program: RunProgram) -> None:
    source = """
        import asyncio
        from inferlet import Context, Model, Sampler

        async def main(input):
            context = Context(Model.default()).user("Count from one to ninety in words.")
            before = len(context.buffer())
            generator = context.generate(Sampler.argmax(), max_tokens=100_000, stop=[])
            try:
                await asyncio.wait_for(generator.collect_tokens(), 0.1)
            except TimeoutError:
                pass
            again = await context.generate(Sampler.argmax(), max_tokens=2, auto_flush=False).collect_tokens()
            return [generator.tokens_generated > 0, len(again)]
    """
    assert (await run_program(source)).value == [True, 2]


async def test_two_tasks_cannot_generate_with_one_context(run_program: RunProgram) -> None:
    source = """
        import asyncio
        from inferlet import Context, Error, Model, Sampler

        async def main(input):
            context = Context(Model.default()).user("hello")
            running = asyncio.create_task(context.generate(Sampler.argmax(), max_tokens=50).collect_tokens())
            await asyncio.sleep(0)
            try:
                context.user("again")
            except Error as error:
                return [error.code, len(await running) > 0]
    """
    assert (await run_program(source)).value == ["context-busy", True]


async def test_generations_of_several_contexts_overlap(run_program: RunProgram) -> None:
    source = """
        import asyncio
        from inferlet import Context, Model, Sampler

        async def main(input):
            context = Context(Model.default()).user("hello")
            await context.flush()
            order = []

            async def one(index):
                with context.fork() as branch:
                    await branch.generate(Sampler.argmax(), max_tokens=index, stop=[]).collect_tokens()
                    order.append(index)

            await asyncio.gather(*[one(index) for index in (200, 100, 5)])
            return order
    """
    assert (await run_program(source)).value == [5, 100, 200]


async def test_probes_of_every_step_are_read_with_one_handle(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Distribution, Entropy, Logprobs, Model, Sampler

        async def main(input):
            generator = Context(Model.default()).user("hello").generate(Sampler.argmax(), max_tokens=4)
            likely = generator.probe_each_step(-1, Distribution(1.0, 3))
            rows = []
            async for step in generator:
                entropy = step.probe(-1, Entropy())
                out = await step.execute()
                ids, probabilities = out.distribution(likely)
                rows.append([out.tokens, out.token(out.auto_sampler), ids[0], sum(probabilities) <= 1.001,
                             out.entropy(entropy) >= 0, out.entropy(likely)])
            return rows
    """
    rows = (await run_program(source)).value
    assert len(rows) == 4
    for tokens, drawn, most_likely, is_distribution, has_entropy, wrong_kind in rows:
        assert tokens == [drawn] == [most_likely]
        assert is_distribution
        assert has_entropy
        assert wrong_kind is None


async def test_a_handle_of_another_pass_is_refused(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        async def main(input):
            context = Context(Model.default())
            first, second = context.forward().input([1, 2]), context.forward().input([3])
            handle = first.sample([0], Sampler.argmax())
            await first.execute()
            return (await second.execute()).token(handle)
    """
    with pytest.raises(ProcessError, match="foreign-handle"):
        await run_program(source)


async def test_a_program_can_draw_its_own_tokens(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Distribution, Model, Sampler

        async def main(input):
            own = Context(Model.default()).user("hello")
            generator = own.generate(Sampler.multinomial(5.0), max_tokens=6)
            taken = []
            async for step in generator:
                probe = step.clear_sampler().probe(-1, Distribution(1.0, 1))
                out = await step.execute()
                taken += generator.accept(out.distribution(probe)[0])
            greedy = Context(Model.default()).user("hello")
            expected = await greedy.generate(Sampler.argmax(), max_tokens=6).collect_tokens()
            return [taken, expected, own.seq_len, greedy.seq_len, own.buffer(), greedy.buffer()]
    """
    taken, expected, seq_len, expected_len, buffer, expected_buffer = (await run_program(source)).value
    assert taken == expected
    assert seq_len == expected_len
    assert buffer == expected_buffer


SPECULATION = """
    from inferlet import Context, Model, Sampler

    class Guess:
        def __init__(self, tokens, wrong_at):
            self.tokens, self.wrong_at = list(tokens), wrong_at
            self.made, self.rolled_back, self.drafts = [], 0, 0
        def draft(self):
            at = len(self.made)
            guesses = self.tokens[at : at + 4]
            if self.wrong_at is not None and len(guesses) > self.wrong_at:
                guesses[self.wrong_at] = (guesses[self.wrong_at] + 1) % 500
            self.drafts += 1
            return guesses, []
        def accept(self, tokens): self.made += tokens
        def rollback(self, n): self.rolled_back += n
        def reset(self): self.made = []

    async def main(input):
        sampler = Sampler.top_p(1.0, 0.95)
        plain = Context(Model.default()).user("Tell me about rain.")
        options = {"max_tokens": 20, "seed": 11}
        if "stop_at" in input:
            options["stop"] = [input["stop_at"]]
        expected = await plain.generate(sampler, **options).collect_tokens()
        context = Context(Model.default()).user("Tell me about rain.")
        guess = Guess(input.get("oracle") or expected, input.get("wrong_at"))
        tokens = await context.generate(sampler, speculator=guess, **options).collect_tokens()
        return {"tokens": tokens, "expected": expected, "steps": guess.drafts, "rolled_back": guess.rolled_back,
                "lengths": [context.seq_len, plain.seq_len], "buffers": [context.buffer(), plain.buffer()]}
"""


@pytest.mark.parametrize("wrong_at", [None, 0, 2])
async def test_guesses_change_how_fast_tokens_come_and_never_which(
    run_program: RunProgram, wrong_at: int | None
) -> None:
    result = (await run_program(SPECULATION, {"wrong_at": wrong_at})).value
    assert result["tokens"] == result["expected"]
    assert len(set(result["lengths"])) == 1
    assert result["buffers"][0] == result["buffers"][1]
    assert (result["rolled_back"] == 0) == (wrong_at is None)
    assert result["steps"] < 20 if wrong_at is None else result["steps"] > 4


async def test_a_stop_token_among_right_guesses_leaves_no_tokens_after_it(run_program: RunProgram) -> None:
    whole = (await run_program(SPECULATION, {})).value["tokens"]
    result = (await run_program(SPECULATION, {"oracle": whole, "stop_at": whole[9]})).value
    assert result["tokens"] == result["expected"] == whole[: whole.index(whole[9])]
    assert len(set(result["lengths"])) == 1
    assert result["buffers"] == [[], []]


async def test_constraints_of_the_program_see_every_token_once(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler, regex

        class OneByOne:
            def __init__(self): self.seen, self.calls = [], 0
            def step(self, accepted):
                self.seen += accepted
                self.calls += 1
                return [200, 50] if self.calls % 2 else []

        async def main(input):
            constraint = OneByOne()
            generator = Context(Model.default()).user("hi").generate(
                Sampler.multinomial(1.0), max_tokens=8, seed=1, constrain=[constraint], logit_mask=[210, 500])
            tokens = await generator.collect_tokens()
            return [tokens, constraint.seen]
    """
    tokens, seen = (await run_program(source)).value
    assert len(tokens) == 8
    assert seen == tokens[:-1]
    assert all(210 <= token < 250 for token in tokens[::2])
    assert all(210 <= token < 710 for token in tokens[1::2])


async def test_a_custom_schema_builds_the_constraint(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, GrammarConstraint, Model, Sampler

        class YesOrNo:
            def build_constraint(self, model):
                return GrammarConstraint.from_regex("(yes|no)", model)

        async def main(input):
            context = Context(Model.default()).user("Is water wet?")
            return await context.generate(Sampler.argmax(), max_tokens=10, constrain=YesOrNo()).collect_text()
    """
    assert (await run_program(source)).value in {"yes", "no"}


async def test_collected_json_follows_its_schema_and_passes_through_parse(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
                  "additionalProperties": False}

        async def main(input):
            generator = Context(Model.default()).user("Answer.").generate(Sampler.argmax(), max_tokens=40)
            return await generator.collect_json(schema=SCHEMA, parse=lambda value: [type(value["ok"]).__name__])
    """
    assert (await run_program(source)).value == ["bool"]


async def test_json_that_is_cut_short_is_an_error_that_says_so(run_program: RunProgram) -> None:
    source = """
        from inferlet import Context, Model, Sampler

        async def main(input):
            generator = Context(Model.default()).user("Answer.").generate(Sampler.argmax(), max_tokens=2)
            return await generator.collect_json(schema='{"type": "string", "minLength": 50}')
    """
    with pytest.raises(ProcessError, match="incomplete-json"):
        await run_program(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("max_token=5", "no option max_token; did you mean max_tokens"),
        ("speculator=object(), system_speculation=True", "exclude each other"),
        ("constrain=5", "neither build_constraint.* nor step"),
    ],
)
async def test_wrong_options_are_told_by_name(run_program: RunProgram, options: str, message: str) -> None:
    source = f"""
        from inferlet import Context, Model, Sampler

        async def main(input):
            Context(Model.default()).user("hi").generate(Sampler.argmax(), {options})
    """
    with pytest.raises(ProcessError, match=message):
        await run_program(source)
