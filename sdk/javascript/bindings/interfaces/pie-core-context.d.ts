// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./pie-core-model.d.ts" />
/// <reference path="./pie-core-types.d.ts" />
/// <reference path="./wasi-io-poll.d.ts" />
declare module 'pie:core/context' {
  export type Pollable = import('wasi:io/poll@0.2.4').Pollable;
  export type Error = import('pie:core/types').Error;
  export type Model = import('pie:core/model').Model;
  /**
   * Number of a page within one context.
   */
  export type PageId = number;

  export class Context implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * An empty context.
    */
    static create(model: Model): Context;
    /**
    * A fork of the snapshot `name` of the same user; the snapshot stays as it is.
    * Fails with `snapshot-not-found` if there is none.
    */
    static open(model: Model, name: string): Context;
    /**
    * The snapshot `name` itself, which is no longer saved afterwards. Fails with `snapshot-not-found`.
    */
    static take(model: Model, name: string): Context;
    /**
    * Remove the snapshot `name`. Fails with `snapshot-not-found`.
    */
    static 'delete'(model: Model, name: string): void;
    /**
    * A new context with the same tokens: committed pages are shared, working pages copied. Its bid is 0.
    */
    fork(): Context;
    /**
    * Save a snapshot of the pages under `name`, replacing one of that name; durable when this returns.
    */
    save(name: string): void;
    /**
    * Save a snapshot under a fresh name and return it.
    */
    snapshot(): string;
    /**
    * Give back all pages now. What waits for the context, and each later use of it, fails with
    * `context-destroyed`; it then has no pages and no tokens.
    */
    destroy(): void;
    /**
    * Tokens that one page holds.
    */
    tokensPerPage(): number;
    /**
    * The model of this context.
    */
    model(): Model;
    /**
    * Pages that are full and immutable.
    */
    committedPageCount(): number;
    /**
    * Pages held beyond the committed ones, filled or not.
    */
    workingPageCount(): number;
    /**
    * Make the first `num-pages` working pages immutable. They must be full, and their positions must increase and
    * exceed every committed one.
    */
    commitWorkingPages(numPages: number): void;
    /**
    * Hold `num-pages` more working pages. Waits while the server is short of pages.
    */
    reserveWorkingPages(numPages: number): void;
    /**
    * Give back the last `num-pages` working pages, or all if there are fewer. Tokens in them are lost.
    */
    releaseWorkingPages(numPages: number): void;
    /**
    * Tokens in working pages.
    */
    workingPageTokenCount(): number;
    /**
    * Forget the last `num-tokens` tokens of the working pages, or all if there are fewer. Pages stay held.
    */
    truncateWorkingPageTokens(numTokens: number): void;
    /**
    * Let the pages leave the device until the context is used again.
    */
    suspend(): void;
    /**
    * What the program offers per page and step to keep this context on the device, >= 0.
    */
    bid(value: number): void;
    [Symbol.dispose](): void;
  }
}
