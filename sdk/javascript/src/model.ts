/** Models of the server and their tokenizers. */

import * as wit from 'pie:core/model';
import { models } from 'pie:core/runtime';

import { u32Array, u8Array } from './arrays.ts';
import { call, InferletError } from './errors.ts';
import { Handle } from './handle.ts';
import { text as toText, u32List } from './numbers.ts';

/** Text to token ids and back. */
export class Tokenizer implements Disposable {
  readonly #handle: Handle<wit.Tokenizer>;
  #vocabs: [Uint32Array, Uint8Array[]] | undefined;

  /** @internal */
  constructor(resource: wit.Tokenizer) {
    this.#handle = new Handle('tokenizer', resource);
  }

  /** @internal */
  get wit(): wit.Tokenizer {
    return this.#handle.wit;
  }

  /** The ids of `text`; special tokens in it are recognised, none are added. */
  encode(text: string): Uint32Array {
    return u32Array(this.wit.encode(toText(text, 'a text to encode')));
  }

  /** The text of `tokens`; bytes that form no whole character become U+FFFD. */
  decode(tokens: Iterable<number>): string {
    const ids = u32List(tokens, 'a token');
    return call(() => this.wit.decode(ids));
  }

  /** All ids, and the bytes of each; asked of the server once. */
  vocabs(): [Uint32Array, Uint8Array[]] {
    return (this.#vocabs ??= own(this.wit.vocabs()));
  }

  /** The ids with a special meaning, and the bytes of each. */
  specialTokens(): [Uint32Array, Uint8Array[]] {
    return own(this.wit.specialTokens());
  }

  /** The expression that cuts text before it becomes tokens; empty if there is none. */
  splitRegex(): string {
    return this.wit.splitRegex();
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

/** A model that the server has loaded. */
export class Model implements Disposable {
  readonly #handle: Handle<wit.Model>;
  /** The name under which the server lists it. */
  readonly name: string;
  #tokenizer: Tokenizer | undefined;

  private constructor(resource: wit.Model, name: string) {
    this.#handle = new Handle('model', resource);
    this.name = name;
  }

  /** @internal */
  get wit(): wit.Model {
    return this.#handle.wit;
  }

  /** Bind to the loaded model `name`, as `runtime.models()` lists it. */
  static load(name: string): Model {
    return new Model(call(() => wit.Model.load(name)), name);
  }

  /** Bind to the first model that the server lists. Throws `no-model` if it lists none. */
  static default(): Model {
    const [name] = models();
    if (name === undefined) throw new InferletError('no-model', 'the server has loaded no model');
    return Model.load(name);
  }

  /** The model's tokenizer, which is released with the model. */
  tokenizer(): Tokenizer {
    return (this.#tokenizer ??= new Tokenizer(this.wit.tokenizer()));
  }

  /** Whether the server can draft tokens for this model. */
  defaultSystemSpeculation(): boolean {
    return this.wit.defaultSystemSpeculation();
  }

  [Symbol.dispose](): void {
    this.#tokenizer?.[Symbol.dispose]();
    this.#handle[Symbol.dispose]();
  }
}

function own([ids, texts]: [Uint32Array, Uint8Array[]]): [Uint32Array, Uint8Array[]] {
  return [u32Array(ids), texts.map(u8Array)];
}
