/** What the server has sent of each process and nobody has read yet. */

import { Assembly, BadTransfer } from './chunks.js';
import { ConnectionLost, type ClientError } from './errors.js';
import type { File, ProcessEvent } from './messages.js';

const MAX_FILE_BYTES = 1 << 30;
const MAX_EARLY = 256;
const MANY_READ = 1024;

/** Something a process said, or how it ended; `return` (its value is JSON) and `error` come once and are the last. */
export type Event =
  | { readonly kind: ProcessEvent['event']; readonly value: string }
  | { readonly kind: 'file'; readonly value: Uint8Array };

interface Reader {
  resolve(event: Event): void;
  reject(error: ClientError): void;
}

/** Events of one process, in order. */
export class Inbox {
  #events: Event[] = [];
  #numRead = 0;
  readonly #readers: Reader[] = [];
  readonly #files = new Map<string, Assembly>();
  #end: ClientError | undefined;

  /** Whether nothing more will come. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** Take in what came; a file becomes an event with its last chunk. */
  put(message: ProcessEvent | File): void {
    if (message.type === 'file') {
      const value = this.#add(message);
      if (value !== undefined) {
        this.#tell({ kind: 'file', value });
      }
      return;
    }
    this.#tell({ kind: message.event, value: message.value });
    if (message.event === 'return' || message.event === 'error') {
      this.end(new ConnectionLost('process-ended', `process ${message.process_id} has ended`));
    }
  }

  /** Nothing more will come, for this reason. */
  end(error: ClientError): void {
    this.#end ??= error;
    for (const reader of this.#readers.splice(0)) {
      reader.reject(this.#end);
    }
  }

  /** The next event; rejects with the reason once nothing is left and nothing will come. */
  async get(): Promise<Event> {
    const event = this.#events[this.#numRead];
    if (event !== undefined) {
      this.#numRead += 1;
      if (this.#numRead === this.#events.length || this.#numRead === MANY_READ) {
        this.#events = this.#events.slice(this.#numRead);
        this.#numRead = 0;
      }
      return event;
    }
    if (this.#end !== undefined) {
      throw this.#end;
    }
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  #tell(event: Event): void {
    const reader = this.#readers.shift();
    if (reader === undefined) {
      this.#events.push(event);
    } else {
      reader.resolve(event);
    }
  }

  #add(message: File): Uint8Array | undefined {
    const { file_hash: name, chunk_index: index, total_chunks: total, chunk_data: data } = message;
    const assembly = this.#files.get(name) ?? new Assembly(name, total, MAX_FILE_BYTES);
    this.#files.set(name, assembly);
    try {
      const whole = assembly.add({ index, total, data });
      if (whole !== undefined) {
        this.#files.delete(name);
      }
      return whole;
    } catch (error) {
      this.#files.delete(name);
      if (!(error instanceof BadTransfer)) {
        throw error;
      }
      this.end(error);
      return undefined;
    }
  }
}

/** The inboxes of a connection by process; one is there from the first message, asked for or not. */
export class Inboxes {
  readonly #inboxes = new Map<string, Inbox>();
  readonly #early = new Set<string>();
  #end: ClientError | undefined;

  /** The inbox of a process that the client knows; what came before it knew is in it. */
  open(processId: string): Inbox {
    const found = this.#inboxes.get(processId);
    if (found !== undefined && (this.#early.delete(processId) || !found.isOver)) {
      if (found.isOver) {
        this.#inboxes.delete(processId); // its process holds it
      }
      return found;
    }
    const inbox = new Inbox();
    if (this.#end !== undefined) {
      inbox.end(this.#end);
    } else {
      this.#inboxes.set(processId, inbox);
    }
    return inbox;
  }

  /**
   * The inbox of a process while it is asked for its events, which may come at once with the answer.
   *
   * It is given up if that fails.
   */
  async opening(processId: string, ask: () => Promise<unknown>): Promise<Inbox> {
    const known = this.#inboxes.get(processId);
    const inbox = this.open(processId);
    try {
      await ask();
      return inbox;
    } catch (error) {
      if (inbox !== known && this.#inboxes.get(processId) === inbox) {
        this.#inboxes.delete(processId);
      }
      throw error;
    }
  }

  /** Take in what came of a process; of those that nobody has asked for, a few are kept. */
  put(message: ProcessEvent | File): void {
    const processId = message.process_id;
    const inbox = this.#inboxes.get(processId) ?? this.#first(processId);
    inbox.put(message);
    if (inbox.isOver && !this.#early.has(processId)) {
      this.#inboxes.delete(processId); // its process holds it
    }
  }

  /** The connection has ended, for this reason. */
  end(error: ClientError): void {
    this.#end = error;
    for (const inbox of this.#inboxes.values()) {
      inbox.end(error);
    }
  }

  #first(processId: string): Inbox {
    const [oldest] = this.#early;
    if (oldest !== undefined && this.#early.size === MAX_EARLY) {
      this.#early.delete(oldest);
      this.#inboxes.delete(oldest);
    }
    const inbox = new Inbox();
    this.#early.add(processId);
    this.#inboxes.set(processId, inbox);
    return inbox;
  }
}
