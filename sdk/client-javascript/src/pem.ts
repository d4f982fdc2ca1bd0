/** Private keys as openssl writes them (PKCS#8 and PKCS#1, RFC 5208 and 8017), and the kinds of keys there are. */

import { ClientError } from './errors.js';

/** A kind of key that servers accept. */
export interface KeyKind {
  readonly name: 'Ed25519' | 'ECDSA' | 'RSASSA-PKCS1-v1_5';
  readonly importing: EcKeyImportParams | RsaHashedImportParams | Algorithm;
  readonly signing: EcdsaParams | Algorithm;
}

/** A key and what it is. */
export interface ImportedKey {
  readonly key: CryptoKey;
  readonly kind: KeyKind;
}

export const ED25519: KeyKind = {
  name: 'Ed25519',
  importing: { name: 'Ed25519' },
  signing: { name: 'Ed25519' },
};
export const RSA: KeyKind = {
  name: 'RSASSA-PKCS1-v1_5',
  importing: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  signing: { name: 'RSASSA-PKCS1-v1_5' },
};
export const P256: KeyKind = ecdsa('P-256', 'SHA-256');
export const P384: KeyKind = ecdsa('P-384', 'SHA-384');

const RSA_ALGORITHM = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/** The start of PKCS#8's `AlgorithmIdentifier` of each kind, in hexadecimal. */
const ALGORITHMS: readonly (readonly [string, KeyKind])[] = [
  ['06032b6570', ED25519],
  ['06092a864886f70d010101', RSA],
  ['06072a8648ce3d020106082a8648ce3d030107', P256],
  ['06072a8648ce3d020106052b81040022', P384],
];

/** Import a key of a PEM block. Rejects with `bad-key`, or an error of WebCrypto. */
export async function importPem(label: string, der: Uint8Array): Promise<ImportedKey> {
  if (label === 'RSA PRIVATE KEY') {
    const wrapped = derOf(0x30, [0x02, 0x01, 0x00, ...RSA_ALGORITHM, ...derOf(0x04, [...der])]);
    return { kind: RSA, key: await crypto.subtle.importKey('pkcs8', wrapped, RSA.importing, false, ['sign']) };
  }
  if (label !== 'PRIVATE KEY') {
    throw new ClientError('bad-key', `a block ${label} is none of OpenSSH, PKCS#8 and PKCS#1`);
  }
  const kind = kindOf(der);
  return { kind, key: await crypto.subtle.importKey('pkcs8', Uint8Array.from(der), kind.importing, false, ['sign']) };
}

/** The bytes of base64 text, which may have line breaks. Throws if it is none. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replace(/\s+/g, '')), (character) => character.charCodeAt(0));
}

/** A value of DER: tag, length, content. */
export function derOf(tag: number, content: readonly number[]): Uint8Array<ArrayBuffer> {
  const size = content.length;
  if (size < 0x80) {
    return Uint8Array.of(tag, size, ...content);
  }
  const length = size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff]; // no key has 64 KiB
  return Uint8Array.from([tag, ...length, ...content]);
}

/** Outer sequence, version, then the algorithm's sequence with its identifier. */
function kindOf(der: Uint8Array): KeyKind {
  const hex = Array.from(der.subarray(0, 64), (byte) => byte.toString(16).padStart(2, '0')).join('');
  const algorithm = /^30(?:8[12](?:..){1,2}|..)02010[01]30..(.*)$/.exec(hex)?.[1] ?? '';
  const found = ALGORITHMS.find(([start]) => algorithm.startsWith(start));
  if (found === undefined) {
    throw new ClientError('bad-key', 'the key is none of RSA, Ed25519, ECDSA P-256 and ECDSA P-384');
  }
  return found[1];
}

function ecdsa(namedCurve: string, hash: string): KeyKind {
  return { name: 'ECDSA', importing: { name: 'ECDSA', namedCurve }, signing: { name: 'ECDSA', hash } };
}
