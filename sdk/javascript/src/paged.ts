/** The calls of a context for its pages, which most programs leave to passes and generations. */

import { u32 } from './numbers.ts';
import type { Pages } from './pages.ts';

/** What has pages. */
export abstract class Paged {
  /** @internal */
  abstract get pages(): Pages;

  /** Tokens per page. */
  abstract get pageSize(): number;

  /** Pages of memory that it takes; those that it shares with others count, those that are discarded are one. */
  get pagesHeld(): number {
    return this.pages.numHeld;
  }

  /** Tokens that were put into it and not computed, because the server knew their pages; a fork begins with 0. */
  get reusedTokens(): number {
    return this.pages.numReusedTokens;
  }

  /** Forget the last `numTokens` tokens of the working pages, or all of them if there are fewer. */
  truncate(numTokens: number): void {
    this.pages.truncate(numTokens);
  }

  /**
   * Give back the memory of full pages that no later token attends to; their tokens and positions stay counted.
   *
   * Each token of every later pass must be masked from them (`Forward.attentionMask`). Throws `not-discardable` if they
   * are not all full.
   */
  discardPages(first: number, count: number): void {
    this.pages.discardPages(first, count);
  }

  /** Tokens that one page holds. */
  tokensPerPage(): number {
    return this.pageSize;
  }

  /** Pages that are full and never change. */
  committedPageCount(): number {
    return this.pages.numCommitted;
  }

  /** Pages held beyond the committed ones, filled or not. */
  workingPageCount(): number {
    return this.pages.numWorking;
  }

  /** Tokens in the working pages. */
  workingPageTokenCount(): number {
    return this.pages.numTokens;
  }

  /** Hold so many more working pages. Passes and generations reserve what they lack by themselves. */
  reserveWorkingPages(numPages: number): void {
    this.pages.hold(numPages);
  }

  /**
   * Make the first working pages immutable; needed only after passes with `inputAt`.
   *
   * Throws `not-committable` if they are not full or their positions do not increase.
   */
  commitWorkingPages(numPages: number): void {
    this.pages.commitPages(numPages);
  }

  /** Give back the last working pages with their tokens, or all of them if there are fewer. */
  releaseWorkingPages(numPages: number): void {
    this.pages.release(numPages);
  }

  /** Forget the last tokens of the working pages, or all of them if there are fewer; the pages stay held. */
  truncateWorkingPageTokens(numTokens: number): void {
    this.pages.truncate(u32(numTokens, 'a number of tokens'));
  }
}
