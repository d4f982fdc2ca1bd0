/** The options of a generation. */

import type { Adapter } from './adapter.ts';
import type { Constraint, Schema } from './constraints.ts';
import { InferletError } from './errors.ts';
import type { Speculator } from './speculator.ts';
import type { Window } from './window.ts';

/** What `Context.generate` takes beside the sampler; everything may be left out. */
export interface GenerateOptions {
  /** Stop after so many tokens. */
  maxTokens?: number | undefined;
  /** Tokens that end the generation, and are not part of it. With `autoFlush` the default is the template's. */
  stop?: Iterable<number> | undefined;
  /** Texts that end the generation: what is shown ends before the first of them. At most 64. */
  stopTexts?: readonly string[] | undefined;
  /** Makes tokens of prompt and output less likely if above 1; from 0.01 to 100. */
  repetitionPenalty?: number | undefined;
  /** Makes tokens less likely the more often they are in the output; from -2 to 2. */
  frequencyPenalty?: number | undefined;
  /** Makes tokens less likely that are in the output; from -2 to 2. */
  presencePenalty?: number | undefined;
  /** What is added to the logits of tokens; from -100 to 100. */
  logitBias?: Readonly<Record<number, number>> | ReadonlyMap<number, number> | undefined;
  /** Tell how likely each token was, and so many of the most likely ones, 0 to 20, in `Generator.logprobs`. */
  logprobs?: number | undefined;
  /** What restricts the tokens; several hold together. */
  constrain?: Schema | Constraint | readonly (Schema | Constraint)[] | undefined;
  /** BRLE of the tokens that may be drawn in every step. */
  logitMask?: Iterable<number> | undefined;
  /** Guesses tokens, several of which are then checked in one step. */
  speculator?: Speculator | undefined;
  /** Let the server guess. Not together with `speculator`. */
  systemSpeculation?: boolean | undefined;
  /**
   * Attend to the last tokens and the first ones only. The pages between them are given back, so that later passes of
   * the context must have such a window too.
   */
  window?: Window | undefined;
  /** Apply an adapter. */
  adapter?: Adapter | undefined;
  /** Perturb the adapter by the noise of this seed, at least 0. */
  zoSeed?: number | bigint | undefined;
  /** How many tokens are expected, for the bid of the context. */
  horizon?: number | undefined;
  /** Add the template's cue first, so that the model answers. True unless said otherwise. */
  autoFlush?: boolean | undefined;
  /** Makes the draws repeatable: token i is drawn with entry i of the random stream `seed`. */
  seed?: number | bigint | undefined;
}

const KNOWN: Readonly<Record<keyof GenerateOptions, true>> = {
  maxTokens: true,
  stop: true,
  stopTexts: true,
  repetitionPenalty: true,
  frequencyPenalty: true,
  presencePenalty: true,
  logitBias: true,
  logprobs: true,
  constrain: true,
  logitMask: true,
  speculator: true,
  systemSpeculation: true,
  window: true,
  adapter: true,
  zoSeed: true,
  horizon: true,
  autoFlush: true,
  seed: true,
};

const MAX_TYPOS = 2;
const MAX_STOP_TEXTS = 64;
const MAX_STOP_LENGTH = 1024;
const MAX_LOGPROBS = 20;

/** Refuse unknown options and those that contradict each other; throws `bad-option`. */
export function check(options: GenerateOptions): void {
  for (const name of Object.keys(options)) {
    if (name in KNOWN) continue;
    const near = Object.keys(KNOWN).find((known) => distance(plain(known), plain(name)) <= MAX_TYPOS);
    throw new InferletError('bad-option', `generate() has no option ${name}${near ? `; did you mean ${near}?` : ''}`);
  }
  if (options.speculator !== undefined && options.systemSpeculation) {
    throw new InferletError('bad-option', 'speculator and systemSpeculation exclude each other');
  }
  if (options.stopTexts !== undefined) checkStopTexts(options.stopTexts);
  const { logprobs } = options;
  if (logprobs !== undefined && !(Number.isInteger(logprobs) && logprobs >= 0 && logprobs <= MAX_LOGPROBS)) {
    throw new InferletError('bad-option', `logprobs is ${logprobs}, not a whole number from 0 to ${MAX_LOGPROBS}`);
  }
}

function checkStopTexts(texts: readonly string[]): void {
  if (!Array.isArray(texts) || texts.length > MAX_STOP_TEXTS) {
    throw new InferletError('bad-option', `stopTexts is no list of at most ${MAX_STOP_TEXTS} texts`);
  }
  for (const text of texts) {
    const length = typeof text === 'string' ? Array.from(text).length : 0;
    if (length === 0 || length > MAX_STOP_LENGTH) {
      const cause = `${JSON.stringify(text)} in stopTexts is no text of 1 to ${MAX_STOP_LENGTH} characters`;
      throw new InferletError('bad-option', cause);
    }
  }
}

function plain(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

/** How many letters have to be put in, left out or changed to make one word of the other (Levenshtein, 1965). */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const change = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
}
