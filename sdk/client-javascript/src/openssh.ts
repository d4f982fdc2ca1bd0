/** Private keys as ssh-keygen writes them (the file PROTOCOL.key of OpenSSH), without a passphrase. */

import { ClientError } from './errors.js';
import { ED25519, P256, P384, RSA, type ImportedKey, type KeyKind } from './pem.js';

const MAGIC = 'openssh-key-v1\0';

/** Import the one key of a file. Rejects with `bad-key`, or an error of WebCrypto. */
export async function importOpenSsh(file: Uint8Array): Promise<ImportedKey> {
  const fields = new Fields(file);
  if (fields.take(MAGIC.length).some((byte, index) => byte !== MAGIC.charCodeAt(index))) {
    throw new ClientError('bad-key', 'the key is no file of OpenSSH');
  }
  if (fields.text() !== 'none') {
    throw new ClientError('bad-key', 'the private key has a passphrase');
  }
  fields.bytes(); // how a passphrase becomes a key
  fields.bytes(); // and its parameters
  if (fields.number() !== 1) {
    throw new ClientError('bad-key', 'the file holds several keys');
  }
  fields.bytes(); // the public half
  const secret = new Fields(fields.bytes());
  if (secret.number() !== secret.number()) {
    throw new ClientError('bad-key', 'the key is damaged');
  }
  const [kind, jwk] = read(secret);
  return { kind, key: await crypto.subtle.importKey('jwk', jwk, kind.importing, false, ['sign']) };
}

/** Numbers and byte strings, one after the other. */
class Fields {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  take(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#data.length) {
      throw new ClientError('bad-key', 'the key ends too early');
    }
    const taken = this.#data.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(): number {
    return this.take(4).reduce((value, byte) => value * 256 + byte, 0);
  }

  bytes(): Uint8Array {
    return this.take(this.number());
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }

  /** A number of any size. */
  large(): bigint {
    return this.bytes().reduce((value, byte) => value * 256n + BigInt(byte), 0n);
  }
}

function read(secret: Fields): [KeyKind, JsonWebKey] {
  const name = secret.text();
  switch (name) {
    case 'ssh-ed25519': {
      const x = secret.bytes();
      return [ED25519, { kty: 'OKP', crv: 'Ed25519', x: base64url(x), d: base64url(secret.bytes().subarray(0, 32)) }];
    }
    case 'ecdsa-sha2-nistp256':
      return [P256, curvePoint(secret, 'P-256', 32)];
    case 'ecdsa-sha2-nistp384':
      return [P384, curvePoint(secret, 'P-384', 48)];
    case 'ssh-rsa':
      return [RSA, rsa(secret)];
    default:
      throw new ClientError('bad-key', `a key ${name} is none of RSA, Ed25519, ECDSA P-256 and ECDSA P-384`);
  }
}

function curvePoint(secret: Fields, crv: string, size: number): JsonWebKey {
  secret.bytes(); // the curve's name again
  const point = secret.bytes(); // 4, x, y
  const x = base64url(point.subarray(1, 1 + size));
  const y = base64url(point.subarray(1 + size));
  return { kty: 'EC', crv, x, y, d: base64url(digits(secret.large(), size)) };
}

function rsa(secret: Fields): JsonWebKey {
  const [n, e, d, qi, p, q] = Array.from({ length: 6 }, () => secret.large()) as [
    bigint, bigint, bigint, bigint, bigint, bigint,
  ];
  const numbers = { n, e, d, p, q, dp: d % (p - 1n), dq: d % (q - 1n), qi };
  const fields = Object.entries(numbers).map(([name, value]) => [name, base64url(digits(value))]);
  return { kty: 'RSA', ...(Object.fromEntries(fields) as JsonWebKey) };
}

/** A number's bytes, the highest first, at least `size`. */
function digits(value: bigint, size = 1): Uint8Array {
  const hex = value.toString(16);
  const even = hex.padStart(Math.max(size * 2, hex.length + (hex.length % 2)), '0');
  return Uint8Array.from(even.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
