/** Low-rank adapters of a model, named per user. */

import * as wit from 'pie:core/adapter';

import { call } from './errors.ts';
import { Handle } from './handle.ts';
import type { Model } from './model.ts';

/** An adapter in the server's registry. It stays there when the program ends, until `destroy`. */
export class Adapter implements Disposable {
  readonly #handle: Handle<wit.Adapter>;

  private constructor(resource: wit.Adapter) {
    this.#handle = new Handle('adapter', resource);
  }

  /** @internal */
  get wit(): wit.Adapter {
    return this.#handle.wit;
  }

  /** A new, empty adapter. Throws `adapter-exists`; `bad-adapter-name` if it is empty, very long or not printable. */
  static create(model: Model, name: string): Adapter {
    return new Adapter(call(() => wit.Adapter.create(model.wit, name)));
  }

  /** The adapter of that name, if there is one. */
  static open(model: Model, name: string): Adapter | undefined {
    const resource = call(() => wit.Adapter.open(model.wit, name));
    return resource && new Adapter(resource);
  }

  /** A copy under another name; whatever uses the copy throws what is wrong with the name. */
  fork(newName: string): Adapter {
    return new Adapter(call(() => this.wit.fork(newName)));
  }

  /** Write the weights to a file. */
  save(path: string): void {
    call(() => this.wit.save(path));
  }

  /** Read weights from a file. */
  load(path: string): void {
    call(() => this.wit.load(path));
  }

  /** Remove it from the registry. */
  destroy(): void {
    this.wit.destroy();
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}
