/** Looking for stop texts in what tokens say, for generations that the program runs step by step. */

import * as chat from './chat.ts';
import type { Model } from './model.ts';
import { StopTexts } from './stop_texts.ts';

/** Reads the tokens of a generation until what they say has a stop text. */
export class TextWatch implements Disposable {
  readonly #decoder: chat.Decoder;
  readonly #stops: StopTexts;

  constructor(model: Model, stopTexts: readonly string[], reasoning: boolean) {
    this.#decoder = new chat.Decoder(model, { reasoning });
    this.#stops = new StopTexts(stopTexts);
  }

  /** Take the next token; returns whether a stop text is there now. */
  completes(token: number): boolean {
    let event = this.#decoder.feed([token]);
    for (; event.type !== 'idle'; event = this.#decoder.feed([])) { // a token can make several
      if (event.type === 'delta') this.#stops.feed(event.text);
    }
    return this.#stops.found;
  }

  [Symbol.dispose](): void {
    this.#decoder[Symbol.dispose]();
  }
}
