/** What a process has said, read by position: other than attaching, this takes nothing from whoever listens. */

import { ClientError } from './errors.js';
import { parsed } from './json.js';

/**
 * Something a process has said. The value is text: of a `file` its size in bytes, of `dropped` how many events are not
 * kept any more.
 */
export interface LogEvent {
  readonly kind: 'stdout' | 'stderr' | 'message' | 'file' | 'dropped' | 'return' | 'error';
  readonly value: string;
}

interface LogPage {
  readonly pieces: readonly { readonly event: LogEvent['kind']; readonly value: string; readonly more?: boolean }[];
  readonly position: number;
  readonly offset: number;
  readonly dropped: number;
  readonly end: number;
  readonly is_over: boolean;
}

/** What a process has said up to now; with `follow`, up to its last event. `ask` sends the record of a query. */
export async function* readLogs(
  ask: (record: string) => Promise<string>,
  processId: string,
  follow: boolean,
): AsyncGenerator<LogEvent, void, undefined> {
  let [position, offset] = [0, 0];
  let until: number | undefined;
  let parts: string[] = [];
  for (;;) {
    const page = pageOf(await ask(JSON.stringify({ process_id: processId, position, offset, wait: follow })));
    if (page.dropped > 0) {
      parts = [];
      yield { kind: 'dropped', value: String(page.dropped) };
    }
    for (const piece of page.pieces) {
      parts.push(piece.value);
      if (piece.more !== true) {
        yield { kind: piece.event, value: parts.join('') };
        parts = [];
      }
    }
    ({ position, offset } = page);
    until ??= page.end;
    if (position >= (follow ? page.end : until) && (page.is_over || !follow)) {
      return;
    }
  }
}

function pageOf(text: string): LogPage {
  const page = parsed(text);
  if (typeof page !== 'object' || page === null || !('pieces' in page) || !Array.isArray(page.pieces)) {
    throw new ClientError('bad-answer', 'the server sent another thing than a page of a transcript');
  }
  return page as LogPage;
}
