"""A JavaScript program makes the tokens that a Python program makes, in the server and step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.running import RunProgram

# The first test waits for the runner to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

PYTHON = """
    from inferlet import Adapter, Context, Model, Sampler, Window, regex, zo

    SAMPLERS = {
        "argmax": Sampler.argmax(), "topP": Sampler.top_p(1.0, 0.95), "topK": Sampler.top_k(1.2, 50),
        "minP": Sampler.min_p(1.5, 0.05), "topKTopP": Sampler.top_k_top_p(1.0, 40, 0.9),
        "multinomial": Sampler.multinomial(1.0),
    }

    async def main(input):
        names = ("max_tokens", "seed", "stop", "stop_texts", "logit_mask", "zo_seed", "system_speculation")
        options = {key: input[key] for key in names if key in input}
        if "window" in input:
            options["window"] = Window(*input["window"])
        if "zo_seed" in input:  # made before the context, as below: both take a random stream
            options["adapter"] = Adapter.create(Model.default(), "same tokens")
            zo.initialize(options["adapter"], 4, 8.0, 4, 0.5, 0.5)
        context = Context(Model.default()).system("You are terse.").user(input.get("prompt", "Tell me about rain."))
        generator = context.generate(SAMPLERS[input["sampler"]], **options)
        if "regex" in input:
            generator.constrain(regex(input["regex"]))
        tokens = await generator.collect_tokens()
        if "zo_seed" in input:
            options["adapter"].destroy()
        return {"tokens": tokens, "seq_len": context.seq_len, "buffer": context.buffer(), "done": generator.is_done,
                "generated": generator.tokens_generated}
"""

JAVASCRIPT = """
    import { Adapter, Context, Model, Sampler, Window, regex, zo, type Generator } from 'inferlet';

    const SAMPLERS: Record<string, Sampler> = {
      argmax: Sampler.argmax(), topP: Sampler.topP(1, 0.95), topK: Sampler.topK(1.2, 50), minP: Sampler.minP(1.5, 0.05),
      topKTopP: Sampler.topKTopP(1, 40, 0.9), multinomial: Sampler.multinomial(1),
    };

    async function stepByStep(generator: Generator): Promise<Uint32Array> {
      const tokens: number[] = [];
      for await (const step of generator) tokens.push(...(await step.execute()).tokens);
      return Uint32Array.from(tokens);
    }

    export async function main(input: any) {
      const results = [];
      const adapter = input.zo_seed === undefined ? undefined : Adapter.create(Model.default(), 'same tokens');
      if (adapter !== undefined) {
        const search = { rank: 4, alpha: 8, populationSize: 4, muFraction: 0.5, initialSigma: 0.5 };
        zo.initialize(adapter, search);
      }
      for (const collect of [(generator: Generator) => generator.collectTokens(), stepByStep]) {
        using context = new Context(Model.default());
        context.system('You are terse.').user(input.prompt ?? 'Tell me about rain.');
        const generator = context.generate(SAMPLERS[input.sampler]!, {
          maxTokens: input.max_tokens,
          seed: input.seed === undefined ? undefined : BigInt(input.seed),
          stop: input.stop,
          stopTexts: input.stop_texts,
          logitMask: input.logit_mask,
          systemSpeculation: input.system_speculation,
          zoSeed: input.zo_seed,
          window: input.window === undefined ? undefined : new Window(input.window[0], input.window[1]),
          adapter,
        });
        if (input.regex) generator.constrain(regex(input.regex));
        const tokens = await collect(generator);
        results.push({
          tokens: [...tokens], seq_len: context.seqLen, buffer: [...context.buffer()], done: generator.isDone,
          generated: generator.tokensGenerated,
        });
      }
      adapter?.destroy();
      return results;
    }
"""

CASES = {
    "greedy-over-pages": {"sampler": "argmax", "max_tokens": 70, "prompt": "Count from one to ninety in words."},
    "greedy-to-its-stop": {"sampler": "argmax", "max_tokens": 400, "prompt": "hello"},
    "one-token": {"sampler": "argmax", "max_tokens": 1},
    "no-token": {"sampler": "argmax", "max_tokens": 0},
    "top-p": {"sampler": "topP", "max_tokens": 40, "seed": 7},
    "top-k": {"sampler": "topK", "max_tokens": 40, "seed": 8},
    "min-p": {"sampler": "minP", "max_tokens": 40, "seed": 2**53 - 1},
    "top-k-top-p": {"sampler": "topKTopP", "max_tokens": 40, "seed": 0},
    "multinomial": {"sampler": "multinomial", "max_tokens": 40, "seed": 5},
    "masked": {"sampler": "multinomial", "max_tokens": 30, "seed": 5, "logit_mask": [100, 150]},
    "grammar": {"sampler": "topP", "max_tokens": 60, "seed": 3, "regex": "[a-z]{3,9}( [a-z]{2,9}){2,4}"},
    "grammar-cut-short": {"sampler": "argmax", "max_tokens": 3, "regex": "[a-z]{40,60}"},
    "stop-texts": {"sampler": "topP", "max_tokens": 60, "seed": 4, "stop_texts": ["e r", "ain", "zz"]},
    "window": {"sampler": "topP", "max_tokens": 60, "seed": 4, "stop": [], "window": [20, 3]},
    "adapter-with-noise": {"sampler": "argmax", "max_tokens": 20, "stop": [], "zo_seed": 11},
    "everything": {
        "sampler": "minP",
        "max_tokens": 60,
        "seed": 4,
        "window": [20, 3],
        "zo_seed": 11,
        "system_speculation": True,
        "regex": "[a-z ]{30,50}",
        "logit_mask": [0, 2000],
    },
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_both_languages_and_both_ways_make_the_same_tokens_and_the_same_context(
    run_program: RunProgram, run_javascript: RunProgram, tmp_path: Any, case: dict[str, Any]
) -> None:
    by_python = (await run_program(PYTHON, case)).value
    (tmp_path / "main.py").unlink()  # both write their program there
    by_host, by_steps = (await run_javascript(JAVASCRIPT, case)).value
    assert by_host == by_python
    assert by_steps == by_python


async def test_penalties_and_biases_are_those_of_python_and_not_for_single_steps(
    run_program: RunProgram, run_javascript: RunProgram, tmp_path: Any
) -> None:
    python = """
        from inferlet import Context, Model, Sampler

        async def main():
            generator = Context(Model.default()).user("Tell me about rain.").generate(
                Sampler.argmax(), max_tokens=20, repetition_penalty=1.5, frequency_penalty=0.5, presence_penalty=0.25,
                logit_bias={300: 4.0, 32: -100})
            return await generator.collect_tokens()
    """
    typescript = """
        import { Context, InferletError, Model, Sampler } from 'inferlet';

        export async function main() {
          using context = new Context(Model.default()).user('Tell me about rain.');
          const options = {
            maxTokens: 20, repetitionPenalty: 1.5, frequencyPenalty: 0.5, presencePenalty: 0.25,
          };
          const made = [];
          for (const logitBias of [{ 300: 4, 32: -100 }, new Map([[300, 4], [32, -100]])]) {
            using fork = context.fork();
            made.push([...(await fork.generate(Sampler.argmax(), { ...options, logitBias }).collectTokens())]);
          }
          try {
            for await (const step of context.generate(Sampler.argmax(), options)) await step.execute();
          } catch (error) {
            if (error instanceof InferletError) made.push(error.code);
          }
          return made;
        }
    """
    by_python = (await run_program(python)).value
    (tmp_path / "main.py").unlink()  # both write their program there
    assert (await run_javascript(typescript)).value == [by_python, by_python, "host-only"]


async def test_without_a_seed_the_tokens_are_those_of_the_process(run_javascript: RunProgram) -> None:
    source = """
        import { Context, Model, Sampler } from 'inferlet';

        export async function main() {
          using context = new Context(Model.default()).user('Tell me a story.');
          return [...(await context.generate(Sampler.multinomial(2), { maxTokens: 12 }).collectTokens())];
        }
    """
    first, again, other = [(await run_javascript(source, seed=seed)).value for seed in (5, 5, 6)]
    assert first == again
    assert first != other


async def test_log_probabilities_are_those_of_python_and_not_for_single_steps(
    run_program: RunProgram, run_javascript: RunProgram, tmp_path: Any
) -> None:
    python = """
        from inferlet import Context, Model, Sampler

        async def main():
            generator = Context(Model.default()).user("Tell me about rain.").generate(
                Sampler.top_p(1.0), max_tokens=20, logprobs=3, seed=4)
            await generator.collect_text()
            return [[one.token, one.logprob, one.top] for one in generator.logprobs]
    """
    typescript = """
        import { Context, InferletError, Model, Sampler } from 'inferlet';

        export async function main() {
          using context = new Context(Model.default()).user('Tell me about rain.');
          using fork = context.fork();
          const generator = fork.generate(Sampler.topP(1.0), { maxTokens: 20, logprobs: 3, seed: 4 });
          for await (const _ of generator.text());
          const codes = [];
          for (const logprobs of [3, 21, 0.5]) {
            try {
              using other = context.fork();
              for await (const step of other.generate(Sampler.argmax(), { logprobs })) await step.execute();
            } catch (error) {
              if (error instanceof InferletError) codes.push(error.code);
            }
          }
          return [generator.logprobs.map(({ token, logprob, top }) => [token, logprob, top]), codes];
        }
    """
    by_python = (await run_program(python)).value
    (tmp_path / "main.py").unlink()  # both write their program there
    by_javascript, codes = (await run_javascript(typescript)).value
    assert len(by_python) == 20
    assert [[token, [each for each, _ in top]] for token, _, top in by_javascript] == [
        [token, [each for each, _ in top]] for token, _, top in by_python
    ]
    values = [[[one[1], *(value for _, value in one[2])] for one in told] for told in (by_javascript, by_python)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-4)
    assert codes == ["host-only", "bad-option", "bad-option"]
