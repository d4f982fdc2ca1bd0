/**
 * HTTP to the hosts that who runs the server has opened; redirects are not followed, bodies not decompressed.
 *
 * `fetch` is the global function of that name. `Request`, `Response`, `Headers` and `AbortSignal` are the engine's own.
 */

import * as wit from 'pie:ext/http';

import { call, fromHost, InferletError } from './errors.ts';
import * as loop from './loop.ts';

const MAX_BODY_BYTES = 2 << 20; // the server refuses more; told here, because what is much larger cannot even cross to it
const TIMEOUT_MS = 30_000;
const WITHOUT_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** What `fetch` takes beside the URL. Of the standard's options it heeds `method`, `headers`, `body` and `signal`. */
export interface RequestOptions extends RequestInit {
  /** Sent as JSON in place of `body`. */
  readonly json?: unknown;
  /** For all of it, at most 120000; 30000 if it is not given. */
  readonly timeoutMs?: number;
}

/** A whole answer. */
class Answer extends globalThis.Response {
  readonly #answer: wit.Response;

  constructor(answer: wit.Response, url: string) {
    const body = WITHOUT_BODY.has(answer.status) ? null : new Uint8Array(answer.body);
    super(body, { status: answer.status, headers: answer.headers });
    this.#answer = answer;
    Object.defineProperty(this, 'url', { value: url });
  }

  // The engine has neither of these.
  override clone(): Response {
    if (this.bodyUsed) throw new TypeError('the body of the response was read before');
    return new Answer(this.#answer, this.url);
  }

  override async bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await this.arrayBuffer());
  }
}

/**
 * Send a request and wait for the whole answer, whatever its status; 3xx are answers too, with their target in the
 * header `location`.
 *
 * Throws `bad-http-request`, `http-not-allowed`, `http-failed`, `http-too-large`, `http-timeout`, or the reason of the
 * signal that ended it.
 */
export async function fetch(input: RequestInfo | URL, options: RequestOptions = {}): Promise<Response> {
  const request = input instanceof Request ? input : undefined;
  const signal = options.signal ?? request?.signal;
  signal?.throwIfAborted();
  const url = address(request?.url ?? String(input));
  const { data, type } = await content(options, request);
  const headers = fields(options.headers ?? own(request));
  if (type !== null && !headers.has('content-type')) headers.set('content-type', type);
  const answer = await exchange(
    {
      method: (options.method ?? request?.method ?? 'GET').toUpperCase(),
      url,
      headers: [...headers],
      body: data,
      timeoutMs: limit(options.timeoutMs ?? TIMEOUT_MS),
    },
    signal,
  );
  return new Answer(answer, url);
}

/** `fetch` with the method GET. */
export async function get(url: string | URL, options: Omit<RequestOptions, 'body' | 'json' | 'method'> = {}): Promise<Response> {
  return await fetch(url, { ...options, method: 'GET' });
}

/** `fetch` with the method POST. */
export async function post(url: string | URL, options: Omit<RequestOptions, 'method'> = {}): Promise<Response> {
  return await fetch(url, { ...options, method: 'POST' });
}

async function exchange(request: wit.Request, signal: AbortSignal | undefined): Promise<wit.Response> {
  signal?.throwIfAborted();
  using underWay = call(() => wit.send(request));
  await loop.ready(underWay.pollable(), signal);
  const result = underWay.get();
  if (result === undefined) {
    throw new InferletError('no-result', 'the server reported the end of a request without its answer');
  }
  if (result.tag === 'err') throw fromHost(result.val);
  return result.val;
}

interface Content {
  readonly data: Uint8Array;
  /** Its content type, if it is plain from what it was made of. */
  readonly type: string | null;
}

async function content({ body, json }: RequestOptions, request: Request | undefined): Promise<Content> {
  const given = json === undefined ? body : JSON.stringify(json);
  const holder =
    given === undefined || given === null
      ? request
      : new Request('http://body/', { method: 'POST', body: given, duplex: 'half' } as RequestInit);
  if (!holder?.body) return { data: new Uint8Array(), type: null };
  const data = new Uint8Array(await loop.engine(holder.arrayBuffer()));
  if (data.length > MAX_BODY_BYTES) {
    throw new InferletError('http-too-large', `the body of the request has ${data.length} bytes, more than ${MAX_BODY_BYTES}`);
  }
  return { data, type: json === undefined ? holder.headers.get('content-type') : 'application/json' };
}

/** The headers of a request, but for the one that the engine adds and that is the server's to set. */
function own(request: Request | undefined): Headers | undefined {
  if (request === undefined) return undefined;
  const headers = new Headers(request.headers);
  headers.delete('content-length');
  return headers;
}

function fields(headers: HeadersInit | undefined): Headers {
  try {
    return new Headers(headers);
  } catch (error) {
    throw new InferletError('bad-http-request', error instanceof Error ? error.message : String(error));
  }
}

function address(text: string): string {
  try {
    const url = new URL(text);
    url.hash = '';
    return url.href;
  } catch {
    throw new InferletError('bad-http-request', `the URL ${JSON.stringify(text.slice(0, 100))} is none`);
  }
}

function limit(timeoutMs: number): number {
  if (timeoutMs > 0 && timeoutMs < 2 ** 31) return Math.max(1, Math.floor(timeoutMs));
  throw new InferletError('bad-http-request', `the time limit of ${timeoutMs} ms is out of range`);
}
