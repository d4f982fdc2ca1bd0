/** Pictures, films and sound as input of models that take them. */

import type { ForwardPass } from 'pie:core/inference';
import * as wit from 'pie:core/media';

import { u32Array } from './arrays.ts';
import { call } from './errors.ts';
import { Handle } from './handle.ts';
import type { Model } from './model.ts';
import { bytes, u32 } from './numbers.ts';

/** A picture, prepared for one model. */
export class Image implements Disposable {
  readonly #handle: Handle<wit.Image>;

  /** @internal */
  constructor(resource: wit.Image) {
    this.#handle = new Handle('image', resource);
  }

  /** Decode an image file. */
  static fromBytes(model: Model, data: Uint8Array): Image {
    return new Image(call(() => wit.Image.fromBytes(model.wit, bytes(data, 'a picture'))));
  }

  /** Rows of KV that the picture fills. */
  get tokenCount(): number {
    return this.#handle.wit.tokenCount();
  }

  /** How far positions advance over it. */
  get positionSpan(): number {
    return this.#handle.wit.positionSpan();
  }

  /** Patches in time, height and width. */
  get grid(): [number, number, number] {
    return this.#handle.wit.grid();
  }

  /** Tokens that belong before it. */
  prefixTokens(): Uint32Array {
    return u32Array(this.#handle.wit.prefixTokens());
  }

  /** Tokens that belong after it. */
  suffixTokens(): Uint32Array {
    return u32Array(this.#handle.wit.suffixTokens());
  }

  /** @internal Put it into a pass at position `anchor`. */
  attachTo(pass: ForwardPass, anchor: number): void {
    pass.inputImage(this.#handle.wit, anchor);
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

/** Frames sampled from a film. */
export class Video implements Disposable {
  readonly #handle: Handle<wit.Video>;

  private constructor(resource: wit.Video) {
    this.#handle = new Handle('video', resource);
  }

  /** Decode a film and keep at most `maxFrames` frames. */
  static fromBytes(model: Model, data: Uint8Array, maxFrames: number): Video {
    return new Video(call(() => wit.Video.fromBytes(model.wit, bytes(data, 'a film'), u32(maxFrames, 'maxFrames'))));
  }

  /** Frames kept. */
  get frameCount(): number {
    return this.#handle.wit.frameCount();
  }

  /** The frame `index`, counted from 0. */
  frame(index: number): Image {
    return new Image(call(() => this.#handle.wit.frame(u32(index, 'an index'))));
  }

  /** When the frame `index` is shown, in seconds. */
  timestamp(index: number): number {
    return this.#handle.wit.timestamp(u32(index, 'an index'));
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}

/** Sound, prepared for one model. */
export class Audio implements Disposable {
  readonly #handle: Handle<wit.Audio>;

  private constructor(resource: wit.Audio) {
    this.#handle = new Handle('audio', resource);
  }

  /** Decode a sound file. */
  static fromBytes(model: Model, data: Uint8Array): Audio {
    return new Audio(call(() => wit.Audio.fromBytes(model.wit, bytes(data, 'sound'))));
  }

  /** Rows of KV that the sound fills. */
  get tokenCount(): number {
    return this.#handle.wit.tokenCount();
  }

  /** How far positions advance over it. */
  get positionSpan(): number {
    return this.#handle.wit.positionSpan();
  }

  /** Tokens that belong before it. */
  prefixTokens(): Uint32Array {
    return u32Array(this.#handle.wit.prefixTokens());
  }

  /** Tokens that belong after it. */
  suffixTokens(): Uint32Array {
    return u32Array(this.#handle.wit.suffixTokens());
  }

  /** @internal Put it into a pass at position `anchor`. */
  attachTo(pass: ForwardPass, anchor: number): void {
    pass.inputAudio(this.#handle.wit, anchor);
  }

  [Symbol.dispose](): void {
    this.#handle[Symbol.dispose]();
  }
}
