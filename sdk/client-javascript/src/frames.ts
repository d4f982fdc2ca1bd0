/** Messages as frames: MessagePack, checked both ways against the fields that each message has. */

import { decode, encode } from '@msgpack/msgpack';

import { ClientError, line } from './errors.js';
import { CLIENT_MESSAGES, SERVER_MESSAGES, type Fields, type Kind } from './messages.js';
import type { ClientMessage, ServerMessage } from './messages.js';

/** What the server takes, and sends; a longer frame ends the session. */
export const MAX_FRAME_BYTES = 4 << 20;

/** A frame that is no message. */
export class BadMessage extends Error {}

/**
 * The frame of a message.
 *
 * Throws `bad-argument` if a field holds what the server could not read: it would ignore the message, and never answer.
 * So it does if all are too long together.
 */
export function encodeClientMessage(message: ClientMessage): Uint8Array<ArrayBuffer> {
  const wrong = firstWrong(message, CLIENT_MESSAGES[message.type] ?? {});
  if (wrong !== undefined) {
    throw new ClientError('bad-argument', `${wrong} of ${message.type} is not what it must be`);
  }
  const frame = encode(message, { ignoreUndefined: true });
  if (frame.length > MAX_FRAME_BYTES) {
    const cause = `${message.type} would be a message of ${frame.length} bytes, more than ${MAX_FRAME_BYTES}`;
    throw new ClientError('bad-argument', cause);
  }
  return frame;
}

/** The message in a frame that a server sent. Throws `BadMessage`. */
export function decodeServerMessage(frame: Uint8Array): ServerMessage {
  let message: unknown;
  try {
    message = decode(frame);
  } catch (error) {
    throw new BadMessage(line(error));
  }
  const type = typeof message === 'object' && message !== null && 'type' in message ? message.type : undefined;
  if (typeof type !== 'string' || !Object.hasOwn(SERVER_MESSAGES, type)) {
    throw new BadMessage('a message without a known type');
  }
  const wrong = firstWrong(message as object, SERVER_MESSAGES[type]!);
  if (wrong !== undefined) {
    throw new BadMessage(`${wrong} of ${type} is not there, or of another type`);
  }
  return message as ServerMessage;
}

function firstWrong(message: object, fields: Fields): string | undefined {
  const values = message as { readonly [field: string]: unknown };
  return Object.keys(fields).find((field) => {
    const { kind, optional } = fields[field]!;
    return !(optional && (values[field] ?? null) === null) && !holds(kind, values[field]);
  });
}

function holds(kind: Kind, value: unknown): boolean {
  if (typeof kind !== 'string') {
    return kind.some((word) => word === value);
  }
  switch (kind) {
    case 'bool':
      return typeof value === 'boolean';
    case 'bytes':
      return ArrayBuffer.isView(value);
    case 'str':
      return typeof value === 'string' && value.isWellFormed();
    case 'u32':
      return isWhole(value) && value < 2 ** 32;
    case 'u64':
      return isWhole(value);
    case 'str[]':
      return Array.isArray(value) && value.every((item) => holds('str', item));
    case 'u64?[]':
      return Array.isArray(value) && value.every((item) => item === null || isWhole(item));
  }
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
