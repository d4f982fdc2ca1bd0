/** Tools that a model may call, in the model's own format. */

import { callGrammar, calls, callsGrammar, Reader as WitReader } from 'pie:ext/turn';
import type { Said as WitSaid } from 'pie:ext/turn';
import * as wit from 'pie:instruct/tool-use';

import { u32Array } from './arrays.ts';
import { call } from './errors.ts';
import { Handle } from './handle.ts';
import { Grammar, Matcher } from './matching.ts';
import type { Model } from './model.ts';
import { u32List } from './numbers.ts';

/** Description of a tool: an object with name, description and parameters (a JSON Schema), or its JSON. */
export type Tool = string | object;

/** What the tokens of one `feed` amounted to. */
export type Event =
  /** Nothing yet, or a call that is still being written. */
  | { readonly type: 'start' }
  /** A complete call; `args` is JSON. Feed no tokens to get a further one. */
  | { readonly type: 'call'; readonly name: string; readonly args: string };

/** Finds calls in the tokens of one turn. */
export class Decoder implements Disposable {
  readonly #handle: Handle<wit.Decoder>;

  constructor(model: Model) {
    this.#handle = new Handle('decoder', wit.createDecoder(model.wit));
  }

  /** Take the next tokens. */
  feed(tokens: Iterable<number>): Event {
    const ids = u32List(tokens, 'a token');
    const event = call(() => this.#handle.wit.feed(ids));
    return event.tag === 'call' ? { type: 'call', name: event.val[0], args: event.val[1] } : { type: 'start' };
  }

  /** Back to the start of a turn. */
  reset(): void {
    this.#handle.wit.reset();
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

/** What a turn says, in the order in which it says it: text, then calls. */
export type Said =
  /** More text of the answer. */
  | { readonly type: 'text'; readonly text: string }
  /** A call of the tool with this name begins. */
  | { readonly type: 'call'; readonly name: string }
  /** More of the arguments of the call: JSON as the model writes it, checked only where a grammar holds it. */
  | { readonly type: 'args'; readonly text: string }
  /** The arguments of the call are whole. A call that is cut off has no end. */
  | { readonly type: 'called' };

/**
 * Tells the text of a turn from its calls while the turn is written.
 *
 * Left out are reasoning, white space before a call, text after the first call, and text from the first of `stopTexts`
 * on. Held back is only what may still become something else.
 */
export class Reader implements Disposable {
  readonly #handle: Handle<WitReader>;

  constructor(model: Model, { stopTexts = [] }: { readonly stopTexts?: Iterable<string> } = {}) {
    const texts = Array.from(stopTexts);
    this.#handle = new Handle('reader', call(() => WitReader.start(model.wit, texts)));
  }

  /** Take the next tokens; after a stop token a new turn begins. */
  feed(tokens: Iterable<number>): Said[] {
    const ids = u32List(tokens, 'a token');
    return call(() => this.#handle.wit.feed(ids)).map(toSaid);
  }

  /** No more tokens come, and no stop token has ended the turn: what was held back. */
  finish(): Said[] {
    return this.#handle.wit.finish().map(toSaid);
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

function toSaid(one: WitSaid): Said {
  switch (one.tag) {
    case 'text':
      return { type: 'text', text: one.val };
    case 'call':
      return { type: 'call', name: one.val };
    case 'arguments':
      return { type: 'args', text: one.val };
    case 'called':
      return { type: 'called' };
  }
}

/** Tokens that tell the model about `tools`; append them before the first user message. */
export function equipPrefix(model: Model, tools: Iterable<Tool>): Uint32Array {
  const texts = toTexts(tools);
  return u32Array(call(() => wit.equip(model.wit, texts)));
}

/** Tokens that tell the model what the tool `name` returned; objects are given to it as JSON. */
export function answerPrefix(model: Model, name: string, value: string | object): Uint32Array {
  return u32Array(wit.answer(model.wit, name, typeof value === 'string' ? value : spacedJson(value)));
}

/** With `many` further calls may follow, if a turn of the model can have several. */
export interface CallOptions {
  readonly many?: boolean;
}

/**
 * The grammar of one of the model's calls, or undefined if its format cannot be enforced.
 *
 * Throws `bad-tools`, and `bad-schema` if the parameters of a tool are no JSON Schema.
 */
export function nativeGrammar(
  model: Model,
  tools: Iterable<Tool>,
  { many = false }: CallOptions = {},
): Grammar | undefined {
  const texts = toTexts(tools);
  const resource = call(() => (many ? callsGrammar : callGrammar)(model.wit, texts));
  return resource && new Grammar(resource);
}

/** A matcher of `nativeGrammar` for `GrammarConstraint`. */
export function nativeMatcher(model: Model, tools: Iterable<Tool>, options: CallOptions = {}): Matcher | undefined {
  using grammar = nativeGrammar(model, tools, options);
  return grammar && new Matcher(grammar, model.tokenizer());
}

/** All calls in the tokens of a turn, in order. Throws `malformed-call` if the model wrote something else in the place of one. */
export function parse(model: Model, tokens: Iterable<number>): Extract<Event, { type: 'call' }>[] {
  const ids = u32List(tokens, 'a token');
  return call(() => calls(model.wit, ids)).map(([name, args]) => ({ type: 'call', name, args }));
}

/** JSON with a space after each comma and colon, which is how models have seen it. */
function spacedJson(value: object): string {
  // Within strings a line end is escaped, so all that are found here are those that make the indentation.
  return JSON.stringify(value, undefined, 1)
    .replaceAll(/,\n */g, ', ')
    .replaceAll(/\n */g, '');
}

function toTexts(tools: Iterable<Tool>): string[] {
  return Array.from(tools, (tool) => (typeof tool === 'string' ? tool : JSON.stringify(tool)));
}
