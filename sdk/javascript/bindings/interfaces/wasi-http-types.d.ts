// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./wasi-io-streams.d.ts" />
declare module 'wasi:http/types@0.2.4' {
  export type InputStream = import('wasi:io/streams@0.2.4').InputStream;
  export type OutputStream = import('wasi:io/streams@0.2.4').OutputStream;
  /**
   * What is to be done with the resource (RFC 9110, section 9).
   */
  export type Method =
    | {
      tag: 'get',
    }
    | {
      tag: 'head',
    }
    | {
      tag: 'post',
    }
    | {
      tag: 'put',
    }
    | {
      tag: 'delete',
    }
    | {
      tag: 'connect',
    }
    | {
      tag: 'options',
    }
    | {
      tag: 'trace',
    }
    | {
      tag: 'patch',
    }
    | {
      tag: 'other',
      val: string,
    };
  /**
   * How the client reached the server.
   */
  export type Scheme =
    | {
      tag: 'HTTP',
    }
    | {
      tag: 'HTTPS',
    }
    | {
      tag: 'other',
      val: string,
    };
  /**
   * What a name server said.
   */
  export interface DnsErrorPayload {
    rcode?: string,
    infoCode?: number,
  }
  /**
   * What the other side of a TLS connection said.
   */
  export interface TlsAlertReceivedPayload {
    alertId?: number,
    alertMessage?: string,
  }
  /**
   * A header field that is too large.
   */
  export interface FieldSizePayload {
    fieldName?: string,
    fieldSize?: number,
  }
  /**
   * Why there is no response.
   */
  export type ErrorCode =
    | {
      tag: 'DNS-timeout',
    }
    | {
      tag: 'DNS-error',
      val: DnsErrorPayload,
    }
    | {
      tag: 'destination-not-found',
    }
    | {
      tag: 'destination-unavailable',
    }
    | {
      tag: 'destination-IP-prohibited',
    }
    | {
      tag: 'destination-IP-unroutable',
    }
    | {
      tag: 'connection-refused',
    }
    | {
      tag: 'connection-terminated',
    }
    | {
      tag: 'connection-timeout',
    }
    | {
      tag: 'connection-read-timeout',
    }
    | {
      tag: 'connection-write-timeout',
    }
    | {
      tag: 'connection-limit-reached',
    }
    | {
      tag: 'TLS-protocol-error',
    }
    | {
      tag: 'TLS-certificate-error',
    }
    | {
      tag: 'TLS-alert-received',
      val: TlsAlertReceivedPayload,
    }
    | {
      tag: 'HTTP-request-denied',
    }
    | {
      tag: 'HTTP-request-length-required',
    }
    | {
      tag: 'HTTP-request-body-size',
      val: bigint | undefined,
    }
    | {
      tag: 'HTTP-request-method-invalid',
    }
    | {
      tag: 'HTTP-request-URI-invalid',
    }
    | {
      tag: 'HTTP-request-URI-too-long',
    }
    | {
      tag: 'HTTP-request-header-section-size',
      val: number | undefined,
    }
    | {
      tag: 'HTTP-request-header-size',
      val: FieldSizePayload | undefined,
    }
    | {
      tag: 'HTTP-request-trailer-section-size',
      val: number | undefined,
    }
    | {
      tag: 'HTTP-request-trailer-size',
      val: FieldSizePayload,
    }
    | {
      tag: 'HTTP-response-incomplete',
    }
    | {
      tag: 'HTTP-response-header-section-size',
      val: number | undefined,
    }
    | {
      tag: 'HTTP-response-header-size',
      val: FieldSizePayload,
    }
    | {
      tag: 'HTTP-response-body-size',
      val: bigint | undefined,
    }
    | {
      tag: 'HTTP-response-trailer-section-size',
      val: number | undefined,
    }
    | {
      tag: 'HTTP-response-trailer-size',
      val: FieldSizePayload,
    }
    | {
      tag: 'HTTP-response-transfer-coding',
      val: string | undefined,
    }
    | {
      tag: 'HTTP-response-content-coding',
      val: string | undefined,
    }
    | {
      tag: 'HTTP-response-timeout',
    }
    | {
      tag: 'HTTP-upgrade-failed',
    }
    | {
      tag: 'HTTP-protocol-error',
    }
    | {
      tag: 'loop-detected',
    }
    | {
      tag: 'configuration-error',
    }
    | {
      tag: 'internal-error',
      val: string | undefined,
    };
  /**
   * Why a header field is refused.
   */
  export type HeaderError =
    | {
      /**
       * A name or a value has a character that it may not have.
       */
      tag: 'invalid-syntax',
    }
    | {
      /**
       * The field belongs to the connection, or there are too many.
       */
      tag: 'forbidden',
    }
    | {
      /**
       * These fields cannot be changed.
       */
      tag: 'immutable',
    };
  export type StatusCode = number;
  export type FieldKey = string;
  export type FieldName = FieldKey;
  export type FieldValue = Uint8Array;
  export type Headers = Fields;
  export type Trailers = Fields;
  export type Result<T, E> = { tag: 'ok', val: T } | { tag: 'err', val: E };

  export class Fields implements Disposable {
    /**
    * No fields.
    */
    constructor()
    /**
    * Fields of names and values in their order.
    */
    static fromList(entries: Array<[FieldName, FieldValue]>): Fields;
    /**
    * All names and values in their order.
    */
    entries(): Array<[FieldName, FieldValue]>;
    [Symbol.dispose](): void;
  }

  export class IncomingBody implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * The stream, once. It must be dropped before the body is.
    */
    stream(): InputStream;
    [Symbol.dispose](): void;
  }

  export class IncomingRequest implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * What is to be done.
    */
    method(): Method;
    /**
    * The path, with the query if there is one.
    */
    pathWithQuery(): string | undefined;
    /**
    * How the client reached the server.
    */
    scheme(): Scheme | undefined;
    /**
    * The name and port of the server, as the client wrote them.
    */
    authority(): string | undefined;
    /**
    * The header; it cannot be changed.
    */
    headers(): Headers;
    /**
    * The body, once.
    */
    consume(): IncomingBody;
    [Symbol.dispose](): void;
  }

  export class OutgoingBody implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * The stream, once. It must be dropped before the body is finished.
    */
    write(): OutputStream;
    /**
    * The body is whole.
    */
    static finish(this_: OutgoingBody, trailers: Trailers | undefined): void;
    [Symbol.dispose](): void;
  }

  export class OutgoingResponse implements Disposable {
    /**
    * A response with status 200 and this header.
    */
    constructor(headers: Headers)
    /**
    * Set the status; an error if there is no such status.
    */
    setStatusCode(statusCode: StatusCode): void;
    /**
    * The body, once.
    */
    body(): OutgoingBody;
    [Symbol.dispose](): void;
  }

  export class ResponseOutparam implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Begin the response, or say that there is none.
    */
    static set(param: ResponseOutparam, response: Result<OutgoingResponse, ErrorCode>): void;
    [Symbol.dispose](): void;
  }
}
