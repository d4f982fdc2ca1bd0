// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
declare module 'wasi:io/error@0.2.4' {

  export class Error implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * A text for people, which may change.
    */
    toDebugString(): string;
    [Symbol.dispose](): void;
  }
}
