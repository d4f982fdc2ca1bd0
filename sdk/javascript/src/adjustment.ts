/** Changes of the logits before each draw of a generation. */

import type * as wit from 'pie:ext/generation';

import { u32 } from './numbers.ts';
import type { GenerateOptions } from './options.ts';

/** What the server is told of penalties and biases; undefined if none was asked for. */
export function adjustmentOf(options: GenerateOptions): wit.Adjustment | undefined {
  const { repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = options;
  const pairs = logitBias instanceof Map ? [...logitBias] : Object.entries(logitBias ?? {});
  const asked = [repetitionPenalty, frequencyPenalty, presencePenalty].some((penalty) => penalty !== undefined);
  if (!asked && pairs.length === 0) return undefined;
  return {
    repetitionPenalty: repetitionPenalty ?? 1,
    frequencyPenalty: frequencyPenalty ?? 0,
    presencePenalty: presencePenalty ?? 0,
    logitBias: pairs.map(([token, bias]) => [u32(Number(token), 'a token with a bias'), bias]),
  };
}
