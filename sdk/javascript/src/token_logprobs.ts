/** How likely the tokens of a generation were. */

import type { Progress } from 'pie:ext/generation';

/** How likely a token was in the model's own distribution: at temperature 1, before penalties, biases and masks. */
export interface TokenLogprobs {
  /** Which one was drawn. */
  readonly token: number;
  /** The natural logarithm of its probability. */
  readonly logprob: number;
  /** The most likely tokens and theirs, most likely first, as many as were asked for. */
  readonly top: readonly (readonly [token: number, logprob: number])[];
}

/** @internal What the server tells of new tokens; empty if it was not asked. */
export function paired({ tokens, logprobs }: Progress): TokenLogprobs[] {
  return logprobs.map(({ logprob, top }, index) => ({ token: tokens[index]!, logprob, top }));
}
