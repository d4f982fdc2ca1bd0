/** A generation: options, and the ways to run it (collectors, text pieces, single steps). */

import type { Adapter } from './adapter.ts';
import * as bidding from './bidding.ts';
import * as chat from './chat.ts';
import { anyJson, GrammarConstraint, jsonSchema, type Constraint, type Schema } from './constraints.ts';
import type { Context } from './context.ts';
import { InferletError } from './errors.ts';
import { intersect, type Brle } from './mask.ts';
import type { JsonSchemaSource } from './matching.ts';
import { s64, u32, u32List } from './numbers.ts';
import { check, type GenerateOptions } from './options.ts';
import { ProbeHandle } from './output.ts';
import { Plan } from './plan.ts';
import * as runs from './runs.ts';
import type { Probe, Sampler } from './sampler.ts';
import { GenStep } from './step.ts';
import { Tally } from './tally.ts';
import { TextWatch } from './text_watch.ts';
import type { TokenLogprobs } from './token_logprobs.ts';

/** Options of the collectors of text. */
export interface TextOptions {
  /** Also print the text as it comes. */
  readonly echo?: boolean;
  /** False leaves out what the model thinks before it answers. */
  readonly reasoning?: boolean;
}

/** Options of `Generator.collectJson`. */
export interface JsonOptions<T> {
  /** A JSON Schema that the value satisfies; any JSON without it. */
  readonly schema?: JsonSchemaSource;
  /** Turns the parsed value into what is returned. */
  readonly parse?: (value: unknown) => T;
}

/** Makes tokens after those of a context. Run it with a collector, with `text`, or step by step. */
export class Generator implements AsyncIterable<GenStep>, Disposable {
  /** @internal */
  readonly tally: Tally;
  /** @internal */
  readonly plan: Plan;
  /** How likely each of its tokens so far was; empty without the option `logprobs`. */
  readonly logprobs: TokenLogprobs[] = [];
  readonly #built: GrammarConstraint[] = [];
  #untold: number[] = [];
  #bidPages: number;
  #watch: TextWatch | undefined;

  /** @internal */
  constructor(
    readonly context: Context,
    sampler: Sampler,
    options: GenerateOptions,
  ) {
    check(options);
    const autoFlush = options.autoFlush ?? true;
    const stop = options.stop ?? (autoFlush ? chat.stopTokens(context.model) : []);
    const limit = options.maxTokens === undefined ? undefined : u32(options.maxTokens, 'maxTokens');
    this.tally = new Tally(limit, new Set(u32List(stop, 'a stop token')));
    this.plan = new Plan(sampler, options);
    this.watchText(true);
    for (const one of [options.constrain ?? []].flat()) this.constrain(one);
    this.plan.speculator?.reset();
    if (autoFlush) context.cue();
    this.#bidPages = context.pages.numPages;
    context.setBid(bidding.currentBid(context, bidding.UNKNOWN_LENGTH));
  }

  /** Stop after `n` tokens. */
  maxTokens(n: number): this {
    this.tally.maxTokens = u32(n, 'maxTokens');
    return this;
  }

  /** Replace the stop tokens. */
  stop(tokens: Iterable<number>): this {
    this.tally.stop = new Set(u32List(tokens, 'a stop token'));
    return this;
  }

  /** Add stop tokens. */
  addStop(tokens: Iterable<number>): this {
    for (const token of u32List(tokens, 'a stop token')) this.tally.stop.add(token);
    return this;
  }

  /** Restrict the tokens further. */
  constrain(source: Schema | Constraint): this {
    let constraint: Partial<Constraint> = source as Constraint;
    const { buildConstraint } = Object(source) as Partial<Schema>;
    if (typeof buildConstraint === 'function') {
      constraint = buildConstraint.call(source, this.context.model);
      if (constraint instanceof GrammarConstraint) this.#built.push(constraint);
    }
    if (typeof constraint?.step !== 'function') {
      throw new InferletError('bad-constraint', `${typeof source} has neither buildConstraint() nor step()`);
    }
    this.plan.constraints.push(constraint as Constraint);
    return this;
  }

  /** Expect `n` tokens when bidding. */
  horizon(n: number): this {
    this.plan.horizon = n;
    return this;
  }

  /** Apply an adapter. */
  adapter(adapter: Adapter): this {
    this.plan.adapter = adapter;
    return this;
  }

  /** Perturb the adapter by the noise of `seed` in every step. */
  zoSeed(seed: number | bigint): this {
    this.plan.zoSeed = s64(seed, 'zoSeed');
    return this;
  }

  /** Do not let the server guess. */
  disableSystemSpeculation(): this {
    this.plan.systemSpeculation = false;
    return this;
  }

  /** Read the logits after the input token at `index` of every step; -1 is the last one. */
  probeEachStep(index: number, probe: Probe): ProbeHandle {
    const handle = new ProbeHandle();
    this.plan.probes.push({ index, probe, handle });
    return handle;
  }

  /** Tokens so far. */
  get tokensGenerated(): number {
    return this.tally.numGenerated;
  }

  /** How many of them were what the model thinks, once it has ended; only of what the server ran as a whole. */
  get reasoningTokens(): number {
    return this.tally.numReasoning;
  }

  /** Whether the generation has ended. */
  get isDone(): boolean {
    return this.tally.isOver;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<GenStep> {
    for (let step = this.nextStep(); step !== undefined; step = this.nextStep()) yield step;
  }

  /** Take tokens that the program has drawn itself, up to a stop token or the limit; return those taken. */
  accept(tokens: Iterable<number>): Uint32Array {
    const kept = this.tally.take(u32List(tokens, 'a token'));
    if (kept.tokens.length > 0) this.plan.speculator?.accept(kept.tokens);
    this.movedOn(kept.tokens);
    this.context.append(kept.tokens);
    return kept.tokens;
  }

  /** Run to the end and return all tokens; without `reasoning` stop texts are looked for in the answer alone. */
  async collectTokens({ reasoning = true }: Pick<TextOptions, 'reasoning'> = {}): Promise<Uint32Array> {
    const run = runs.start(this, { notifyEvery: 0, text: false, echo: false, reasoning });
    const tokens: number[] = [];
    for (let more = await run.next(); more !== undefined; more = await run.next()) tokens.push(...more);
    return Uint32Array.from(tokens);
  }

  /** Run to the end and return the visible text. */
  async collectText({ echo = false, reasoning = true }: TextOptions = {}): Promise<string> {
    const run = runs.start(this, { notifyEvery: 0, text: true, echo, reasoning });
    while ((await run.next()) !== undefined);
    return run.text();
  }

  /** Run to the end under a JSON grammar and return the value. Throws `incomplete-json` if it was cut off. */
  async collectJson<T = unknown>({ schema, parse }: JsonOptions<T> = {}): Promise<T> {
    this.constrain(schema === undefined ? anyJson() : jsonSchema(schema));
    const text = await this.collectText();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      const cause = `the value ended after ${this.tokensGenerated} tokens (${String(error)}); maxTokens may be too small`;
      throw new InferletError('incomplete-json', cause);
    }
    return parse === undefined ? (value as T) : parse(value);
  }

  /** The visible text piece by piece: `for await (const piece of generator.text())`. */
  async *text({ echo = false, reasoning = true }: TextOptions = {}): AsyncGenerator<string, void, undefined> {
    const run = runs.start(this, { notifyEvery: 1, text: true, echo, reasoning });
    let numTold = 0;
    for (;;) {
      const tokens = await run.next();
      const piece = run.text().slice(numTold);
      if (piece) {
        numTold += piece.length;
        yield piece;
      }
      if (tokens === undefined) return;
    }
  }

  /** The tokens as they come, one or several at a time; `reasoning` as in `collectTokens`. */
  async *tokens({ reasoning = true }: Pick<TextOptions, 'reasoning'> = {}): AsyncGenerator<Uint32Array, void, undefined> {
    const run = runs.start(this, { notifyEvery: 1, text: false, echo: false, reasoning });
    for (let more = await run.next(); more !== undefined; more = await run.next()) yield Uint32Array.from(more);
  }

  /** @internal The next step, or undefined when the generation has ended. */
  nextStep(): GenStep | undefined {
    if (this.tally.isOver || !this.canContinue()) {
      this.end();
      return undefined;
    }
    const hostOnly = this.plan.needsHost;
    if (hostOnly !== undefined) {
      throw new InferletError('host-only', `${hostOnly} is for generations that run as a whole, not step by step`);
    }
    this.#rebid();
    return new GenStep(this, this.#nextMask());
  }

  /** @internal Look for stop texts in what the tokens from here on say; without `reasoning` in the answer alone. */
  watchText(reasoning: boolean): void {
    if (this.plan.stopTexts.length === 0 || this.tally.isOver) return;
    this.#watch?.[Symbol.dispose]();
    const watch = new TextWatch(this.context.model, this.plan.stopTexts, reasoning);
    this.#watch = watch;
    this.tally.completes = (token) => watch.completes(token);
  }

  /** @internal Whether the grammars allow anything more. */
  canContinue(): boolean {
    return !this.plan.grammars.some((grammar) => grammar.isComplete);
  }

  /** @internal Tell the constraints of new tokens. */
  movedOn(tokens: Uint32Array): void {
    for (const grammar of this.plan.grammars) grammar.advance(tokens);
    this.#untold.push(...tokens);
  }

  /** @internal Nothing more will come: release the constraints that were built for this generation. */
  end(): void {
    this.tally.done = true;
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    for (const constraint of this.#built) constraint[Symbol.dispose]();
  }

  /** End the generation, wherever it is. */
  [Symbol.dispose](): void {
    this.context.endRun(this);
    this.end();
  }

  #nextMask(): Brle {
    const untold = Uint32Array.from(this.#untold);
    this.#untold = [];
    const none = new Uint32Array();
    const masks = this.plan.grammars.map((grammar) => grammar.step(none));
    masks.push(...this.plan.customs.map((custom) => u32List(custom.step(untold.slice()), 'a run')));
    return intersect([this.plan.logitMask, ...masks]);
  }

  #rebid(): void {
    // The formula moves with the pages held; asking the server for its terms before every token would cost more
    // than it could gain.
    const { context, plan, tally } = this;
    if (context.pages.numPages === this.#bidPages) return;
    this.#bidPages = context.pages.numPages;
    const expected = bidding.outlook(plan.horizon, tally.maxTokens, tally.numGenerated);
    context.setBid(bidding.currentBid(context, expected));
  }
}
