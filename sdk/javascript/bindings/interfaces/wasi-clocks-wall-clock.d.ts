// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
declare module 'wasi:clocks/wall-clock@0.2.4' {
  /**
   * A time since 1970-01-01T00:00:00Z.
   */
  export interface Datetime {
    seconds: bigint,
    nanoseconds: number,
  }
}
