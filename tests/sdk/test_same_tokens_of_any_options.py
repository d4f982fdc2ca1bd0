"""Whatever the options, alone or together, a generation that the server runs is the step-by-step loop of the SDK.

The same program runs twice with the same seed: once its generations are collected, once stepped. Several generations
run beside each other each time, so that their rows share batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.adapters.folders import write_peft
from tests.running import RunProgram

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROGRAM = """
    import asyncio
    from contextlib import ExitStack
    from inferlet import Adapter, Context, Entropy, Error, Model, Sampler, Window, any_json, regex, runs, zo

    PROMPTS = ["hello", "What is 47 + 38?", "Count from 3 to 30. " * 3, "Tell me about rain and about snow."]
    SAMPLERS = {
        "argmax": Sampler.argmax(), "top_p": Sampler.top_p(1.0, 0.95), "top_k": Sampler.top_k(1.2, 50),
        "min_p": Sampler.min_p(1.5, 0.05), "top_k_top_p": Sampler.top_k_top_p(1.0, 40, 0.9),
        "multinomial": Sampler.multinomial(1.5),
    }

    def adapters(model, stack):
        made = {}
        for name in ("voice", "accent", "searched"):
            made[name] = stack.enter_context(Adapter.create(model, f"of any options: {name}"))
            stack.callback(made[name].destroy)
        made["voice"].load("voice")
        made["accent"].load("accent")
        zo.initialize(made["searched"], 4, 8.0, 4, 0.5, 0.5)
        return made

    def start(case, overlays):
        context = Context(Model.default()).user(PROMPTS[case["prompt"]])
        options = {key: case[key] for key in
                   ("max_tokens", "seed", "stop", "logit_mask", "zo_seed", "horizon", "auto_flush",
                    "system_speculation", "stop_texts") if key in case}
        if "window" in case:
            options["window"] = Window(*case["window"])
        if "adapter" in case:
            options["adapter"] = overlays[case["adapter"]]
        constraints = [regex(pattern) for pattern in case.get("regex", [])] + [any_json()] * case.get("json", False)
        generator = context.generate(SAMPLERS[case["sampler"]], constrain=constraints, **options)
        if case.get("probe"):
            generator.probe_each_step(-1, Entropy())
        return context, generator

    async def make(case, way, overlays, *, echo):
        context, generator = start(case, overlays)
        tokens, error, text = [], None, None
        try:
            for _ in range(case.get("stepped", 0)):  # the first ones step by step in any case
                step = await anext(generator, None)
                tokens += (await step.execute()).tokens if step else []
            wishes = runs.Wishes(text=True, echo=echo)
            run = runs.start(generator, wishes) if way == "host" else runs.StepRun(generator, wishes)
            if way == "host" and not isinstance(run, runs.HostRun) and not generator.is_done:
                raise RuntimeError(f"the server does not run {case}")
            while (more := await run.next()) is not None:
                tokens += more
            # How many tokens the first steps took depends on guesses, and those on what else ran.
            text = run.text() if not (case.get("stepped") and case.get("system_speculation")) else None
        except Error as failure:
            error = failure.code
        state = [context.seq_len, context.buffer(), context.wit.committed_page_count()]
        if error is None:  # a step that fails leaves the pages it has reserved, the server gives its own back
            state.append(context.pages.num_pages)
        told = [generator.is_done, generator.tokens_generated]
        return context, {"tokens": tokens, "error": error, "text": text, "state": state, "told": told}

    async def go_on(context, case, outcome):
        window = {"window": Window(*case["window"])} if "window" in case else {}
        if outcome["error"] is None:
            context.append([7])
            again = context.generate(Sampler.multinomial(2.0), max_tokens=3, stop=[], auto_flush=False, **window)
            outcome["after"] = [token async for step in again for token in (await step.execute()).tokens]
        return outcome

    async def main(input):
        with ExitStack() as stack:
            overlays = adapters(Model.default(), stack)
            made = await asyncio.gather(
                *(make(case, input["way"], overlays, echo=not number) for number, case in enumerate(input["cases"])))
            return [await go_on(context, case, outcome)
                    for (context, outcome), case in zip(made, input["cases"])]
"""

ADAPTERS = st.one_of(
    st.fixed_dictionaries({}, optional={"adapter": st.sampled_from(["voice", "accent", "searched"])}),
    st.fixed_dictionaries({"adapter": st.just("searched"), "zo_seed": st.integers(-3, 2**63 - 1)}),
)
PATTERNS = ["[a-z]{3,9}( [a-z]{2,9}){2,4}", "[a-m ]{5,60}", "(yes|no|maybe), [A-Z][a-z]+\\.", "[^e]{10,30}"]
OTHERS = st.fixed_dictionaries(
    {
        "prompt": st.integers(0, 3),
        "sampler": st.sampled_from(["argmax", "top_p", "top_k", "min_p", "top_k_top_p", "multinomial"]),
        "max_tokens": st.integers(0, 50),
    },
    optional={
        "seed": st.integers(0, 2**64 - 1),
        "stop": st.lists(st.integers(0, 2047), max_size=200),
        "logit_mask": st.sampled_from([[100, 150], [0, 900], [30, 300, 40, 500]]),
        "window": st.tuples(st.integers(1, 60), st.integers(0, 20)),
        "regex": st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2),
        "json": st.booleans(),
        "system_speculation": st.booleans(),
        "auto_flush": st.booleans(),
        "horizon": st.integers(1, 50),
        "stop_texts": st.lists(st.text(" aeinorst.,", min_size=1, max_size=3), max_size=3),
        "probe": st.booleans(),
        "stepped": st.integers(1, 5),
    },
)
CASES = st.builds(lambda one, other: one | other, ADAPTERS, OTHERS)


@given(cases=st.lists(CASES, min_size=1, max_size=6), seed=st.integers(0, 3))
@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # what fails is small already, and each try takes a second
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_the_server_makes_the_tokens_of_the_step_by_step_loop_with_any_options_beside_any_others(
    run_program: RunProgram, peft_folder: Path, cases: list[dict[str, Any]], seed: int
) -> None:
    for number, name in enumerate(("voice", "accent")):
        write_peft(peft_folder, name, number)
    by_host = await run_program(PROGRAM, {"way": "host", "cases": cases}, seed=seed)
    by_steps = await run_program(PROGRAM, {"way": "steps", "cases": cases}, seed=seed)
    for host, steps in zip(by_host.value, by_steps.value, strict=True):
        assert host == steps
    assert by_host.stdout == by_steps.stdout


async def test_each_option_changes_what_the_server_makes(run_program: RunProgram, peft_folder: Path) -> None:
    for number, name in enumerate(("voice", "accent")):
        write_peft(peft_folder, name, number)
    plain: dict[str, Any] = {"prompt": 3, "sampler": "min_p", "seed": 1, "max_tokens": 12, "stop": []}
    options: list[dict[str, Any]] = [
        {},
        {"adapter": "voice"},
        {"adapter": "accent"},
        {"adapter": "searched", "zo_seed": 5},
        {"adapter": "searched", "zo_seed": -5},
        {"window": [6, 2]},
        {"adapter": "voice", "window": [6, 2]},
        {"seed": 5, "stepped": 2},
        {"regex": PATTERNS[:1], "system_speculation": True},
        {"stop_texts": ["e"]},
    ]
    run = await run_program(PROGRAM, {"way": "host", "cases": [plain | more for more in options]})
    assert len({tuple(made["tokens"]) for made in run.value}) == len(options)


async def test_numbers_out_of_range_are_the_same_errors_in_the_server_and_step_by_step(run_program: RunProgram) -> None:
    source = """
        from contextlib import ExitStack
        from inferlet import Adapter, Context, Error, Model, Sampler, Window, runs, zo

        async def attempt(way, options):
            generator = Context(Model.default()).user("hello").generate(Sampler.argmax(), max_tokens=3, **options)
            try:
                run = runs.start(generator, runs.Wishes()) if way == "host" else runs.StepRun(generator, runs.Wishes())
                tokens = []
                while (more := await run.next()) is not None:
                    tokens += more
                return tokens
            except Error as error:
                return error.code

        async def main(way):
            with ExitStack() as stack:
                adapter = stack.enter_context(Adapter.create(Model.default(), "out of range"))
                stack.callback(adapter.destroy)
                zo.initialize(adapter, 4, 8.0, 4, 0.5, 0.5)
                seeds = [2**63, 2**64 + 1, -(2**63), -(2**63) - 1, "one"]
                cases = [{"adapter": adapter, "zo_seed": seed} for seed in seeds]
                cases += [{"window": Window(2**33)}, {"window": Window(3, sink=2**33)}, {"zo_seed": 1}, {}]
                return [await attempt(way, case) for case in cases]
    """
    by_host, by_steps = (await run_program(source, "host")).value, (await run_program(source, "steps")).value
    assert by_host == by_steps
    refused, wide, plain = by_host[:5], by_host[5:7], by_host[8]
    assert [made == "bad-number" for made in refused] == [True, True, False, True, True]
    assert wide == [plain] * 2
    assert by_host[7] == "adapter-unusable"
