/** Token sequences: a buffer of tokens to come in the program, keys and values of the others in the server. */

import * as wit from 'pie:core/context';
import { ForwardPass } from 'pie:core/inference';

import * as bidding from './bidding.ts';
import { Buffer } from './buffer.ts';
import * as chat from './chat.ts';
import { call, InferletError } from './errors.ts';
import { flush, Forward } from './forward.ts';
import { Generator } from './generator.ts';
import { Handle } from './handle.ts';
import type { Model } from './model.ts';
import type { GenerateOptions } from './options.ts';
import { Paged } from './paged.ts';
import { Pages } from './pages.ts';
import type { HostRun } from './runs.ts';
import type { Sampler } from './sampler.ts';

/**
 * A token sequence of one model.
 *
 * Filling methods only buffer tokens; `flush`, a forward pass or a generation sends them to the server. Declare it
 * with `using` to give back its pages at the end of the block.
 */
export class Context extends Paged implements Disposable {
  /** The model. */
  readonly model: Model;
  readonly #handle: Handle<wit.Context>;
  readonly #pages: Pages;
  #buffer: Buffer;
  #run: HostRun | undefined;
  #runOf: Generator | undefined;
  #sparePass: ForwardPass | undefined;

  constructor(model: Model);
  /** @internal Wrap a handle of the host. */
  constructor(model: Model, resource: wit.Context);
  constructor(model: Model, resource?: wit.Context) {
    super();
    this.model = model;
    this.#handle = new Handle('context', resource ?? call(() => wit.Context.create(model.wit)));
    this.#buffer = new Buffer(model);
    this.#pages = new Pages(this.#handle);
    if (resource !== undefined) this.#pages.refresh();
  }

  /** A fork of the snapshot `name`, which stays as it is; undefined if there is none. */
  static open(model: Model, name: string): Context | undefined {
    return ifSaved(() => new Context(model, call(() => wit.Context.open(model.wit, name))));
  }

  /** The snapshot `name` itself, which is no longer saved then; undefined if there is none. */
  static take(model: Model, name: string): Context | undefined {
    return ifSaved(() => new Context(model, call(() => wit.Context.take(model.wit, name))));
  }

  /** Remove the snapshot `name`. Throws `snapshot-not-found`. */
  static delete(model: Model, name: string): void {
    call(() => wit.Context.delete(model.wit, name));
  }

  /** A context with the same tokens, buffer included; pages are shared until either side changes them. */
  fork(): Context {
    this.#endRun();
    const copy = new Context(this.model, call(() => this.wit.fork()));
    copy.#buffer = this.#buffer.copy();
    return copy;
  }

  /**
   * Save a snapshot of what the server holds, without the buffer; it survives the program and the server.
   *
   * Throws `snapshot-exists` if there is one of that name and `overwrite` is false.
   */
  save(name: string, { overwrite = true }: { overwrite?: boolean } = {}): void {
    this.#endRun();
    if (!overwrite) {
      using existing = Context.open(this.model, name);
      if (existing !== undefined) {
        throw new InferletError('snapshot-exists', `there is a snapshot named ${JSON.stringify(name)} already`);
      }
    }
    call(() => this.wit.save(name));
  }

  /** Save a snapshot under a fresh name and return that name. */
  snapshot(): string {
    this.#endRun();
    return call(() => this.wit.snapshot());
  }

  /** Give back all pages now; the context is of no more use, and a generation that runs in it fails. */
  release(): void {
    if (this.#handle.isReleased) return;
    if (this.#run !== undefined && !this.#run.isAwaited) this.#run.close();
    this.#sparePass?.[Symbol.dispose]();
    this.#sparePass = undefined;
    this.wit.destroy();
    this.#handle[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** Tokens per page. */
  get pageSize(): number {
    return this.#pages.pageSize;
  }

  /** Tokens whose keys and values the server holds; the buffer does not count. */
  get seqLen(): number {
    return this.pages.seqLen;
  }

  /** The tokens that the server does not have yet. */
  buffer(): Uint32Array {
    return this.pending.tokens();
  }

  /** Add a system message. */
  system(text: string): this {
    this.pending.addSystem(text, { opens: this.seqLen === 0 });
    return this;
  }

  /** Add a user message. */
  user(text: string): this {
    this.pending.addUser(text, { opens: this.seqLen === 0 });
    return this;
  }

  /** Add a complete message of the assistant. */
  assistant(text: string): this {
    return this.append(chat.assistant(this.model, text));
  }

  /** Add what makes the model answer next. */
  cue(): this {
    return this.append(chat.cue(this.model));
  }

  /** Add the end of the assistant's turn. */
  seal(): this {
    return this.append(chat.seal(this.model));
  }

  /** Add tokens. */
  append(tokens: Iterable<number>): this {
    this.pending.add(tokens);
    return this;
  }

  /** Add the tokens of `text`. */
  appendText(text: string): this {
    return this.append(this.model.tokenizer().encode(text));
  }

  /** Send the buffer to the server and commit the pages it fills. The buffer is unchanged if that fails. */
  async flush(): Promise<void> {
    await flush(this);
  }

  /** A forward pass to fill in. */
  forward(): Forward {
    return new Forward(this);
  }

  /** A generation from here on. Throws `bad-option` if an option is unknown or two contradict each other. */
  generate(sampler: Sampler, options: GenerateOptions = {}): Generator {
    return new Generator(this, sampler, options);
  }

  /** Offer `value` credits per page and step for staying on the device. Throws `bad-bid`. */
  setBid(value: number): void {
    if (!(value >= 0 && value < Infinity)) { // the host has no error case here
      throw new InferletError('bad-bid', `a bid of ${String(value)} is not a number of 0 or more`);
    }
    this.wit.bid(value);
  }

  /** Bid nothing until the returned value is disposed of, since the context is not needed meanwhile. */
  idle(): Disposable {
    this.setBid(0);
    return {
      [Symbol.dispose]: () => {
        if (!this.#handle.isReleased) this.setBid(bidding.currentBid(this, bidding.UNKNOWN_LENGTH));
      },
    };
  }

  /** Let the pages leave the device until the context is used again. */
  suspend(): void {
    this.#endRun();
    call(() => this.wit.suspend());
  }

  /** @internal */
  get wit(): wit.Context {
    return this.#handle.wit;
  }

  /** @internal The pages. Ends a generation that nobody waits for. */
  get pages(): Pages {
    this.#endRun();
    return this.#pages;
  }

  /** @internal The tokens to come. Ends a generation that nobody waits for. */
  get pending(): Buffer {
    this.#endRun();
    return this.#buffer;
  }

  /** @internal An empty pass: the one kept last, or a new one. */
  takePass(): ForwardPass {
    const spare = this.#sparePass;
    this.#sparePass = undefined;
    if (spare !== undefined) return spare;
    const pass = new ForwardPass(this.model.wit);
    pass.context(this.wit);
    return pass;
  }

  /** @internal Use a pass, which has been executed, for the next one. */
  keepPass(pass: ForwardPass): void {
    if (this.#sparePass === undefined) this.#sparePass = pass;
    else pass[Symbol.dispose]();
  }

  /** @internal Note that the server generates with this context; the next use of the context ends that. */
  claim(run: HostRun, generator: Generator): void {
    this.#run = run;
    this.#runOf = generator;
  }

  /** @internal End the generation of `generator` if it runs. */
  endRun(generator: Generator): void {
    if (this.#runOf === generator) this.#endRun();
  }

  /**
   * @internal Take the context back after the server has fed `tokens` to it, from the length `writtenFrom` on.
   *
   * Those that the server has not written are the tokens to come.
   */
  resume(tokens: readonly number[], writtenFrom: number): void {
    this.#run = this.#runOf = undefined;
    if (this.#handle.isReleased) return;
    this.#pages.refresh();
    this.#buffer = new Buffer(this.model, tokens.slice(Math.max(0, this.#pages.seqLen - writtenFrom)));
  }

  #endRun(): void {
    this.#run?.close();
  }
}

function ifSaved(get: () => Context): Context | undefined {
  try {
    return get();
  } catch (error) {
    if (error instanceof InferletError && error.code === 'snapshot-not-found') return undefined;
    throw error;
  }
}
