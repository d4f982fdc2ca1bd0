/**
 * Numbers and bytes on their way to the host.
 *
 * It takes numbers modulo 2^32 or 2^64 where nobody checks them first, and ends a program that hands over too much at
 * once: the engine copies at most 4 Mi entries in one call, and a pass has two lists.
 */

import { InferletError } from './errors.ts';

const U32_MAX = 0xffff_ffff;
const NUMBER_MAX = 0x7fff_ffff;
const U64_MAX = 2n ** 64n - 1n;
const S64_MAX = 2n ** 63n - 1n;
const MAX_ENTRIES = 2_000_000;
const MAX_BYTES = 4_000_000;

/**
 * A whole number from 0 to 2^31 - 1; throws `bad-number` of anything else.
 *
 * The interface has numbers up to 2^32 - 1 here, but the toolchain changes those from 2^31 on; in lists it does not.
 */
export function u32(value: number, what: string): number {
  return upTo(NUMBER_MAX, value, what);
}

/** A list of whole numbers from 0 to 2^32 - 1; throws `bad-number`, or `too-large` if there are too many. */
export function u32List(values: Iterable<number>, what: string): Uint32Array {
  const list = values instanceof Uint32Array ? values : Uint32Array.from(values, (value) => upTo(U32_MAX, value, what));
  return fitting(list, MAX_ENTRIES, `a list, with ${what} in each entry,`);
}

/** Several such lists, which have to fit together. */
export function u32Lists(values: Iterable<Iterable<number>>, what: string): Uint32Array[] {
  const lists = Array.from(values, (list) => u32List(list, what));
  const numEntries = lists.reduce((sum, { length }) => sum + length, lists.length);
  fitting({ length: numEntries }, MAX_ENTRIES, `a list of lists, with ${what} in each entry,`);
  return lists;
}

/** Text of at most 4 MB; throws `bad-argument` of anything else, and `too-large`. */
export function text(value: string, what: string): string {
  if (typeof value !== 'string') throw new InferletError('bad-argument', `${what} is no text`);
  return fitting(value, MAX_BYTES, what);
}

/** Bytes; throws `bad-argument` of anything else, and `too-large`. */
export function bytes(data: Uint8Array, what: string): Uint8Array {
  if (!(data instanceof Uint8Array)) throw new InferletError('bad-argument', `${what} is no Uint8Array`);
  return fitting(data, MAX_BYTES, what);
}

/** A seed from 0 to 2^64 - 1. */
export function u64(value: number | bigint, what: string): bigint {
  return whole(value, U64_MAX, what);
}

/** A seed from 0 to 2^63 - 1. The interface has signed numbers here, but the toolchain aborts at negative ones. */
export function s64(value: number | bigint, what: string): bigint {
  return whole(value, S64_MAX, what);
}

function upTo(max: number, value: number, what: string): number {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new InferletError('bad-number', `${what} is ${shown(value)}, not a whole number from 0 to ${max}`);
  }
  return value;
}

function fitting<T extends { readonly length: number }>(list: T, limit: number, what: string): T {
  if (list.length <= limit) return list;
  const cause = `${what} has ${list.length} entries, at most ${limit} can be handed over at once`;
  throw new InferletError('too-large', cause);
}

function whole(value: number | bigint, max: bigint, what: string): bigint {
  if (typeof value === 'bigint' ? value < 0n || value > max : !Number.isSafeInteger(value) || value < 0) {
    throw new InferletError('bad-number', `${what} is ${shown(value)}, not a whole number from 0 to ${max}`);
  }
  return BigInt(value);
}

function shown(value: unknown): string {
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
