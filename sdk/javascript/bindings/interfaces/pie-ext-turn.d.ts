// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./pie-core-inference.d.ts" />
/// <reference path="./pie-core-model.d.ts" />
/// <reference path="./pie-core-types.d.ts" />
/// <reference path="./pie-instruct-chat.d.ts" />
declare module 'pie:ext/turn' {
  /**
   * All tool calls in the tokens of a turn, in order: name and arguments as JSON. Fails with `malformed-call` if there
   * is something between the marks of a call that is none.
   */
  export function calls(model: Model, tokens: Uint32Array): Array<[string, string]>;
  /**
   * The grammar of the model's calls of `tools`, each the JSON of a function description; none if its format cannot be
   * enforced. Fails with `bad-tools`, and with `bad-schema` if the parameters of a tool are no JSON Schema.
   */
  export function callGrammar(model: Model, tools: Array<string>): Grammar | undefined;
  /**
   * As `call-grammar`, for a turn of one call or more. Where a turn of the model can have one call alone, it has one.
   */
  export function callsGrammar(model: Model, tools: Array<string>): Grammar | undefined;
  /**
   * A chat decoder, at the start of a turn, that leaves out reasoning.
   */
  export function answerDecoder(model: Model): Decoder;
  export type Error = import('pie:core/types').Error;
  export type Model = import('pie:core/model').Model;
  export type Grammar = import('pie:core/inference').Grammar;
  export type Decoder = import('pie:instruct/chat').Decoder;
  /**
   * What a turn says, in the order in which it says it: text, then calls.
   */
  export type Said =
    | {
      /**
       * More text of the answer.
       */
      tag: 'text',
      val: string,
    }
    | {
      /**
       * A call of the tool with this name begins.
       */
      tag: 'call',
      val: string,
    }
    | {
      /**
       * More of the arguments of the call: JSON as the model writes it, which is only checked where a grammar holds it.
       */
      tag: 'arguments',
      val: string,
    }
    | {
      /**
       * The arguments of the call are whole. A call that is cut off has no end.
       */
      tag: 'called',
    };

  export class Reader implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * At the start of a turn, whose text ends before the first of `stop-texts`, of which the limits are those of
    * `generation`.
    */
    static start(model: Model, stopTexts: Array<string>): Reader;
    /**
    * What the next tokens say. After a stop token a new turn begins.
    */
    feed(tokens: Uint32Array): Array<Said>;
    /**
    * No more tokens come, and no stop token has ended the turn: what was held back. A new turn begins.
    */
    finish(): Array<Said>;
    [Symbol.dispose](): void;
  }
}
