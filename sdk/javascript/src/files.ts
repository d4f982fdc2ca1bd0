/**
 * The files of a program, in its folder `/scratch`, which is empty at its start and gone with it.
 *
 * A path begins with `/scratch/` or is relative to it. All calls answer at once.
 */

import { getDirectories } from 'wasi:filesystem/preopens@0.2.4';
import type { Descriptor, DescriptorFlags, ErrorCode, OpenFlags } from 'wasi:filesystem/types@0.2.4';

import { u8Array } from './arrays.ts';
import { hostPayload, InferletError } from './errors.ts';

const ROOT = '/scratch';
const CHUNK_BYTES = 1 << 20;
const ABSENT: ReadonlySet<string> = new Set(['file-not-found', 'not-a-directory']);

/** What is known of a file or directory. */
export interface FileInfo {
  readonly isFile: boolean;
  readonly isDirectory: boolean;
  /** In bytes; of a directory it means nothing. */
  readonly size: number;
  /** When it was last written. */
  readonly modified: Date;
}

/** The text of a file; what is no UTF-8 becomes replacement characters. */
export function readText(path: string): string {
  return new TextDecoder().decode(readBytes(path));
}

/** The bytes of a file. */
export function readBytes(path: string): Uint8Array {
  using file = open(path, {}, { read: true });
  const chunks: Uint8Array[] = [];
  let size = 0;
  for (let isOver = false; !isOver; ) {
    const [chunk, ends] = attempt(path, () => file.read(BigInt(CHUNK_BYTES), BigInt(size)));
    chunks.push(chunk);
    size += chunk.length;
    isOver = ends || chunk.length === 0;
  }
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(u8Array(chunk), offset);
    offset += chunk.length;
  }
  return bytes;
}

/** Write a file, in place of one that is there. */
export function writeText(path: string, text: string): void {
  writeBytes(path, new TextEncoder().encode(text));
}

/** Write a file, in place of one that is there. */
export function writeBytes(path: string, data: Uint8Array): void {
  using file = open(path, { create: true, truncate: true }, { read: true, write: true });
  writeAt(path, file, data, 0);
}

/** Add to the end of a file; it is made if there is none. */
export function append(path: string, data: string | Uint8Array): void {
  using file = open(path, { create: true }, { read: true, write: true });
  const { size } = attempt(path, () => file.stat());
  writeAt(path, file, typeof data === 'string' ? new TextEncoder().encode(data) : data, Number(size));
}

/** The names in a directory, sorted. */
export function list(path: string = ROOT): string[] {
  using directory = open(path, { directory: true }, { read: true });
  using entries = attempt(path, () => directory.readDirectory());
  const names: string[] = [];
  for (;;) {
    const entry = attempt(path, () => entries.readDirectoryEntry());
    if (entry === undefined) return names.sort();
    names.push(entry.name);
  }
}

/** What is known of a file or directory. */
export function stat(path: string): FileInfo {
  const found = below(path, (root, name) => root.statAt({}, name));
  const { seconds, nanoseconds } = found.dataModificationTimestamp ?? { seconds: 0n, nanoseconds: 0 };
  return {
    isFile: found.type === 'regular-file',
    isDirectory: found.type === 'directory',
    size: Number(found.size),
    modified: new Date(Number(seconds) * 1000 + nanoseconds / 1e6),
  };
}

/** Whether there is a file or directory. */
export function exists(path: string): boolean {
  try {
    stat(path);
    return true;
  } catch (error) {
    if (error instanceof InferletError && ABSENT.has(error.code)) return false;
    throw error;
  }
}

/** Make a directory; if `recursive`, also those above it, and it may be there already. */
export function mkdir(path: string, { recursive = false }: { recursive?: boolean } = {}): void {
  if (!recursive) {
    below(path, (root, name) => root.createDirectoryAt(name));
    return;
  }
  const parts = inside(path).split('/').filter((part) => part !== '' && part !== '.');
  for (let depth = 1; depth <= parts.length; depth += 1) {
    const each = parts.slice(0, depth).join('/');
    if (!exists(each) || !stat(each).isDirectory) mkdir(each);
  }
}

/** Remove a file or an empty directory; if `recursive`, also one that is not empty. */
export function remove(path: string, { recursive = false }: { recursive?: boolean } = {}): void {
  if (!stat(path).isDirectory) {
    below(path, (root, name) => root.unlinkFileAt(name));
    return;
  }
  if (recursive) for (const name of list(path)) remove(`${path}/${name}`, { recursive });
  below(path, (root, name) => root.removeDirectoryAt(name));
}

/** Move a file or directory, in place of a file that is there. */
export function rename(path: string, newPath: string): void {
  const newName = inside(newPath);
  below(path, (root, name) => root.renameAt(name, root, newName));
}

function open(path: string, how: OpenFlags, rights: DescriptorFlags): Descriptor {
  return below(path, (root, name) => root.openAt({}, name, how, rights));
}

function writeAt(path: string, file: Descriptor, data: Uint8Array, offset: number): void {
  for (let done = 0; done < data.length; ) {
    const chunk = data.subarray(done, done + CHUNK_BYTES);
    const place = BigInt(offset + done);
    done += Number(attempt(path, () => file.write(chunk, place)));
  }
}

/** Call with the folder, and with the path below it. */
function below<T>(path: string, call: (root: Descriptor, name: string) => T): T {
  const name = inside(path);
  const [first] = getDirectories();
  if (first === undefined) throw new InferletError('file-not-allowed', 'this program has no files');
  using root = first[0];
  return attempt(path, () => call(root, name));
}

function inside(path: string): string {
  if (!path.startsWith('/')) return path;
  if (path === ROOT || path.startsWith(`${ROOT}/`)) return path.slice(ROOT.length + 1) || '.';
  throw new InferletError('file-not-allowed', `${JSON.stringify(path)} is not below ${ROOT}`);
}

function attempt<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const code = hostPayload(error);
    throw typeof code === 'string' ? failure(path, code as ErrorCode) : error;
  }
}

function failure(path: string, code: ErrorCode): InferletError {
  const shown = JSON.stringify(path);
  switch (code) {
    case 'no-entry':
      return new InferletError('file-not-found', `there is no ${shown}`);
    case 'exist':
      return new InferletError('file-exists', `there is ${shown} already`);
    case 'is-directory':
      return new InferletError('is-a-directory', `${shown} is a directory`);
    case 'not-directory':
      return new InferletError('not-a-directory', `${shown} is no directory, or lies below what is none`);
    case 'not-empty':
      return new InferletError('directory-not-empty', `${shown} is not empty`);
    case 'quota':
    case 'insufficient-space':
      return new InferletError('scratch-full', `there is no more room for ${shown}`);
    case 'access':
    case 'cross-device':
    case 'loop':
    case 'not-permitted':
      return new InferletError('file-not-allowed', `${shown} is not a program's to use`);
    default:
      return new InferletError('file-failed', `${shown}: ${code}`);
  }
}
