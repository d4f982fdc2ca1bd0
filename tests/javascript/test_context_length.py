"""A generation without a limit ends at the model's context length, in the server and step by step."""

from __future__ import annotations

import pytest
from tests.running import RunProgram

from pie.runtime import Runtime

# The first test waits for the runner to be built.
pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

PROGRAM = """
    import { Context, Model, Sampler, type Generator, type Speculator } from 'inferlet';

    const guesses: Speculator = {
      reset() {}, draft: () => [Uint32Array.of(60, 61, 62, 63, 64), new Uint32Array()], accept() {}, rollback() {},
    };

    async function stepwise(generator: Generator): Promise<Uint32Array> {
      const tokens: number[] = [];
      for await (const step of generator) tokens.push(...(await step.execute()).tokens);
      return Uint32Array.from(tokens);
    }

    export async function main(input: { prompt: number }) {
      const collected = (generator: Generator) => generator.collectTokens();
      const told = [];
      for (const [run, options] of [
        [collected, {}], [stepwise, {}], [collected, { speculator: guesses }], [stepwise, { systemSpeculation: true }],
      ] as const) {
        using context = new Context(Model.default());
        context.append(Uint32Array.from({ length: input.prompt }, (_, index) => 60 + (index % 7)));
        const generator = context.generate(Sampler.argmax(), { stop: [], autoFlush: false, ...options });
        const tokens = [...(await run(generator))];
        told.push([tokens, generator.isDone, context.seqLen, [...context.buffer()], context.pages.numPages]);
      }
      return told;
    }
"""


async def test_every_way_ends_when_the_context_is_full(runtime: Runtime, run_javascript: RunProgram) -> None:
    length = next(iter(runtime.models.values())).context_length
    told = (await run_javascript(PROGRAM, {"prompt": length - 20})).value
    tokens, is_done, seq_len, buffer, _ = told[0]
    assert (len(tokens), is_done, seq_len, buffer) == (21, True, length, tokens[-1:])
    assert told == [told[0]] * 4
