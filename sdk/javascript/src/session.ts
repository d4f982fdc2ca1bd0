/** The client that launched the program. */

import * as wit from 'pie:core/session';

import { u8Array } from './arrays.ts';
import { InferletError } from './errors.ts';
import * as loop from './loop.ts';
import { bytes, text } from './numbers.ts';

/** Send a message: text as it is, anything else as JSON. */
export function send(message: unknown): void {
  wit.send(text(typeof message === 'string' ? message : (JSON.stringify(message) ?? 'null'), 'a message'));
}

/** Send bytes as a file, at most 4,000,000. */
export function sendFile(data: Uint8Array): void {
  wit.sendFile(bytes(data, 'a file'));
}

/** Wait for the next text of the client, signals included. Throws `session-closed` if none can come any more. */
export async function receive(): Promise<string> {
  return (await loop.text(wit.receive())) ?? closed();
}

/** Wait for the next file of the client. Throws `session-closed` if none can come any more. */
export async function receiveFile(): Promise<Uint8Array> {
  return u8Array((await loop.blob(wit.receiveFile())) ?? closed());
}

function closed(): never {
  throw new InferletError('session-closed', 'the client sends nothing any more');
}
