/**
 * The event loop of a program: timers and operations of the host, all waited for in one call of the host.
 *
 * The engine's own loop is left with a single timer of zero length per turn, after which all microtasks have run.
 */

import type { Generation, Progress } from 'pie:ext/generation';
import { waitMany, type Outcome, type Waitable } from 'pie:ext/wait';
import type { FutureOutput, Output } from 'pie:core/inference';
import type { FutureBlob, FutureString } from 'pie:core/types';
import type { Pollable } from 'wasi:io/poll@0.2.4';

import { fromHost, InferletError } from './errors.ts';

const NO_LIMIT_US = 2n ** 64n - 1n;
/** How long the loop sleeps at most while the engine's own operations go on: those are not among what it waits for. */
const ENGINE_MS = 1;
const soon: (turn: () => void) => void = ((later) => (turn: () => void) => void later(turn, 0))(globalThis.setTimeout);

/** One operation of the host that the program waits for. */
interface Wait {
  readonly waitable: Waitable;
  readonly handle: Disposable | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface Timer {
  dueMs: number;
  readonly everyMs: number | undefined;
  readonly fire: () => void;
}

/** What the loop tells whoever runs the program. */
export interface Watcher {
  /** Every task has run as far as it can. */
  rested(): void;
  /** Nothing can happen any more. */
  idle(): void;
  /** A timer's function threw. */
  threw(error: unknown): void;
}

/** Timers and operations of one program. */
export class EventLoop {
  #waits: Wait[] = [];
  readonly #timers = new Map<number, Timer>();
  #numTimers = 0;
  #numEngine = 0;
  #watcher: Watcher | undefined;
  #isScheduled = false;

  /** Begin to turn; nothing was waited for until now. */
  start(watcher: Watcher): void {
    this.#watcher = watcher;
    this.#schedule();
  }

  /** Stop, and release what is still waited for. */
  close(): void {
    this.#watcher = undefined;
    this.#timers.clear();
    for (const { handle } of this.#waits.splice(0)) handle?.[Symbol.dispose]();
  }

  /** What comes of `waitable`; `handle` is released with it. */
  wait(waitable: Waitable, handle: Disposable | undefined): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waits.push({ waitable, handle, resolve, reject });
      this.#schedule();
    });
  }

  /** Wait no longer: release what was waited for, and reject with `reason`. */
  giveUp(waitable: Waitable, reason: unknown): void {
    const index = this.#waits.findIndex((wait) => wait.waitable === waitable);
    for (const { handle, reject } of index < 0 ? [] : this.#waits.splice(index, 1)) {
      handle?.[Symbol.dispose]();
      reject(reason);
    }
  }

  /** What comes of an operation of the engine, which goes on only while the loop does not sleep. */
  async engine<T>(operation: Promise<T>): Promise<T> {
    this.#numEngine += 1;
    this.#schedule();
    try {
      return await operation;
    } finally {
      this.#numEngine -= 1;
    }
  }

  /** Call `fire` after `delayMs`, and again each `delayMs` if it `repeats`. */
  setTimer(fire: () => void, delayMs: number, { repeats }: { repeats: boolean }): number {
    const delay = delayMs > 0 ? delayMs : 0;
    this.#numTimers += 1;
    const everyMs = repeats ? Math.max(1, delay) : undefined;
    this.#timers.set(this.#numTimers, { dueMs: performance.now() + delay, everyMs, fire });
    this.#schedule();
    return this.#numTimers;
  }

  clearTimer(id: number): void {
    this.#timers.delete(id);
  }

  #schedule(): void {
    if (this.#isScheduled || this.#watcher === undefined) return;
    this.#isScheduled = true;
    soon(() => this.#turn());
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#watcher?.rested();
    if (this.#watcher === undefined) return;
    if (this.#waits.length === 0 && this.#timers.size === 0 && this.#numEngine === 0) {
      this.#watcher.idle();
      return;
    }
    this.#sleep();
    this.#fireTimers();
    this.#schedule();
  }

  /** Wait for any of the operations under way, or for the next timer, in one crossing. */
  #sleep(): void {
    const next = Math.min(...Array.from(this.#timers.values(), (timer) => timer.dueMs)) - performance.now();
    const due = this.#numEngine > 0 ? Math.min(next, ENGINE_MS) : next;
    if (this.#waits.length === 0 && due <= 0) return;
    const timeoutUs = due === Infinity ? NO_LIMIT_US : BigInt(Math.ceil(Math.max(0, due) * 1000));
    const finished = waitMany(this.#waits.map(({ waitable }) => waitable), timeoutUs);
    if (finished.length === 0) return;
    const waits = this.#waits;
    const settled = new Set(finished.map(([index]) => index));
    this.#waits = waits.filter((_, index) => !settled.has(index));
    for (const [index, outcome] of finished) settle(waits[index]!, outcome);
  }

  #fireTimers(): void {
    const now = performance.now();
    const due = [...this.#timers].filter(([, { dueMs }]) => dueMs <= now).sort(([, a], [, b]) => a.dueMs - b.dueMs);
    for (const [id, timer] of due) {
      if (!this.#timers.has(id)) continue; // one that fired just now has cleared it
      if (timer.everyMs === undefined) this.#timers.delete(id);
      else timer.dueMs = now + timer.everyMs;
      try {
        timer.fire();
      } catch (error) {
        this.#watcher?.threw(error);
      }
    }
  }
}

/** The loop of this component. An instance runs one program, so there is one. */
export const LOOP = new EventLoop();

/** The output of a forward pass. Throws if the pass failed. */
export async function output(handle: FutureOutput): Promise<Output> {
  const result = await LOOP.wait({ tag: 'output', val: handle }, handle);
  if (result === undefined) throw new InferletError('no-output', 'the server finished a forward pass without an output');
  return result as Output;
}

/** Text that arrives later; undefined if it never will. */
export async function text(handle: FutureString): Promise<string | undefined> {
  return (await LOOP.wait({ tag: 'text', val: handle }, handle)) as string | undefined;
}

/** Bytes that arrive later; undefined if they never will. */
export async function blob(handle: FutureBlob): Promise<Uint8Array | undefined> {
  return (await LOOP.wait({ tag: 'blob', val: handle }, handle)) as Uint8Array | undefined;
}

/** What is new in a generation. The handle stays open. */
export async function progress(handle: Generation): Promise<Progress> {
  return (await LOOP.wait({ tag: 'generation', val: handle }, undefined)) as Progress;
}

/** Resolves when a pollable is ready, and releases it. Throws the reason of a signal that fires before. */
export async function ready(handle: Pollable, signal?: AbortSignal): Promise<void> {
  const waitable: Waitable = { tag: 'pollable', val: handle };
  const stop = () => LOOP.giveUp(waitable, signal?.reason);
  signal?.addEventListener('abort', stop);
  try {
    await LOOP.wait(waitable, handle);
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

/** What comes of an operation of the engine, such as the reading of a stream. */
export async function engine<T>(operation: Promise<T>): Promise<T> {
  return await LOOP.engine(operation);
}

function settle(wait: Wait, outcome: Outcome): void {
  wait.handle?.[Symbol.dispose]();
  switch (outcome.tag) {
    case 'ready':
      wait.resolve(undefined);
      break;
    case 'failed':
      wait.reject(fromHost(outcome.val));
      break;
    case 'generation':
      if (outcome.val.tag === 'ok') wait.resolve(outcome.val.val);
      else wait.reject(fromHost(outcome.val.val));
      break;
    default:
      wait.resolve(outcome.val);
  }
}
