/** JSON text inside messages. */

import { ClientError, line } from './errors.js';

/** The value of a text that the server sent. Throws `bad-answer`. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ClientError('bad-answer', `the server sent what is no JSON: ${line(error)}`);
  }
}

/** The list of texts that the server sent. Throws `bad-answer`. */
export function parsedTexts(text: string): string[] {
  const value = parsed(text);
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw new ClientError('bad-answer', 'the server sent another thing than a list of texts');
  }
  return value;
}

/** The text of a value; nothing is an empty object. Throws `bad-argument`. */
export function written(value: unknown): string {
  try {
    const text = JSON.stringify(value ?? {});
    if (text !== undefined) {
      return text;
    }
  } catch (error) {
    throw new ClientError('bad-argument', `the input cannot be written as JSON: ${line(error)}`);
  }
  throw new ClientError('bad-argument', `the input cannot be written as JSON: it is a ${typeof value}`);
}
