/** Opens WebSockets and sends frames through them; knows nothing of what the frames say. */

import { ConnectionLost, line } from './errors.js';

const OPEN_MS = 10_000;
const CLOSE_MS = 1_000;
const MAX_UNSENT_BYTES = 1 << 20;
const LOOK_AGAIN_MS = 2;
const NO_CODES: readonly number[] = [1005, 1006]; // stand for none

/** The class `WebSocket`, as browsers and Node.js 22 have it. */
export type WebSocketClass = new (url: string) => WebSocket;

/** What is told of an open WebSocket. */
export interface Listener {
  frame(frame: Uint8Array): void;
  /** It has ended; `why` is empty or begins with a space. */
  ended(why: string): void;
}

/** An open WebSocket. */
export class Socket {
  readonly #websocket: WebSocket;
  readonly #closed: Promise<void>;

  private constructor(websocket: WebSocket) {
    this.#websocket = websocket;
    this.#closed = new Promise((resolve) => websocket.addEventListener('close', () => resolve(), { once: true }));
  }

  /** Connect. Rejects with `cannot-connect`. */
  static async open(WebSocketOf: WebSocketClass, url: string, listener: Listener): Promise<Socket> {
    let websocket: WebSocket;
    try {
      websocket = new WebSocketOf(url);
    } catch (error) {
      throw new ConnectionLost('cannot-connect', `${url}: ${line(error)}`);
    }
    websocket.binaryType = 'arraybuffer';
    websocket.addEventListener('message', ({ data }) => {
      if (typeof data !== 'string') {
        listener.frame(new Uint8Array(data as ArrayBuffer));
      }
    });
    websocket.addEventListener('close', ({ code, reason }) => {
      listener.ended(NO_CODES.includes(code) ? '' : ` (${`${code} ${reason}`.trimEnd()})`);
    });
    const socket = new Socket(websocket);
    await opened(websocket, url);
    return socket;
  }

  /** Send a frame, and wait until not much is left unsent; false if it is closed. */
  async send(frame: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const websocket = this.#websocket;
    if (websocket.readyState !== websocket.OPEN) {
      return false;
    }
    websocket.send(frame);
    while (websocket.bufferedAmount > MAX_UNSENT_BYTES && websocket.readyState === websocket.OPEN) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS)); // nothing tells when it was sent
    }
    return true;
  }

  /** Close it; resolves when that is done, or the other side does not answer for a second. */
  async close(): Promise<void> {
    this.#websocket.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, CLOSE_MS)));
    await Promise.race([this.#closed, late]);
    clearTimeout(timer);
    cutOff(this.#websocket);
  }
}

function opened(websocket: WebSocket, url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let why = 'nobody answers, or what answers speaks another protocol';
    const fail = (): void => reject(new ConnectionLost('cannot-connect', `${url}: ${why}`));
    const timer = setTimeout(() => {
      why = `no answer within ${OPEN_MS / 1000} s`;
      websocket.close();
      fail();
    }, OPEN_MS);
    websocket.addEventListener('error', (event) => {
      why = 'message' in event && event.message ? line(event.message) : why; // browsers do not tell
    });
    websocket.addEventListener('close', () => (clearTimeout(timer), fail()), { once: true });
    websocket.addEventListener('open', () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** The package ws waits half a minute for the other side; it can be told not to. */
function cutOff(websocket: WebSocket & { terminate?: () => void }): void {
  if (websocket.readyState !== websocket.CLOSED) {
    websocket.terminate?.();
  }
}
