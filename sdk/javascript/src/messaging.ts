/** Messages between the programs of one user, by topic. */

import * as wit from 'pie:core/messaging';

import { InferletError } from './errors.ts';
import { Handle } from './handle.ts';
import * as loop from './loop.ts';
import { text } from './numbers.ts';

/** Append to the queue of `topic`; exactly one `pull` gets the message. */
export function push(topic: string, message: string): void {
  wit.push(topic, text(message, 'a message'));
}

/** Wait for the next message of the queue. Throws `topic-closed` if none can come any more. */
export async function pull(topic: string): Promise<string> {
  const message = await loop.text(wit.pull(topic));
  if (message === undefined) throw new InferletError('topic-closed', `nothing can arrive in '${topic}' any more`);
  return message;
}

/** Tell every present subscriber of `topic`. */
export function broadcast(topic: string, message: string): void {
  wit.broadcast(topic, text(message, 'a message'));
}

/** Listen to `topic` from now on. */
export function subscribe(topic: string): Subscription {
  return new Subscription(wit.subscribe(topic));
}

/** Broadcasts of one topic: `for await (const message of subscription)`, declared with `using`. */
export class Subscription implements AsyncIterable<string>, Disposable {
  readonly #handle: Handle<wit.Subscription>;

  /** @internal */
  constructor(resource: wit.Subscription) {
    this.#handle = new Handle('subscription', resource);
  }

  /** Wait for the next message; undefined once unsubscribed. */
  async next(): Promise<string | undefined> {
    if (this.#handle.isReleased) return undefined;
    await loop.ready(this.#handle.wit.pollable());
    return this.#handle.isReleased ? undefined : this.#handle.wit.get();
  }

  /** End the subscription; messages not taken are lost. */
  unsubscribe(): void {
    if (this.#handle.isReleased) return;
    this.#handle.wit.unsubscribe();
    this.#handle[Symbol.dispose]();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<string> {
    for (let message = await this.next(); message !== undefined; message = await this.next()) yield message;
  }

  [Symbol.dispose](): void {
    this.unsubscribe();
  }
}
