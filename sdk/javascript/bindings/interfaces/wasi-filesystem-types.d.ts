// Generated from wit/ by `node bindings/generate.mjs`; do not edit.
/// <reference path="./wasi-clocks-wall-clock.d.ts" />
declare module 'wasi:filesystem/types@0.2.4' {
  export type Datetime = import('wasi:clocks/wall-clock@0.2.4').Datetime;
  /**
   * A size or an offset in bytes.
   */
  export type Filesize = bigint;
  /**
   * How many names a file has.
   */
  export type LinkCount = bigint;
  /**
   * What is behind a name.
   * # Variants
   *
   * ## `"unknown"`
   *
   * ## `"block-device"`
   *
   * ## `"character-device"`
   *
   * ## `"directory"`
   *
   * ## `"fifo"`
   *
   * ## `"symbolic-link"`
   *
   * ## `"regular-file"`
   *
   * ## `"socket"`
   */
  export type DescriptorType = 'unknown' | 'block-device' | 'character-device' | 'directory' | 'fifo' | 'symbolic-link' | 'regular-file' | 'socket';
  /**
   * What may be done with an open file or folder.
   */
  export interface DescriptorFlags {
    read?: boolean,
    write?: boolean,
    fileIntegritySync?: boolean,
    dataIntegritySync?: boolean,
    requestedWriteSync?: boolean,
    mutateDirectory?: boolean,
  }
  /**
   * How a path is followed.
   */
  export interface PathFlags {
    symlinkFollow?: boolean,
  }
  /**
   * How something is opened.
   */
  export interface OpenFlags {
    create?: boolean,
    directory?: boolean,
    exclusive?: boolean,
    truncate?: boolean,
  }
  /**
   * What is known of a file or folder.
   */
  export interface DescriptorStat {
    type: DescriptorType,
    linkCount: LinkCount,
    size: Filesize,
    dataAccessTimestamp?: Datetime,
    dataModificationTimestamp?: Datetime,
    statusChangeTimestamp?: Datetime,
  }
  /**
   * An entry of a folder.
   */
  export interface DirectoryEntry {
    type: DescriptorType,
    name: string,
  }
  /**
   * Why something failed.
   * # Variants
   *
   * ## `"access"`
   *
   * ## `"would-block"`
   *
   * ## `"already"`
   *
   * ## `"bad-descriptor"`
   *
   * ## `"busy"`
   *
   * ## `"deadlock"`
   *
   * ## `"quota"`
   *
   * ## `"exist"`
   *
   * ## `"file-too-large"`
   *
   * ## `"illegal-byte-sequence"`
   *
   * ## `"in-progress"`
   *
   * ## `"interrupted"`
   *
   * ## `"invalid"`
   *
   * ## `"io"`
   *
   * ## `"is-directory"`
   *
   * ## `"loop"`
   *
   * ## `"too-many-links"`
   *
   * ## `"message-size"`
   *
   * ## `"name-too-long"`
   *
   * ## `"no-device"`
   *
   * ## `"no-entry"`
   *
   * ## `"no-lock"`
   *
   * ## `"insufficient-memory"`
   *
   * ## `"insufficient-space"`
   *
   * ## `"not-directory"`
   *
   * ## `"not-empty"`
   *
   * ## `"not-recoverable"`
   *
   * ## `"unsupported"`
   *
   * ## `"no-tty"`
   *
   * ## `"no-such-device"`
   *
   * ## `"overflow"`
   *
   * ## `"not-permitted"`
   *
   * ## `"pipe"`
   *
   * ## `"read-only"`
   *
   * ## `"invalid-seek"`
   *
   * ## `"text-file-busy"`
   *
   * ## `"cross-device"`
   */
  export type ErrorCode = 'access' | 'would-block' | 'already' | 'bad-descriptor' | 'busy' | 'deadlock' | 'quota' | 'exist' | 'file-too-large' | 'illegal-byte-sequence' | 'in-progress' | 'interrupted' | 'invalid' | 'io' | 'is-directory' | 'loop' | 'too-many-links' | 'message-size' | 'name-too-long' | 'no-device' | 'no-entry' | 'no-lock' | 'insufficient-memory' | 'insufficient-space' | 'not-directory' | 'not-empty' | 'not-recoverable' | 'unsupported' | 'no-tty' | 'no-such-device' | 'overflow' | 'not-permitted' | 'pipe' | 'read-only' | 'invalid-seek' | 'text-file-busy' | 'cross-device';

  export class Descriptor implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * Up to `length` bytes from `offset` on, and whether the file ends there.
    */
    read(length: Filesize, offset: Filesize): [Uint8Array, boolean];
    /**
    * Write some of `buffer` at `offset`; returns how many bytes.
    */
    write(buffer: Uint8Array, offset: Filesize): Filesize;
    /**
    * The entries of this folder.
    */
    readDirectory(): DirectoryEntryStream;
    /**
    * Make a folder.
    */
    createDirectoryAt(path: string): void;
    /**
    * What is known of this file or folder.
    */
    stat(): DescriptorStat;
    /**
    * What is known of what is at `path`.
    */
    statAt(pathFlags: PathFlags, path: string): DescriptorStat;
    /**
    * Open what is at `path`.
    */
    openAt(pathFlags: PathFlags, path: string, openFlags: OpenFlags, flags: DescriptorFlags): Descriptor;
    /**
    * Remove an empty folder.
    */
    removeDirectoryAt(path: string): void;
    /**
    * Move what is at `old-path` to `new-path` below `new-descriptor`.
    */
    renameAt(oldPath: string, newDescriptor: Descriptor, newPath: string): void;
    /**
    * Remove a file.
    */
    unlinkFileAt(path: string): void;
    [Symbol.dispose](): void;
  }

  export class DirectoryEntryStream implements Disposable {
    /**
     * This type does not have a public constructor.
     */
    private constructor();
    /**
    * The next entry; none after the last one.
    */
    readDirectoryEntry(): DirectoryEntry | undefined;
    [Symbol.dispose](): void;
  }
}
