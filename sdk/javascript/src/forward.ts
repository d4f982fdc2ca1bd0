/** Single forward passes of a context. */

import type { ForwardPass, FutureOutput, Output as Raw } from 'pie:core/inference';
import { seed as seedDraws } from 'pie:ext/sampling';
import { adapterSeed } from 'pie:zo/zo';

import type { Adapter } from './adapter.ts';
import type { Context } from './context.ts';
import { call, InferletError } from './errors.ts';
import * as loop from './loop.ts';
import type { Brle } from './mask.ts';
import type { Audio, Image } from './media.ts';
import { s64, u32, u32List, u32Lists, u64 } from './numbers.ts';
import { Output, type ProbeHandle, type SampleHandle } from './output.ts';
import { Readouts } from './readouts.ts';
import type { Probe, Sampler } from './sampler.ts';

/** What a pass is subject to beside its context. */
interface Subject {
  readonly adapter?: Adapter | undefined;
  readonly zoSeed?: bigint | undefined;
}

/** What a pass of a context gives that `fill` has filled in. Throws if it is not well formed. */
export async function runPass(context: Context, { adapter, zoSeed }: Subject, fill: (pass: ForwardPass) => void): Promise<Raw> {
  const pass = context.takePass();
  let pending: FutureOutput;
  try {
    if (adapter !== undefined) pass.adapter(adapter.wit);
    if (zoSeed !== undefined) adapterSeed(pass, zoSeed);
    fill(pass);
    pending = call(() => pass.execute());
  } catch (error) {
    pass[Symbol.dispose]();
    throw error;
  }
  context.keepPass(pass); // `execute` has emptied it
  return await loop.output(pending);
}

/** `length` positions that follow each other. */
export function positionsFrom(start: number, length: number): Uint32Array {
  return Uint32Array.from({ length }, (_, index) => start + index);
}

interface Input {
  readonly tokens: Uint32Array;
  /** Undefined: those that follow what is before. */
  readonly positions: Uint32Array | undefined;
}

/** Send the buffer of a context to the server, with an adapter if there is one, and commit the pages it fills. */
export async function flush(context: Context, subject: Subject = {}): Promise<void> {
  const tokens = context.buffer();
  if (tokens.length === 0) return;
  const { pages } = context;
  pages.reserve(tokens.length);
  await runPass(context, subject, (pass) => pass.inputTokens(tokens, positionsFrom(pages.seqLen, tokens.length)));
  context.pending.drop(tokens.length);
  pages.wrote(tokens.length);
  pages.commit();
}

/** One forward pass in the making. Tokens buffered in the context are flushed before it runs, with its adapter. */
export class Forward {
  readonly #context: Context;
  readonly #inputs: Input[] = [];
  readonly #media: { readonly media: Image | Audio; readonly anchor: number }[] = [];
  readonly #readouts = new Readouts();
  #logitMask: Brle | undefined;
  #attentionMask: Brle[] | undefined;
  #adapter: Adapter | undefined;
  #zoSeed: bigint | undefined;
  #draws: { readonly seed: bigint; readonly counter: bigint } | undefined;

  /** @internal */
  constructor(context: Context) {
    this.#context = context;
  }

  /** Position of the first token given to `input`. */
  startPosition(): number {
    return this.#context.seqLen + this.#context.buffer().length;
  }

  /** Append tokens; positions follow those before. */
  input(tokens: Iterable<number>): this {
    this.#inputs.push({ tokens: u32List(tokens, 'a token'), positions: undefined });
    return this;
  }

  /**
   * Append tokens at given positions.
   *
   * Pages of a pass with given positions are not committed: positions may repeat or leave gaps.
   */
  inputAt(tokens: Iterable<number>, positions: Iterable<number>): this {
    const input = { tokens: u32List(tokens, 'a token'), positions: u32List(positions, 'a position') };
    if (input.tokens.length !== input.positions.length) {
      const cause = `${input.tokens.length} tokens come with ${input.positions.length} positions`;
      throw new InferletError('bad-positions', cause);
    }
    this.#inputs.push(input);
    return this;
  }

  /** Put a picture at position `anchor`. */
  inputImage(image: Image, anchor: number): this {
    this.#media.push({ media: image, anchor: u32(anchor, 'anchor') });
    return this;
  }

  /** Put sound at position `anchor`. */
  inputAudio(audio: Audio, anchor: number): this {
    this.#media.push({ media: audio, anchor: u32(anchor, 'anchor') });
    return this;
  }

  /** One BRLE per input token over the keys it may attend to; without it each token sees all before it. */
  attentionMask(masks: Iterable<Iterable<number>>): this {
    this.#attentionMask = u32Lists(masks, 'a run');
    return this;
  }

  /** The tokens that samplers may draw, as BRLE. */
  mask(brle: Iterable<number>): this {
    this.#logitMask = u32List(brle, 'a run');
    return this;
  }

  /** Draw tokens after the input tokens at `indices`, counted over all inputs. */
  sample(indices: Iterable<number>, sampler: Sampler): SampleHandle {
    return this.#readouts.sample(indices, sampler);
  }

  /** Read the logits after the input token at `index`. */
  probe(index: number, probe: Probe): ProbeHandle {
    return this.#readouts.probe(index, probe);
  }

  /** Apply an adapter. */
  adapter(adapter: Adapter): this {
    this.#adapter = adapter;
    return this;
  }

  /** Perturb the adapter by the noise of `seed`, at least 0. */
  zoSeed(seed: number | bigint): this {
    this.#zoSeed = s64(seed, 'zoSeed');
    return this;
  }

  /** Draw from entry `counter` on of the random stream `seed`, so that the pass can be repeated. */
  seed(seed: number | bigint, counter: number | bigint = 0): this {
    this.#draws = { seed: u64(seed, 'seed'), counter: u64(counter, 'counter') };
    return this;
  }

  /** Run the pass. Throws if it is not well formed, or there are no pages for it. */
  async execute(): Promise<Output> {
    const context = this.#context;
    const subject = { adapter: this.#adapter, zoSeed: this.#zoSeed };
    await flush(context, subject);
    const numTokens = this.#inputs.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const numMedia = this.#media.reduce((sum, { media }) => sum + media.tokenCount, 0);
    context.pages.reserve(numTokens + numMedia);
    const raw = await runPass(context, subject, (pass) => this.#fill(pass));
    if (numMedia > 0 || this.#inputs.some(({ positions }) => positions !== undefined)) {
      context.pages.refresh();
    } else {
      context.pages.wrote(numTokens);
      context.pages.commit();
    }
    return new Output(raw, this.#readouts.places(raw.slots.length));
  }

  #fill(pass: ForwardPass): void {
    let position = this.#context.seqLen;
    for (const { tokens, positions } of this.#inputs) {
      if (tokens.length > 0) pass.inputTokens(tokens, positions ?? positionsFrom(position, tokens.length));
      if (positions === undefined) position += tokens.length;
    }
    for (const { media, anchor } of this.#media) media.attachTo(pass, anchor);
    if (this.#attentionMask !== undefined) pass.attentionMask(this.#attentionMask);
    if (this.#logitMask !== undefined) pass.logitMask(this.#logitMask);
    if (this.#draws !== undefined) seedDraws(pass, this.#draws.seed, this.#draws.counter);
    this.#readouts.attachTo(pass);
  }
}
