/** Bytes that travel in chunks, named by the BLAKE3 hash of the whole: cut apart here, put together there. */

import { blake3 } from '@noble/hashes/blake3.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';

import { ClientError } from './errors.js';

export const CHUNK_BYTES = 256 << 10;

/** Chunks that do not make up what was announced. */
export class BadTransfer extends ClientError {}

/** A piece of some bytes, with its place among `total` pieces; no bytes are one empty piece. */
export interface Chunk {
  readonly index: number;
  readonly total: number;
  readonly data: Uint8Array;
}

/** The BLAKE3 hash of bytes, or of a text as UTF-8: 64 lower-case hexadecimal digits. */
export function contentHash(data: Uint8Array | string): string {
  return bytesToHex(blake3(typeof data === 'string' ? utf8ToBytes(data) : data));
}

/** The chunks of the bytes, in order. */
export function* split(data: Uint8Array): Generator<Chunk> {
  const total = Math.max(1, Math.ceil(data.length / CHUNK_BYTES));
  for (let index = 0; index < total; index++) {
    yield { index, total, data: data.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES) };
  }
}

/** The chunks of one transfer that have come so far, of which there may be a bounded number of bytes. */
export class Assembly {
  readonly #expectedHash: string;
  readonly #totalChunks: number;
  readonly #maxBytes: number;
  readonly #pieces: Uint8Array[] = [];
  readonly #hash = blake3.create();
  #numBytes = 0;

  constructor(expectedHash: string, totalChunks: number, maxBytes: number) {
    this.#expectedHash = expectedHash;
    this.#totalChunks = totalChunks;
    this.#maxBytes = maxBytes;
  }

  /**
   * Take the next chunk; the whole once the last has come.
   *
   * Throws `upload-out-of-order`, `upload-count-mismatch`, `upload-too-large` or `upload-hash-mismatch`.
   */
  add({ index, total, data }: Chunk): Uint8Array | undefined {
    const expected = this.#pieces.length;
    if (index !== expected) {
      throw new BadTransfer('upload-out-of-order', `a chunk out of order: expected ${expected}, got ${index}`);
    }
    if (total !== this.#totalChunks || total === 0) {
      const wanted = this.#totalChunks || 'at least 1';
      throw new BadTransfer('upload-count-mismatch', `another number of chunks: expected ${wanted}, got ${total}`);
    }
    if (this.#numBytes + data.length > this.#maxBytes) {
      throw new BadTransfer('upload-too-large', `more than ${this.#maxBytes >> 20} MiB`);
    }
    this.#pieces.push(data);
    this.#numBytes += data.length;
    this.#hash.update(data);
    return this.#pieces.length === this.#totalChunks ? this.#whole() : undefined;
  }

  #whole(): Uint8Array {
    const found = bytesToHex(this.#hash.digest());
    if (found !== this.#expectedHash) {
      const expected = this.#expectedHash.slice(0, 100);
      throw new BadTransfer('upload-hash-mismatch', `the bytes have the BLAKE3 hash ${found}, not ${expected}`);
    }
    const whole = new Uint8Array(this.#numBytes);
    let at = 0;
    for (const piece of this.#pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}
