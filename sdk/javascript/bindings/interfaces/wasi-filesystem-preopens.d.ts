// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./wasi-filesystem-types.d.ts" />
declare module 'wasi:filesystem/preopens@0.2.4' {
  /**
   * Each with its path; a Pie program has `/scratch`, or nothing.
   */
  export function getDirectories(): Array<[Descriptor, string]>;
  export type Descriptor = import('wasi:filesystem/types@0.2.4').Descriptor;
}
