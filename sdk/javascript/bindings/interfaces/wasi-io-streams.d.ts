// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./wasi-io-error.d.ts" />
/// <reference path="./wasi-io-poll.d.ts" />
declare module 'wasi:io/streams@0.2.4' {
  export type Error = import('wasi:io/error@0.2.4').Error;
  export type Pollable = import('wasi:io/poll@0.2.4').Pollable;
  /**
   * Why there is nothing more to read or write.
   */
  export type StreamError =
    | {
      /**
       * The operation failed; the stream is closed from now on.
       */
      tag: 'last-operation-failed',
      val: Error,
    }
    | {
      /**
       * There is nothing more.
       */
      tag: 'closed',
    };

  export class InputStream implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * What is there by now, up to `len` bytes; possibly none.
    */
    read(len: bigint): Uint8Array;
    /**
    * Becomes ready when there is something to read, or nothing ever again.
    */
    subscribe(): Pollable;
    [Symbol.dispose](): void;
  }

  export class OutputStream implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * How many bytes may be written now.
    */
    checkWrite(): bigint;
    /**
    * Write no more than `check-write` allowed.
    */
    write(contents: Uint8Array): void;
    /**
    * Ask that what was written be handed on; `check-write` allows nothing until it was.
    */
    flush(): void;
    /**
    * Becomes ready when `check-write` allows more.
    */
    subscribe(): Pollable;
    [Symbol.dispose](): void;
  }
}
