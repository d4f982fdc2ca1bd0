/**
 * The calls of `node:fs/promises` that make sense in a program's folder, over `files`.
 *
 * Paths, limits and errors are those of `files`: an error is an `InferletError` with one of its codes.
 */

import { InferletError } from './errors.ts';
import * as files from './files.ts';

/** What `stat` tells. */
export interface Stats {
  readonly size: number;
  readonly mtime: Date;
  readonly mtimeMs: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

type Encoding = string | { readonly encoding?: string | null | undefined } | null;

/** The bytes of a file, or its text if an encoding is given, which must be UTF-8. */
export async function readFile(path: string, options?: Encoding): Promise<string | Uint8Array> {
  return hasEncoding(options) ? files.readText(path) : files.readBytes(path);
}

/** Write a file, in place of one that is there. */
export async function writeFile(path: string, data: string | Uint8Array, options?: Encoding): Promise<void> {
  hasEncoding(options);
  if (typeof data === 'string') files.writeText(path, data);
  else files.writeBytes(path, data);
}

/** Add to the end of a file; it is made if there is none. */
export async function appendFile(path: string, data: string | Uint8Array, options?: Encoding): Promise<void> {
  hasEncoding(options);
  files.append(path, data);
}

/** Copy a file, in place of one that is there. */
export async function copyFile(path: string, newPath: string): Promise<void> {
  files.writeBytes(newPath, files.readBytes(path));
}

/** The names in a directory, sorted. */
export async function readdir(path: string): Promise<string[]> {
  return files.list(path);
}

/** Make a directory; if `recursive`, also those above it, and it may be there already. */
export async function mkdir(path: string, options: { readonly recursive?: boolean } = {}): Promise<void> {
  files.mkdir(path, options);
}

/** Remove a file, or a directory with all that is in it if `recursive`; with `force` it need not be there. */
export async function rm(path: string, { recursive = false, force = false } = {}): Promise<void> {
  if (force && !files.exists(path)) return;
  if (!recursive && files.stat(path).isDirectory) {
    throw new InferletError('is-a-directory', `${JSON.stringify(path)} is a directory`);
  }
  files.remove(path, { recursive });
}

/** Remove a file. */
export async function unlink(path: string): Promise<void> {
  await rm(path);
}

/** Remove an empty directory. */
export async function rmdir(path: string): Promise<void> {
  if (!files.stat(path).isDirectory) {
    throw new InferletError('not-a-directory', `${JSON.stringify(path)} is no directory`);
  }
  files.remove(path);
}

/** Move a file or directory, in place of a file that is there. */
export async function rename(path: string, newPath: string): Promise<void> {
  files.rename(path, newPath);
}

/** What is known of a file or directory. */
export async function stat(path: string): Promise<Stats> {
  const { isFile, isDirectory, size, modified } = files.stat(path);
  return {
    size,
    mtime: modified,
    mtimeMs: modified.getTime(),
    isFile: () => isFile,
    isDirectory: () => isDirectory,
  };
}

/** Throws `file-not-found` unless there is something. */
export async function access(path: string): Promise<void> {
  files.stat(path);
}

function hasEncoding(options: Encoding | undefined): boolean {
  const encoding = typeof options === 'string' ? options : options?.encoding;
  if (encoding === undefined || encoding === null) return false;
  if (/^utf-?8$/i.test(encoding)) return true;
  throw new InferletError('bad-option', `the encoding ${JSON.stringify(encoding)} is not known: texts are UTF-8`);
}
