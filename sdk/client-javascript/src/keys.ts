/** A user's private key, and the signature that proves to have it. */

import { bytesOf, derOf, importPem, type ImportedKey } from './pem.js';
import { ClientError, line } from './errors.js';
import { importOpenSsh } from './openssh.js';

const MIN_RSA_BITS = 2048;

/** An RSA (2048 bits or more), Ed25519, ECDSA P-256 or ECDSA P-384 key without a passphrase. */
export class PrivateKey {
  readonly #key: ImportedKey;

  private constructor(key: ImportedKey) {
    this.#key = key;
  }

  /** Take the text of a key: OpenSSH, PKCS#8 PEM or PKCS#1 PEM. Rejects with `bad-key`. */
  static async parse(text: string | Uint8Array): Promise<PrivateKey> {
    const key = await imported(typeof text === 'string' ? text : new TextDecoder().decode(text));
    const { modulusLength } = key.key.algorithm as Partial<RsaHashedKeyAlgorithm>;
    if (modulusLength !== undefined && modulusLength < MIN_RSA_BITS) {
      throw new ClientError('bad-key', `the RSA key has ${modulusLength} bits, fewer than ${MIN_RSA_BITS}`);
    }
    return new PrivateKey(key);
  }

  /** The signature: RSA with PKCS#1 v1.5 and SHA-256; ECDSA in DER with SHA-256 (P-256) or SHA-384 (P-384). */
  async sign(data: Uint8Array): Promise<Uint8Array> {
    const { key, kind } = this.#key;
    const signature = new Uint8Array(await crypto.subtle.sign(kind.signing, key, Uint8Array.from(data)));
    if (kind.name !== 'ECDSA') {
      return signature;
    }
    const half = signature.length / 2; // WebCrypto puts the two numbers side by side
    return derOf(0x30, [...number(signature.subarray(0, half)), ...number(signature.subarray(half))]);
  }
}

async function imported(text: string): Promise<ImportedKey> {
  if (globalThis.crypto?.subtle === undefined) {
    throw new ClientError('bad-key', 'there is no WebCrypto here: browsers have it on pages of https and localhost');
  }
  const block = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----([^-]+)-----END \1-----/.exec(text);
  if (block === null) {
    throw new ClientError('bad-key', 'the text holds no private key');
  }
  const [, label, body] = block as unknown as [string, string, string];
  if (label.startsWith('ENCRYPTED') || body.includes('ENCRYPTED')) {
    throw new ClientError('bad-key', 'the private key has a passphrase');
  }
  try {
    const bytes = bytesOf(body);
    return await (label === 'OPENSSH PRIVATE KEY' ? importOpenSsh(bytes) : importPem(label, bytes));
  } catch (error) {
    throw error instanceof ClientError ? error : new ClientError('bad-key', `the key cannot be read: ${line(error)}`);
  }
}

/** A number as DER has it: without zeros in front, but for one that keeps it from being negative. */
function number(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = first === -1 ? [0] : [...bytes.subarray(first)];
  return derOf(0x02, digits[0]! > 0x7f ? [0, ...digits] : digits);
}
