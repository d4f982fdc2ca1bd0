/** Where a text must end because one of several strings stands in it. The server does the same by itself. */

/** Passes a text on up to the first stop text that is complete; of several with the same end the longest counts. */
export class StopTexts {
  found = false;
  readonly #texts: readonly string[];
  #held = '';

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  /** Take the next piece; returns what can be shown, without what may still become a stop text. */
  feed(piece: string): string {
    if (this.found) return '';
    const text = this.#held + piece;
    const places = this.#texts.map((one) => ({ start: text.indexOf(one), length: one.length }));
    const found = places.filter(({ start }) => start >= 0);
    found.sort((a, b) => a.start + a.length - b.start - b.length || a.start - b.start);
    if (found[0] !== undefined) {
      this.found = true;
      this.#held = '';
      return text.slice(0, found[0].start);
    }
    const numHeld = Math.max(0, ...this.#texts.map((one) => overlap(text, one)));
    this.#held = text.slice(text.length - numHeld);
    return text.slice(0, text.length - numHeld);
  }

  /** Returns what was held back, as no more will come. */
  finish(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

/** How many last characters of `text` may be the beginning of `wanted`. */
function overlap(text: string, wanted: string): number {
  let length = Math.min(text.length, wanted.length - 1);
  while (length > 0 && !text.endsWith(wanted.slice(0, length))) length -= 1;
  return Math.max(0, length);
}
