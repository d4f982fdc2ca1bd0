/** One connection with a server: messages out, messages in, and each answer to the request that waits for it. */

import { ConnectionLost, Refused, line, type ClientError } from './errors.js';
import { BadMessage, MAX_FRAME_BYTES, decodeServerMessage, encodeClientMessage } from './frames.js';
import { Inboxes } from './inbox.js';
import type { ClientMessage, McpRequest, McpResponse, Response, ServerMessage } from './messages.js';
import { Socket, type WebSocketClass } from './socket.js';

const SERVER_ERROR = -32000;

/** Makes a request with the number that its answer will have. */
export type Request = (number: number) => ClientMessage;

/** Answers the server's requests to MCP servers. */
export type Relay = (request: McpRequest) => Promise<McpResponse>;

interface Waiting {
  resolve(response: Response): void;
  reject(error: ClientError): void;
}

/** Sends messages and hands out what comes. */
export class Connection {
  /** What has come of each process. */
  readonly inboxes = new Inboxes();
  #socket: Socket | undefined;
  #end: ConnectionLost | undefined;
  #number = 0;
  readonly #waiting = new Map<number, Waiting>();
  readonly #relay: Relay | undefined;

  private constructor(relay: Relay | undefined) {
    this.#relay = relay;
  }

  /** Connect. Rejects with `cannot-connect`. */
  static async open(WebSocketOf: WebSocketClass, url: string, relay?: Relay): Promise<Connection> {
    const connection = new Connection(relay);
    connection.#socket = await Socket.open(WebSocketOf, url, {
      frame: (frame) => connection.#take(frame),
      ended: (why) => connection.#fail(lost(why)),
    });
    return connection;
  }

  /** End the connection; whatever waits for it fails. */
  async close(): Promise<void> {
    this.#fail(lost(''));
    await this.#socket?.close();
  }

  /** Send a message that is not answered. Rejects with `connection-lost`. */
  async send(message: ClientMessage): Promise<void> {
    const frame = encodeClientMessage(message);
    if (this.#end !== undefined || !(await this.#socket?.send(frame))) {
      throw this.#end ?? lost('');
    }
  }

  /**
   * Send a request, in one message or several with the same number; what it is answered.
   *
   * Rejects with `Refused` if the server answers with an error, with `ConnectionLost` if it never will.
   */
  async request(...parts: readonly Request[]): Promise<string> {
    if (this.#end !== undefined) {
      throw this.#end;
    }
    const number = (this.#number += 1);
    let isAnswered = false;
    const answer = new Promise<Response>((resolve, reject) => this.#waiting.set(number, { resolve, reject }));
    answer.then(
      () => (isAnswered = true),
      () => (isAnswered = true),
    );
    try {
      for (const part of parts) {
        if (isAnswered) {
          break; // an upload that is refused goes no further
        }
        await this.send(part(number));
      }
      const response = await answer;
      if (!response.ok) {
        throw new Refused(response.result);
      }
      return response.result;
    } finally {
      this.#waiting.delete(number);
    }
  }

  #take(frame: Uint8Array): void {
    if (this.#end !== undefined) {
      return;
    }
    if (frame.length > MAX_FRAME_BYTES) {
      this.#fail(lost(`: the server sent a frame of ${frame.length} bytes`));
      void this.#socket?.close();
      return;
    }
    let message: ServerMessage;
    try {
      message = decodeServerMessage(frame);
    } catch (error) {
      if (!(error instanceof BadMessage)) {
        throw error;
      }
      console.warn(`pie-client: the server sent what is no message: ${error.message}`);
      return;
    }
    switch (message.type) {
      case 'response':
        this.#waiting.get(message.corr_id)?.resolve(message);
        break;
      case 'mcp_request':
        void this.#answer(message);
        break;
      default:
        this.inboxes.put(message);
    }
  }

  async #answer(request: McpRequest): Promise<void> {
    if (this.#relay === undefined) {
      return; // the server asks only those that registered one
    }
    const frame = frameOf(await this.#relay(request));
    if (this.#end === undefined) {
      await this.#socket?.send(frame);
    }
  }

  #fail(error: ConnectionLost): void {
    if (this.#end !== undefined) {
      return;
    }
    this.#end = error;
    for (const waiting of this.#waiting.values()) {
      waiting.reject(error);
    }
    this.inboxes.end(error);
  }
}

/** The frame of an answer, or that it is too long for a message: whoever asked must learn it. */
function frameOf(answer: McpResponse): Uint8Array<ArrayBuffer> {
  try {
    return encodeClientMessage(answer);
  } catch (error) {
    const result = JSON.stringify({ code: SERVER_ERROR, message: line(error) });
    return encodeClientMessage({ ...answer, ok: false, result });
  }
}

function lost(why: string): ConnectionLost {
  return new ConnectionLost('connection-lost', `the connection with the server has ended${why}`);
}
