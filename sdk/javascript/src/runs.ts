/**
 * Running a generation to its end: in the server as one operation, or step by step in the program.
 *
 * Both give the same tokens and leave the context the same. The server's way is used whenever no code of the program
 * needs to run between two tokens.
 */

import { Generation, type Progress } from 'pie:ext/generation';

import * as chat from './chat.ts';
import { call, InferletError } from './errors.ts';
import type { Generator } from './generator.ts';
import * as loop from './loop.ts';
import { StopTexts } from './stop_texts.ts';
import { paired } from './token_logprobs.ts';

/** A generation under way. */
export interface Run {
  /** The next tokens; undefined when there are no more. */
  next(): Promise<Uint32Array | undefined>;
  /** The visible text so far. */
  text(): string;
  /** End it, wherever it is. */
  close(): void;
}

/** What the program wants of a run. */
export interface Wishes {
  /** Be woken after so many tokens; 0 is only at the end. */
  readonly notifyEvery: number;
  /** Ask for the visible text. */
  readonly text: boolean;
  /** Print the visible text as it comes. */
  readonly echo: boolean;
  /** Count reasoning as visible text. */
  readonly reasoning: boolean;
}

/** Begin to run `generator`. */
export function start(generator: Generator, wishes: Wishes): Run {
  const { context, plan, tally } = generator;
  if (tally.isOver || !plan.fitsHost) return new StepRun(generator, wishes);
  if (context.buffer().length === 0 || !generator.canContinue()) {
    generator.end();
    return new StepRun(generator, wishes);
  }
  return new HostRun(generator, wishes);
}

/** A generation that the server runs. */
export class HostRun implements Run {
  readonly #generator: Generator;
  readonly #wishes: Wishes;
  readonly #fed: number[];
  readonly #start: number;
  #generation: Generation | undefined;
  #text = '';
  #isAwaited = false;

  constructor(generator: Generator, wishes: Wishes) {
    const { context, plan, tally } = generator;
    const tokens = context.buffer();
    this.#generator = generator;
    this.#wishes = wishes;
    this.#fed = [...tokens];
    this.#start = context.seqLen;
    const options = {
      tokens,
      sampler: plan.sampler.wit,
      stop: Uint32Array.from(tally.stop).sort(),
      stopTexts: [...plan.stopTexts],
      speculate: plan.systemSpeculation,
      notifyEvery: wishes.notifyEvery,
      pipe: wishes.echo,
      hideReasoning: !wishes.reasoning,
      counter: BigInt(tally.numGenerated),
      ...(tally.numRemaining !== undefined && { maxTokens: tally.numRemaining }),
      ...(plan.logprobs !== undefined && { logprobs: plan.logprobs }),
      ...(plan.adjustment !== undefined && { adjustment: plan.adjustment }),
      ...(plan.logitMask.length > 0 && { logitMask: plan.logitMask }),
      ...(plan.seed !== undefined && { seed: plan.seed }),
      ...(plan.zoSeed !== undefined && { adapterSeed: plan.zoSeed }),
      ...(plan.window !== undefined && { window: { size: plan.window.size, sink: plan.window.sink } }),
    };
    const matchers = plan.grammars.map(({ matcher }) => matcher.wit);
    this.#generation = call(() => Generation.start(context.wit, options, matchers, plan.adapter?.wit));
    context.claim(this, generator);
  }

  /** Whether a task waits for it now. */
  get isAwaited(): boolean {
    return this.#isAwaited;
  }

  async next(): Promise<Uint32Array | undefined> {
    if (this.#generation === undefined) return undefined;
    this.#isAwaited = true;
    let news: Progress;
    try {
      news = await loop.progress(this.#generation);
    } catch (error) {
      this.#isAwaited = false;
      this.close();
      throw error;
    }
    this.#isAwaited = false;
    this.#count(news);
    if (news.finish !== undefined) this.#finish();
    return news.tokens;
  }

  text(): string {
    return this.#generation?.text() ?? this.#text;
  }

  /** Throws `context-busy` if another task waits for this generation. */
  close(): void {
    const generation = this.#generation;
    if (generation === undefined) return;
    if (this.#isAwaited) throw new InferletError('context-busy', 'another task generates with this context');
    generation.cancel();
    try {
      const rest = call(() => generation.get());
      if (rest !== undefined) this.#count(rest);
    } catch (error) {
      if (!(error instanceof InferletError)) throw error; // it had failed; whoever waited for it was told
    }
    this.#handBack(generation);
  }

  #count(news: Progress): void {
    for (const token of news.tokens) this.#fed.push(token);
    this.#generator.tally.numGenerated += news.tokens.length;
    for (const told of paired(news)) this.#generator.logprobs.push(told);
  }

  #finish(): void {
    if (this.#generation !== undefined) this.#handBack(this.#generation);
    this.#generator.end();
  }

  #handBack(generation: Generation): void {
    if (this.#wishes.text) this.#text = generation.text();
    this.#generator.tally.numReasoning += generation.reasoningTokens();
    generation[Symbol.dispose]();
    this.#generation = undefined;
    // What the server has not written (the last token, unless a stop token followed it) is the next input.
    this.#generator.context.resume(this.#fed, this.#start);
  }
}

/** A generation that the program runs step by step. */
export class StepRun implements Run {
  readonly #generator: Generator;
  readonly #wishes: Wishes;
  readonly #stops: StopTexts;
  #decoder: chat.Decoder | undefined;
  #text = '';
  #line = '';

  constructor(generator: Generator, wishes: Wishes) {
    this.#generator = generator;
    this.#wishes = wishes;
    this.#stops = new StopTexts(generator.plan.stopTexts);
    generator.watchText(wishes.reasoning);
    this.#decoder = wishes.text ? new chat.Decoder(generator.context.model, { reasoning: wishes.reasoning }) : undefined;
  }

  async next(): Promise<Uint32Array | undefined> {
    const step = this.#generator.nextStep();
    if (step === undefined) {
      this.#finish();
      this.close();
      return undefined;
    }
    const { tokens } = await step.execute();
    if (this.#decoder !== undefined) for (const token of tokens) this.#read(this.#decoder.feed([token]));
    return tokens;
  }

  text(): string {
    return this.#text;
  }

  /** Nothing runs between two steps; what is left to print is printed. */
  close(): void {
    this.#decoder?.[Symbol.dispose]();
    this.#decoder = undefined;
    if (this.#line) console.log(this.#line);
    this.#line = '';
  }

  /** Show what the decoder holds back for a character or a mark that never came. */
  #finish(): void {
    const stop = chat.stopTokens(this.#generator.context.model).slice(0, 1);
    if (this.#decoder === undefined) return;
    let event: chat.Event = stop.length > 0 ? this.#decoder.feed(stop) : { type: 'done', text: '' };
    for (; event.type !== 'done'; event = this.#decoder.feed([])) this.#read(event);
    this.#show(this.#stops.finish());
  }

  #read(event: chat.Event): void {
    if (event.type === 'delta') this.#show(this.#stops.feed(event.text));
  }

  #show(text: string): void {
    this.#text += text;
    if (!this.#wishes.echo) return;
    const lines = (this.#line + text).split('\n'); // a console prints whole lines only
    this.#line = lines.pop()!;
    for (const line of lines) console.log(line);
  }
}
