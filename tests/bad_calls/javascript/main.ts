// The shared guest of the bad calls in JavaScript: makes all of them in one process, beside a context that must not notice.

import './beyond.ts';
import './contexts.ts';
import './passes.ts';

import { type Context, Sampler } from 'inferlet';

import { CALLS, filled, type Call } from './calls.ts';

export async function main(): Promise<unknown> {
  using neighbour = await filled(37);
  const told: Record<string, [string, string]> = {};
  for (const [name, call] of CALLS) told[name] = await outcome(call, neighbour);
  using alone = await filled(37);
  return { told, same: (await ending(neighbour)) === (await ending(alone)) };
}

/** The type and the code of what a call throws, or what it gives. */
async function outcome(call: Call, neighbour: Context): Promise<[string, string]> {
  const pages = neighbour.wit.workingPageCount();
  const length = neighbour.seqLen;
  let told: [string, string];
  try {
    told = ['returned', String(await call()).slice(0, 80)];
  } catch (thrown) {
    const error = thrown as { constructor: { name: string }; code?: string; payload?: string; message: string };
    told = [error.constructor.name, error.code ?? (error.payload ?? error.message).split(': ')[0]!];
  }
  if (pages !== neighbour.wit.workingPageCount() || length !== neighbour.seqLen) {
    throw new Error(`the neighbour's pages or tokens are others after ${told}`);
  }
  return told;
}

/** What the model says next. */
async function ending(context: Context): Promise<string> {
  return String(await context.generate(Sampler.argmax(), { maxTokens: 12, stop: [] }).collectTokens());
}
