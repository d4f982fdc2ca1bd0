/** Grammars, and matchers that walk them token by token. */

import * as wit from 'pie:core/inference';
import { masksAhead } from 'pie:ext/sampling';

import { u32Array } from './arrays.ts';
import { call } from './errors.ts';
import { Handle } from './handle.ts';
import type { Tokenizer } from './model.ts';
import { u32List } from './numbers.ts';

/** A JSON Schema as text, or the object it stands for. */
export type JsonSchemaSource = string | object;

/** A grammar that texts must follow, compiled by the server. */
export class Grammar implements Disposable {
  readonly #handle: Handle<wit.Grammar>;

  /** @internal */
  constructor(resource: wit.Grammar) {
    this.#handle = new Handle('grammar', resource);
  }

  /** @internal */
  get wit(): wit.Grammar {
    return this.#handle.wit;
  }

  /** JSON that satisfies `schema`. */
  static fromJsonSchema(schema: JsonSchemaSource): Grammar {
    const text = typeof schema === 'string' ? schema : JSON.stringify(schema);
    return new Grammar(call(() => wit.Grammar.fromJsonSchema(text)));
  }

  /** Any JSON. */
  static json(): Grammar {
    return new Grammar(wit.Grammar.json());
  }

  /** Texts that match `pattern` as a whole. */
  static fromRegex(pattern: string | RegExp): Grammar {
    const text = typeof pattern === 'string' ? pattern : pattern.source;
    return new Grammar(call(() => wit.Grammar.fromRegex(text)));
  }

  /** Texts that follow an EBNF grammar whose start rule is `root`. */
  static fromEbnf(ebnf: string): Grammar {
    return new Grammar(call(() => wit.Grammar.fromEbnf(ebnf)));
  }

  /** The grammar as EBNF. */
  toString(): string {
    return this.wit.toString();
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

/** A place within a grammar. */
export class Matcher implements Disposable {
  readonly #handle: Handle<wit.Matcher>;

  constructor(grammar: Grammar, tokenizer: Tokenizer) {
    this.#handle = new Handle('matcher', new wit.Matcher(grammar.wit, tokenizer.wit));
  }

  /** @internal */
  get wit(): wit.Matcher {
    return this.#handle.wit;
  }

  /** Move on. Throws `not-accepted` if the grammar does not allow the tokens here. */
  acceptTokens(tokenIds: Iterable<number>): void {
    const ids = u32List(tokenIds, 'a token');
    call(() => this.wit.acceptTokens(ids));
  }

  /** The tokens that may follow, as BRLE. */
  nextTokenLogitMask(): Uint32Array {
    return u32Array(this.wit.nextTokenLogitMask());
  }

  /**
   * The tokens that may follow after each of `tokens`, as BRLE; the matcher stays where it is.
   *
   * The list ends before the first token that does not fit or that nothing may follow.
   */
  masksAhead(tokens: Iterable<number>): Uint32Array[] {
    const ids = u32List(tokens, 'a token');
    return call(() => masksAhead(this.wit, ids)).map(u32Array);
  }

  /** Whether the text is complete and nothing may follow. */
  isTerminated(): boolean {
    return this.wit.isTerminated();
  }

  /** Back to the start. */
  reset(): void {
    this.wit.reset();
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}
