/** Streams of bytes: those that the program makes, which need nothing but the program, and those of the engine. */

import * as loop from '../src/loop.ts';

const NativeStream = globalThis.ReadableStream;
const made = new WeakSet<object>();

/** Take note of the streams that the program makes, and give it `ReadableStream.from`, which the engine lacks. */
export function install(): void {
  globalThis.ReadableStream = new Proxy(NativeStream, {
    construct(target, args, newTarget): object {
      const stream = Reflect.construct(target, args, newTarget) as object;
      made.add(stream);
      return stream;
    },
  });
  Object.assign(NativeStream, { from });
}

/** The next part of a stream. */
export async function next(
  stream: ReadableStream<unknown>,
  reader: ReadableStreamDefaultReader<unknown>,
): Promise<ReadableStreamReadResult<unknown>> {
  const part = reader.read();
  // The engine's own streams go on only while the loop does not sleep, which costs something.
  return await (made.has(stream) ? part : loop.engine(part));
}

function from<T>(parts: AsyncIterable<T> | Iterable<T>): ReadableStream<T> {
  const iterator = Symbol.asyncIterator in parts ? parts[Symbol.asyncIterator]() : parts[Symbol.iterator]();
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await iterator.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
