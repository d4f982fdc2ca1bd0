// The bad calls by name, and what they share.

import { Context, type Forward, Model, Sampler } from 'inferlet';
import type { GenerateOptions } from 'inferlet';

export type Call = () => unknown;
export const CALLS = new Map<string, Call>();
export const TOO_MANY = 2_000_001;

/** Declares bad calls by name. */
export function calls(table: Record<string, Call>): void {
  for (const [name, call] of Object.entries(table)) {
    if (CALLS.has(name)) throw new Error(`${name} is declared twice`);
    CALLS.set(name, call);
  }
}

/** An empty context. */
export function fresh(): Context {
  return new Context(Model.default());
}

/** A context with so many tokens in its pages. */
export async function filled(count: number): Promise<Context> {
  const context = fresh().append(Array.from({ length: count }, (_, index) => 40 + (index % 200)));
  await context.flush();
  return context;
}

/** The first token id that the model does not have. */
export function vocabulary(): number {
  return Model.default().tokenizer().vocabs()[0].length;
}

interface Pass {
  tokens?: number[];
  sampler?: Sampler;
  fill?: (forward: Forward) => unknown;
}

/** A pass over some tokens, with something wrong about it. */
export async function run({ tokens = [60, 61], sampler = Sampler.argmax(), fill }: Pass): Promise<unknown> {
  using context = fresh();
  const forward = context.forward().input(tokens);
  forward.sample([tokens.length - 1], sampler);
  fill?.(forward);
  return await forward.execute();
}

type Options = GenerateOptions & { tokens?: number[]; sampler?: Sampler };

/** A generation with something wrong about it. */
export async function generate({ tokens = [60], sampler = Sampler.argmax(), ...options }: Options): Promise<unknown> {
  using context = fresh().append(tokens);
  return await context.generate(sampler, { maxTokens: 4, autoFlush: false, ...options }).collectTokens();
}
