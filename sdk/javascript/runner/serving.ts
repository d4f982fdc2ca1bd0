/** wasi:http for a program's `handle`: one request in, one response out, bodies piece by piece. */

import {
  Fields,
  OutgoingBody,
  OutgoingResponse,
  ResponseOutparam,
  type IncomingBody,
  type IncomingRequest,
} from 'wasi:http/types@0.2.4';
import type { InputStream, OutputStream } from 'wasi:io/streams@0.2.4';

import { u8Array } from '../src/arrays.ts';
import { hostPayload, InferletError } from '../src/errors.ts';
import * as loop from '../src/loop.ts';
import * as streams from './streams.ts';

const CHUNK_BYTES = 64 << 10;
const MAX_BODY_BYTES = 16 << 20;
const WITHOUT_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD']);
const TEXT = 'text/plain; charset=utf-8';
const BYTES = 'application/octet-stream';

/** One request to a program, and the response that the program makes of it. */
export class Exchange implements Disposable {
  readonly #incoming: IncomingRequest;
  readonly #outparam: ResponseOutparam;
  readonly #body: RequestBody;
  #hasBegun = false;

  constructor(incoming: IncomingRequest, outparam: ResponseOutparam) {
    this.#incoming = incoming;
    this.#outparam = outparam;
    this.#body = new RequestBody(incoming);
  }

  /** The request as the program sees it. */
  request(): Request {
    const { tag, ...rest } = this.#incoming.method();
    const method = 'val' in rest ? rest.val : tag.toUpperCase();
    using fields = this.#incoming.headers();
    const headers = new Headers(fields.entries().map(([name, value]): [string, string] => [name, latin1(value)]));
    const scheme = this.#incoming.scheme()?.tag === 'HTTPS' ? 'https' : 'http';
    const url = `${scheme}://${this.#incoming.authority() || 'localhost'}${this.#incoming.pathWithQuery() ?? '/'}`;
    return new ServedRequest(url, method, headers, WITHOUT_BODY.has(method) ? null : this.#body);
  }

  /**
   * Send what the program returned.
   *
   * Throws, before anything is sent, if it is nothing that can be sent; and what its body throws in the middle of it.
   */
  async send(returned: unknown): Promise<void> {
    const { status, headers, parts } = reply(returned);
    const body = this.#begin(status, headers);
    const stream = body.write();
    try {
      for await (const part of parts) await write(stream, part);
    } catch (error) {
      stream[Symbol.dispose]();
      body[Symbol.dispose](); // not finished: the client sees that the response broke off
      throw error;
    }
    stream[Symbol.dispose]();
    sent(() => OutgoingBody.finish(body, undefined));
  }

  /** The program failed: answer that, unless the response has begun. */
  fail(): void {
    if (this.#hasBegun) return;
    const body = this.#begin(500, [['content-type', TEXT]]);
    const stream = body.write();
    if (stream.checkWrite() > 0n) stream.write(new TextEncoder().encode('The program failed.\n'));
    stream.flush();
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  }

  /** Let go of the request, and of a response that was never given. */
  [Symbol.dispose](): void {
    this.#body[Symbol.dispose]();
    this.#incoming[Symbol.dispose]();
    if (!this.#hasBegun) this.#outparam[Symbol.dispose]();
  }

  #begin(status: number, headers: Iterable<[string, string]>): OutgoingBody {
    const response = new OutgoingResponse(fieldsOf([...headers]));
    response.setStatusCode(status);
    const body = response.body();
    this.#hasBegun = true;
    ResponseOutparam.set(this.#outparam, { tag: 'ok', val: response });
    return body;
  }
}

/** The body of a request, asked for only when it is read; it must be let go of before the request is. */
class RequestBody implements Disposable {
  readonly #incoming: IncomingRequest;
  #body: IncomingBody | undefined;
  #stream: InputStream | undefined;

  constructor(incoming: IncomingRequest) {
    this.#incoming = incoming;
  }

  /** The next part; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    this.#body ??= this.#incoming.consume();
    const stream = (this.#stream ??= this.#body.stream());
    while (true) {
      let part: Uint8Array;
      try {
        part = stream.read(BigInt(CHUNK_BYTES));
      } catch (error) {
        if (tagOf(error) === 'closed') return undefined;
        throw new InferletError('client-gone', 'the client left before the request was whole');
      }
      if (part.length > 0) return new Uint8Array(u8Array(part));
      await loop.ready(stream.subscribe());
    }
  }

  [Symbol.dispose](): void {
    this.#stream?.[Symbol.dispose]();
    this.#body?.[Symbol.dispose]();
  }
}

/** A request whose body comes from the host: the engine would know no way to it. */
class ServedRequest extends globalThis.Request {
  readonly #body: ReadableStream<Uint8Array<ArrayBuffer>> | null;
  #isUsed = false;

  constructor(url: string, method: string, headers: Headers, body: RequestBody | null) {
    super(url, { headers });
    Object.defineProperty(this, 'method', { value: method }); // the engine has methods that it refuses
    this.#body = body === null ? null : streamOf(body, () => (this.#isUsed = true));
  }

  override get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    return this.#body;
  }

  override get bodyUsed(): boolean {
    return this.#isUsed;
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer;
  }

  override async blob(): Promise<Blob> {
    return new Blob([await this.bytes()], { type: this.headers.get('content-type') ?? '' });
  }

  override async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#isUsed) throw new InferletError('body-taken', 'the body of a request can be read once');
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of pieces(this.#body)) {
      parts.push(part);
      size += part.length;
      if (size > MAX_BODY_BYTES) {
        throw new InferletError('body-too-large', `the body of the request has more than ${MAX_BODY_BYTES} bytes`);
      }
    }
    const whole = new Uint8Array(size);
    for (let offset = 0, index = 0; index < parts.length; offset += parts[index]!.length, index++) {
      whole.set(parts[index]!, offset);
    }
    return whole;
  }

  override clone(): Request {
    throw new InferletError('body-taken', 'a request that a program answers cannot be cloned: its body comes once');
  }

  override async formData(): Promise<FormData> {
    const headers = { 'content-type': this.headers.get('content-type') ?? '' };
    const held = new Response(await this.bytes(), { headers });
    return await loop.engine(held.formData());
  }

  override async json(): Promise<unknown> {
    const text = await this.text();
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw new InferletError('not-json', `the body of the request is no JSON: ${String(error)}`);
    }
  }

  override async text(): Promise<string> {
    return new TextDecoder().decode(await this.bytes());
  }
}

function streamOf(body: RequestBody, begun: () => void): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source: UnderlyingDefaultSource<Uint8Array> = {
    async pull(controller) {
      begun();
      const part = await body.next();
      if (part === undefined) controller.close();
      else controller.enqueue(part);
    },
  };
  return new ReadableStream(source, { highWaterMark: 0 }) as ReadableStream<Uint8Array<ArrayBuffer>>; // not read ahead
}

interface Reply {
  readonly status: number;
  readonly headers: Iterable<[string, string]>;
  readonly parts: AsyncIterable<Uint8Array>;
}

/** What `handle` returned, as a response: itself, text, bytes or an iterable of them, or a value as JSON. */
function reply(returned: unknown): Reply {
  if (returned instanceof Response) {
    return { status: returned.status, headers: returned.headers, parts: pieces(returned.body) };
  }
  if (typeof returned === 'string') return plain(TEXT, [returned]);
  if (returned instanceof ArrayBuffer || ArrayBuffer.isView(returned)) return plain(BYTES, [returned]);
  if (returned instanceof ReadableStream) return plain(TEXT, pieces(returned));
  if (isAsyncIterable(returned)) return plain(TEXT, returned);
  return plain('application/json', [json(returned)]);
}

function plain(type: string, parts: Iterable<unknown> | AsyncIterable<unknown>): Reply {
  return { status: 200, headers: [['content-type', type]], parts: encoded(parts) };
}

function json(value: unknown): string {
  try {
    const text = JSON.stringify(value ?? null) as string | undefined;
    if (text !== undefined) return text;
  } catch (error) {
    throw new InferletError('not-json', `JSON cannot express the response: ${String(error)}`);
  }
  throw new InferletError('not-json', `JSON cannot express the response: handle() returned a ${typeof value}`);
}

/** What a stream gives. */
async function* pieces(stream: ReadableStream<unknown> | null): AsyncGenerator<Uint8Array> {
  if (stream === null) return;
  const reader = stream.getReader();
  try {
    while (true) {
      const { done, value } = await streams.next(stream, reader);
      if (done) return;
      yield* encoded([value]);
    }
  } finally {
    reader.releaseLock();
  }
}

async function* encoded(parts: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const part of parts) {
    if (typeof part === 'string') yield encoder.encode(part);
    else if (part instanceof ArrayBuffer) yield new Uint8Array(part);
    else if (ArrayBuffer.isView(part)) yield new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    else throw new InferletError('bad-response', `a part of the response is a ${typeof part}, neither text nor bytes`);
  }
}

async function write(stream: OutputStream, data: Uint8Array): Promise<void> {
  for (let offset = 0; offset < data.length; ) {
    const room = Math.min(Number(sent(() => stream.checkWrite())), CHUNK_BYTES);
    if (room === 0) {
      await loop.ready(stream.subscribe());
      continue;
    }
    sent(() => stream.write(data.slice(offset, offset + room)));
    sent(() => stream.flush());
    offset += room;
  }
}

/** Call a host function that takes a part of the response. */
function sent<T>(hostFunction: () => T): T {
  try {
    return hostFunction();
  } catch (error) {
    if (tagOf(error) === undefined) throw error;
    throw new InferletError('bad-response', 'the body of the response is not as long as its content-length says');
  }
}

function fieldsOf(headers: [string, string][]): Fields {
  try {
    return Fields.fromList(headers.map(([name, value]) => [name, bytesOf(value)]));
  } catch (error) {
    if (tagOf(error) === undefined) throw error;
    const names = headers.map(([name]) => name).join(', ');
    throw new InferletError('bad-header', `the response cannot have these header fields, or one of them: ${names}`);
  }
}

/** Which case of a variant a host function ended with; undefined if it threw something else. */
function tagOf(error: unknown): unknown {
  const payload = hostPayload(error);
  return typeof payload === 'object' && payload !== null && 'tag' in payload ? payload.tag : undefined;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

/** The bytes of a header field, one for each letter. */
function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
}
