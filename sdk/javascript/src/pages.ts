/** The pages of a context as the program counts them, so that it need not ask the server before every pass. */

import type * as wit from 'pie:core/context';
import { discard, held, reused } from 'pie:ext/pages';

import { call } from './errors.ts';
import type { Handle } from './handle.ts';
import { u32 } from './numbers.ts';

/** Pages of a context from `start` up to, but not including, `end`. */
export interface PageRange {
  readonly start: number;
  readonly end: number;
}

/** Committed pages, working pages, and the tokens in the working ones. It tells the server before it counts. */
export class Pages {
  readonly #handle: Handle<wit.Context>;
  /** Tokens per page. */
  readonly pageSize: number;
  #numCommitted = 0;
  #numWorking = 0;
  #numTokens = 0;
  #discarded: PageRange = { start: 0, end: 0 };

  constructor(handle: Handle<wit.Context>) {
    this.#handle = handle;
    this.pageSize = handle.wit.tokensPerPage();
  }

  /** Tokens in all pages. */
  get seqLen(): number {
    return this.#numCommitted * this.pageSize + this.#numTokens;
  }

  /** Pages held, filled or not. */
  get numPages(): number {
    return this.#numCommitted + this.#numWorking;
  }

  /** Full pages that never change. */
  get numCommitted(): number {
    return this.#numCommitted;
  }

  /** Pages held beyond those. */
  get numWorking(): number {
    return this.#numWorking;
  }

  /** Tokens in the working pages. */
  get numTokens(): number {
    return this.#numTokens;
  }

  /** Pages of memory that the server counts for the context. */
  get numHeld(): number {
    return held(this.#handle.wit);
  }

  /** Tokens of the context's passes that the server did not compute. */
  get numReusedTokens(): number {
    return Number(reused(this.#handle.wit));
  }

  /** Hold so many more working pages. */
  hold(numPages: number): void {
    const count = u32(numPages, 'a number of pages');
    call(() => this.#handle.wit.reserveWorkingPages(count));
    this.#numWorking += count;
  }

  /** Give back the last working pages with their tokens, or all of them if there are fewer. */
  release(numPages: number): void {
    this.#handle.wit.releaseWorkingPages(u32(numPages, 'a number of pages'));
    this.refresh();
  }

  /** Commit the first working pages. Throws `not-committable`. */
  commitPages(numPages: number): void {
    const count = u32(numPages, 'a number of pages');
    call(() => this.#handle.wit.commitWorkingPages(count));
    this.#numCommitted += count;
    this.#numWorking -= count;
    this.#numTokens -= count * this.pageSize;
  }

  /** Ask the server. */
  refresh(): void {
    const { wit } = this.#handle;
    this.#numCommitted = wit.committedPageCount();
    this.#numWorking = wit.workingPageCount();
    this.#numTokens = wit.workingPageTokenCount();
  }

  /** Hold enough working pages for `numTokens` more tokens. */
  reserve(numTokens: number): void {
    const wanted = Math.ceil((this.#numTokens + numTokens) / this.pageSize);
    if (wanted > this.#numWorking) this.hold(wanted - this.#numWorking);
  }

  /** Count tokens that a pass has written. */
  wrote(numTokens: number): void {
    this.#numTokens += numTokens;
  }

  /** Commit the working pages that are full. */
  commit(): void {
    const full = Math.floor(this.#numTokens / this.pageSize);
    if (full > 0) this.commitPages(full);
  }

  /** Forget the last tokens of the working pages, at most as many as there are. */
  truncate(numTokens: number): void {
    const num = Math.min(Math.max(0, Math.trunc(numTokens) || 0), this.#numTokens);
    if (num === 0) return;
    this.#handle.wit.truncateWorkingPageTokens(num);
    this.#numTokens -= num;
  }

  /** Give back the memory of `count` committed pages from `first` on. Throws `not-discardable`. */
  discardPages(first: number, count: number): void {
    const [start, length] = [u32(first, 'first'), u32(count, 'count')];
    call(() => discard(this.#handle.wit, start, length));
  }

  /** Give back the memory of those committed pages in the range that are not given back yet. */
  discard({ start, end }: PageRange): void {
    const last = Math.min(end, this.#numCommitted);
    const isNext = this.#discarded.end > this.#discarded.start && this.#discarded.start <= start;
    const first = isNext && start <= this.#discarded.end ? this.#discarded.end : start;
    if (first >= last) return;
    this.discardPages(first, last - first);
    this.#discarded = { start: Math.min(start, first), end: last };
  }
}
