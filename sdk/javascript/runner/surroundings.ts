/** The global functions of a program that are ours: timers on the one event loop, `fetch`, and streams. */

import { fetch } from '../src/http.ts';
import { LOOP } from '../src/loop.ts';
import * as streams from './streams.ts';

type Callback = (...args: unknown[]) => void;

/** Replace them. */
export function install(): void {
  streams.install();
  Object.assign(globalThis, {
    setTimeout: timer({ repeats: false }),
    setInterval: timer({ repeats: true }),
    clearTimeout: (id: number) => LOOP.clearTimer(id),
    clearInterval: (id: number) => LOOP.clearTimer(id),
    fetch,
  });
  // The engine's own `timeout` knows no loop but its own, `abort` needs a reason, and `throwIfAborted` ends the program.
  AbortSignal.timeout = timeout;
  AbortSignal.abort = abort;
  AbortSignal.prototype.throwIfAborted = function (this: AbortSignal): void {
    if (this.aborted) throw this.reason;
  };
}

function timer(options: { repeats: boolean }): (callback: Callback, delayMs?: number, ...args: unknown[]) => number {
  return (callback, delayMs = 0, ...args) => LOOP.setTimer(() => callback(...args), delayMs, options);
}

function timeout(delayMs: number): AbortSignal {
  const controller = new AbortController();
  LOOP.setTimer(() => controller.abort(new DOMException('the time is over', 'TimeoutError')), delayMs, { repeats: false });
  return controller.signal;
}

function abort(reason: unknown = new DOMException('the operation was given up', 'AbortError')): AbortSignal {
  const controller = new AbortController();
  controller.abort(reason);
  return controller.signal;
}
