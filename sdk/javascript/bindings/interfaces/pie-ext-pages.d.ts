// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./pie-core-context.d.ts" />
/// <reference path="./pie-core-types.d.ts" />
declare module 'pie:ext/pages' {
  /**
   * Give back the memory of committed pages `first` … `first + count - 1`. Tokens and positions stay counted. Each token
   * of every later pass must be masked from all keys of these pages, or the pass fails with `discarded-page`.
   */
  export function discard(context: Context, first: number, count: number): void;
  /**
   * Pages of memory that the context takes on the device, or would if it were there: committed and working ones, those
   * shared with others too, and one for all that are discarded.
   */
  export function held(context: Context): number;
  /**
   * Tokens that passes and generations of this context were given and that were not computed, because their pages were
   * known already. A fork begins with 0.
   */
  export function reused(context: Context): bigint;
  export type Error = import('pie:core/types').Error;
  export type Context = import('pie:core/context').Context;
}
