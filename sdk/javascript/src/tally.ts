/** Counting the tokens of a generation: when it must end, and which of the drawn tokens count. */

/** The tokens of one step that count. */
export interface Kept {
  /** Without the stop token and what follows it, and within the limit. */
  readonly tokens: Uint32Array;
  /** A stop token was drawn. */
  readonly stopped: boolean;
  /** How many of them belong into the context: all after a stop, else all but the last, which is fed next. */
  readonly numFed: number;
}

/** How many tokens there are, how many there may be, and which end the generation. */
export class Tally {
  numGenerated = 0;
  /** How many of them were reasoning, of those that the server has made. */
  numReasoning = 0;
  done = false;
  /** Says of each token that counts whether what is said with it ends the generation. */
  completes: ((token: number) => boolean) | undefined;

  constructor(
    public maxTokens: number | undefined,
    public stop: Set<number>,
  ) {}

  /** How many tokens may still come; undefined is without limit. */
  get numRemaining(): number | undefined {
    return this.maxTokens === undefined ? undefined : Math.max(0, this.maxTokens - this.numGenerated);
  }

  /** Whether nothing more may come. */
  get isOver(): boolean {
    return this.done || this.numRemaining === 0;
  }

  /** Count drawn tokens up to a stop token or the limit. */
  take(tokens: Iterable<number>): Kept {
    const kept: number[] = [];
    let stopped = false;
    for (const token of tokens) {
      if (this.isOver) break;
      if (this.stop.has(token)) {
        stopped = this.done = true;
        break;
      }
      kept.push(token);
      this.numGenerated += 1;
      this.done = this.completes?.(token) ?? false;
    }
    const numFed = stopped ? kept.length : Math.max(0, kept.length - 1);
    return { tokens: Uint32Array.from(kept), stopped, numFed };
  }
}
