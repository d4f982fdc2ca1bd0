// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./pie-core-adapter.d.ts" />
/// <reference path="./pie-core-context.d.ts" />
/// <reference path="./pie-core-inference.d.ts" />
/// <reference path="./pie-core-types.d.ts" />
/// <reference path="./wasi-io-poll.d.ts" />
declare module 'pie:ext/generation' {
  export type Pollable = import('wasi:io/poll@0.2.4').Pollable;
  export type Error = import('pie:core/types').Error;
  export type Adapter = import('pie:core/adapter').Adapter;
  export type Context = import('pie:core/context').Context;
  export type Sampler = import('pie:core/inference').Sampler;
  export type Brle = import('pie:core/inference').Brle;
  export type Matcher = import('pie:core/inference').Matcher;
  /**
   * What each token sees.
   */
  export interface Window {
    /**
     * So many last tokens, itself included; at least 1.
     */
    size: number,
    /**
     * So many first tokens of the context.
     */
    sink: number,
  }
  /**
   * Changes of the logits before each draw, before masks and temperature, in this order.
   */
  export interface Adjustment {
    /**
     * Logits of tokens of prompt and output are divided by it if positive, else multiplied; 0.01 to 100, 1 is none.
     * The prompt is all that the context holds, and `tokens`; the output is what this generation has drawn.
     */
    repetitionPenalty: number,
    /**
     * Taken from a token's logit as often as the token is in the output; -2 to 2.
     */
    frequencyPenalty: number,
    /**
     * Taken once from the logit of each token of the output; -2 to 2.
     */
    presencePenalty: number,
    /**
     * What is added to logits of tokens, each of which stands there once; -100 to 100.
     */
    logitBias: Array<[number, number]>,
  }
  /**
   * What to generate.
   */
  export interface Options {
    /**
     * Input of the first pass, at least one token, placed after the last token of the context.
     */
    tokens: Uint32Array,
    /**
     * Draws each token; must be one that draws a single token.
     */
    sampler: Sampler,
    /**
     * Tell the log-probability of each token, and those of so many most likely ones, 0 to 20; none tells neither.
     */
    logprobs?: number,
    /**
     * Changes the logits before each draw.
     */
    adjustment?: Adjustment,
    /**
     * How many tokens to make at most, at least 1; none is bounded by the model's context length.
     */
    maxTokens?: number,
    /**
     * Tokens that end the generation. They are not part of the result and not written to the context.
     */
    stop: Uint32Array,
    /**
     * Texts that end the generation once the visible text holds one of them; at most 64, each of 1 to 1024 characters.
     * The visible text ends before it. The tokens that make it are part of the result. Guesses are not made beside it.
     */
    stopTexts: Array<string>,
    /**
     * Tokens that may be drawn in every step.
     */
    logitMask?: Brle,
    /**
     * Guess tokens from what the text holds already and check several in one step. Changes speed only, never a token.
     */
    speculate: boolean,
    /**
     * Token i draws entry `counter` + i of the random stream `seed`; without one, from the stream of the context.
     */
    seed?: bigint,
    /**
     * Only read with a seed.
     */
    counter: bigint,
    /**
     * Add the noise of a seed to the adapter: the 64 bits of what `zo.adapter-seed` takes.
     */
    adapterSeed?: bigint,
    /**
     * Full pages that no later token sees are given back, as by `pages.discard`.
     */
    window?: Window,
    /**
     * Wake the program after this many new tokens; 0 only at the end.
     */
    notifyEvery: number,
    /**
     * Send visible text to the client as it comes, as if the program printed it.
     */
    pipe: boolean,
    /**
     * Leave reasoning out of the visible text.
     */
    hideReasoning: boolean,
  }
  /**
   * Why a generation ended by itself.
   * # Variants
   *
   * ## `"stop"`
   *
   * A stop token was drawn, a stop text is complete, or a matcher allowed nothing more.
   * ## `"length"`
   *
   * `max-tokens` are made. The last of them is not in the context: it is the input of the next pass.
   */
  export type Finish = 'stop' | 'length';
  /**
   * How likely a token was in the model's own distribution: at temperature 1, before adjustments, masks and matchers.
   */
  export interface TokenLogprobs {
    /**
     * The natural logarithm of its probability.
     */
    logprob: number,
    /**
     * The most likely tokens and theirs, most likely first, lower tokens first among equals.
     */
    top: Array<[number, number]>,
  }
  /**
   * What is new since the last time.
   */
  export interface Progress {
    tokens: Uint32Array,
    /**
     * One for each of the tokens; empty unless `logprobs` was given.
     */
    logprobs: Array<TokenLogprobs>,
    /**
     * None while the generation goes on.
     */
    finish?: Finish,
  }

  export class Generation implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Start. All `matchers` restrict each token and are moved on with it; they stay the program's and must not be used
    * meanwhile. `adapter` is applied to every token, with the weights that it has now. Full pages are reserved and
    * committed as they are needed.
    */
    static start(context: Context, options: Options, matchers: Array<Matcher>, adapter: Adapter | undefined): Generation;
    /**
    * Ready when `get` has something new.
    */
    pollable(): Pollable;
    /**
    * The tokens since the last call, or none if there is nothing new. What failed says so once they are told.
    */
    get(): Progress | undefined;
    /**
    * All visible text so far: the chat decoder's reading of the tokens, without what may still become a stop text.
    */
    text(): string;
    /**
    * How many of the tokens so far were reasoning, their marks included, as far as they are tokens by themselves.
    */
    reasoningTokens(): number;
    /**
    * End it after the running step. The context keeps the tokens that were fed; it is usable when this returns.
    */
    cancel(): void;
    [Symbol.dispose](): void;
  }
}
