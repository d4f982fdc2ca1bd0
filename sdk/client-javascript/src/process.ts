/** A process on the server, as its client sees it: events come out, texts and files go in. */

import { contentHash, split } from './chunks.js';
import type { Connection } from './connection.js';
import { ProcessFailed } from './errors.js';
import type { Event, Inbox } from './inbox.js';
import { parsed } from './json.js';

/** A row of the list of processes. */
export interface ProcessInfo {
  readonly id: string;
  /** Who launched it. */
  readonly username: string;
  /** Name and version. */
  readonly program: string;
  /** JSON text. */
  readonly input: string;
  /** Since its launch. */
  readonly elapsedSeconds: number;
  /** Where it answers HTTP requests, if it is a daemon. */
  readonly port: number | undefined;
  /** Whether it has ended; then the input is not told. */
  readonly ended: boolean;
}

/**
 * A process that this session launched or attached to.
 *
 * Its events wait here until they are read: whoever lets a process talk should listen.
 */
export class Process implements AsyncIterable<Event> {
  readonly processId: string;
  readonly #connection: Connection;
  readonly #inbox: Inbox;

  /** Made by the client. */
  constructor(connection: Connection, processId: string, inbox = connection.inboxes.open(processId)) {
    this.processId = processId;
    this.#connection = connection;
    this.#inbox = inbox;
  }

  /** The next event. Rejects with `ConnectionLost` if none is left and none will come. */
  async recv(): Promise<Event> {
    return this.#inbox.get();
  }

  /** All events up to the last one. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Event, void, undefined> {
    for (;;) {
      const event = await this.recv();
      yield event;
      if (isLast(event)) {
        return;
      }
    }
  }

  /** What the process returns; other events are passed over. Rejects with `ProcessFailed` if it ends with an error. */
  async result(): Promise<unknown> {
    for (;;) {
      const event = await this.recv();
      if (event.kind === 'return') {
        return parsed(event.value);
      }
      if (event.kind === 'error') {
        throw new ProcessFailed(event.value);
      }
    }
  }

  /** Give it a text, which `session.receive` of the program takes. */
  async signal(text: string): Promise<void> {
    await this.#connection.send({ type: 'signal_process', process_id: this.processId, message: text });
  }

  /** Give it a file, which `session.receive_file` of the program takes. */
  async sendFile(data: Uint8Array): Promise<void> {
    const hash = contentHash(data);
    for (const chunk of split(data)) {
      await this.#connection.send({
        type: 'transfer_file',
        process_id: this.processId,
        file_hash: hash,
        chunk_index: chunk.index,
        total_chunks: chunk.total,
        chunk_data: chunk.data,
      });
    }
  }

  /** End it; its last event is an error. Rejects with `Refused` if it is not there any more, or somebody else's. */
  async terminate(): Promise<void> {
    await this.#connection.request((number) => ({
      type: 'terminate_process',
      corr_id: number,
      process_id: this.processId,
    }));
  }

  /** Ask for its events, for a process that was launched without. */
  async attach(): Promise<void> {
    await this.#connection.request((number) => ({
      type: 'attach_process',
      corr_id: number,
      process_id: this.processId,
    }));
  }
}

/** Whether the process has ended with an event. */
export function isLast(event: Event): boolean {
  return event.kind === 'return' || event.kind === 'error';
}
