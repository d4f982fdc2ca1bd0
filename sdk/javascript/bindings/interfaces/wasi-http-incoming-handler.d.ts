// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./wasi-http-types.d.ts" />
declare module 'wasi:http/incoming-handler@0.2.4' {
  /**
   * Answer one request.
   */
  export function handle(request: IncomingRequest, responseOut: ResponseOutparam): void;
  export type IncomingRequest = import('wasi:http/types@0.2.4').IncomingRequest;
  export type ResponseOutparam = import('wasi:http/types@0.2.4').ResponseOutparam;
}
