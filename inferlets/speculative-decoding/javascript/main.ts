// Speculative decoding: a drafter of one's own guesses the next tokens, and one pass of the model checks them all.
//
// The drafter is prompt lookup (Saxena, "Prompt lookup decoding", 2023): where the last tokens have occurred before, it
// guesses that what followed them then follows them now.

import { Context, type Generator, Model, Sampler, type Speculator } from 'inferlet';

interface Input {
  prompt?: string;
  match?: number;
  length?: number;
  max_tokens?: number;
}

export async function main(input: Input) {
  const maxTokens = input.max_tokens ?? 200;
  using context = new Context(Model.default());
  context.user(input.prompt ?? 'Sort these numbers: 12, 5, 31, 8, 41, 22');
  const speculator = new PromptLookup(context.buffer(), input.match ?? 2, input.length ?? 8);
  using fork = context.fork();
  const plain = await run(fork.generate(Sampler.argmax(), { maxTokens }));
  const quick = await run(context.generate(Sampler.argmax(), { maxTokens, speculator }));
  return {
    text: context.model.tokenizer().decode(quick.tokens),
    same_tokens: String(quick.tokens) === String(plain.tokens),
    tokens: quick.tokens.length,
    passes_without: plain.passes,
    passes: quick.passes,
    guessed: speculator.numGuessed,
    accepted: quick.accepted,
    accepted_per_pass: Math.round((quick.accepted / quick.passes) * 100) / 100,
  };
}

/** The tokens of a generation, the forward passes that they took, and the guesses that were right. */
async function run(generator: Generator) {
  const tokens: number[] = [];
  let passes = 0;
  let accepted = 0;
  for await (const step of generator) {
    const output = await step.execute();
    tokens.push(...output.tokens);
    passes += 1;
    accepted += output.tokensAt(output.autoSampler!).length - 1; // the last one is the model's own
  }
  return { tokens, passes, accepted };
}

/** Guesses up to `length` tokens: those that followed the last `match` tokens where these occurred before. */
class PromptLookup implements Speculator {
  numGuessed = 0;
  #known: number[] = [];

  constructor(
    readonly prompt: Uint32Array,
    readonly match: number,
    readonly length: number,
  ) {}

  /** A generation begins. */
  reset() {
    this.#known = [...this.prompt];
    this.numGuessed = 0;
  }

  /** The guesses for the next pass, and no positions: they follow each other. */
  draft(): [Uint32Array, Uint32Array] {
    const known = this.#known;
    const last = known.slice(-this.match);
    const isLast = (_: number, start: number) => last.every((token, index) => known[start + index] === token);
    const start = known.slice(0, -this.match).findLastIndex(isLast);
    const guesses = start < 0 ? [] : known.slice(start + this.match).slice(0, this.length);
    this.numGuessed += guesses.length;
    return [Uint32Array.from(guesses), new Uint32Array()];
  }

  /** Take what a pass gave: the right guesses, and the model's own token after them. */
  accept(tokens: Uint32Array) {
    this.#known.push(...tokens);
  }

  /** The last guesses were wrong: they were never taken as known. */
  rollback() {}
}
