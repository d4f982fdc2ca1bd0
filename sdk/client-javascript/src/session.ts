/** One session with a server, from its opening to its end: all that a client can do wherever there is a WebSocket. */

import { contentHash, split } from './chunks.js';
import type { Connection, Request } from './connection.js';
import { ClientError } from './errors.js';
import { parsed, parsedTexts, written } from './json.js';
import type { PrivateKey } from './keys.js';
import { type LogEvent, readLogs } from './logs.js';
import { bytesOf } from './pem.js';
import { Process, type ProcessInfo } from './process.js';

export const DEFAULT_URL = 'ws://127.0.0.1:8080';
const NO_PROOF = 'Authenticated (Engine disabled authentication)';

/** A program of a workflow. */
export interface WorkflowStep {
  readonly program: string;
  readonly input?: unknown;
}

/** A session with a server; leaving it ends the session, while processes run on. */
export class Session implements AsyncDisposable {
  /** For what is added to it. */
  protected readonly connection: Connection;

  protected constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Disconnect; whatever waits for the server rejects with `connection-lost`. */
  async close(): Promise<void> {
    await this.connection.close();
  }

  /** As `close`, at the end of a block with `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Tell who we are, before anything else: by a name and a key that proves it, or by a token.
   *
   * A server without authentication asks for no key. Rejects with `Refused` if the server does not know the user, the
   * key or the token, with `key-needed` or `bad-challenge`.
   */
  async authenticate(who: string | { readonly token: string } = 'local', key?: PrivateKey): Promise<void> {
    if (typeof who !== 'string') {
      await this.#ask((number) => ({ type: 'auth_by_token', corr_id: number, token: who.token }));
      return;
    }
    const answer = await this.#ask((number) => ({ type: 'auth_identify', corr_id: number, username: who }));
    if (answer === NO_PROOF) {
      return;
    }
    if (key === undefined) {
      throw new ClientError('key-needed', `the server asks for a proof that we are ${JSON.stringify(who)}`);
    }
    const signature = btoa(String.fromCharCode(...(await key.sign(challengeOf(answer)))));
    await this.#ask((number) => ({ type: 'auth_prove', corr_id: number, signature }));
  }

  /** Resolves when the server has answered. */
  async ping(): Promise<void> {
    await this.#ask((number) => ({ type: 'ping', corr_id: number }));
  }

  /** Whether a program `name@version` is installed, with these contents where they are given. */
  async checkProgram(
    program: string,
    contents: { readonly wasm?: Uint8Array; readonly manifest?: string } = {},
  ): Promise<boolean> {
    const [name = '', version = ''] = program.split(/@(.*)/s);
    const answer = await this.#ask((number) => ({
      type: 'check_program',
      corr_id: number,
      name,
      version,
      wasm_hash: contents.wasm === undefined ? null : contentHash(contents.wasm),
      manifest_hash: contents.manifest === undefined ? null : contentHash(contents.manifest),
    }));
    return answer === 'true';
  }

  /**
   * Upload a program, its component and the text of its `Pie.toml`; the server compiles it before it answers.
   *
   * With `replace` it takes the place of one with the same name and version, which is kept otherwise.
   */
  async installProgram(
    wasm: Uint8Array,
    manifest: string,
    { replace = false }: { readonly replace?: boolean } = {},
  ): Promise<void> {
    const hash = contentHash(wasm);
    const parts = Array.from(split(wasm), (chunk): Request => (number) => ({
      type: 'add_program',
      corr_id: number,
      program_hash: hash,
      manifest,
      force_overwrite: replace,
      chunk_index: chunk.index,
      total_chunks: chunk.total,
      chunk_data: chunk.data,
    }));
    await this.#ask(...parts);
  }

  /**
   * Start a program, `name@version` or the newest of a name, and listen to it; `input` is any JSON value.
   *
   * If `detached`, nobody listens at first; what it says is kept until somebody attaches.
   */
  async launchProcess(
    program: string,
    input?: unknown,
    { tokenBudget, detached = false }: { readonly tokenBudget?: number; readonly detached?: boolean } = {},
  ): Promise<Process> {
    const text = written(input);
    const processId = await this.#ask((number) => ({
      type: 'launch_process',
      corr_id: number,
      inferlet: program,
      input: text,
      capture_outputs: true,
      token_budget: tokenBudget ?? null,
      detached,
    }));
    return this.#process(processId);
  }

  /** Start a program once per input; without `capture`, nothing that they say is kept before somebody attaches. */
  async launchProcesses(
    program: string,
    inputs: readonly unknown[],
    { capture = true }: { readonly capture?: boolean } = {},
  ): Promise<Process[]> {
    const texts = inputs.map(written);
    const answer = await this.#ask((number) => ({
      type: 'launch_processes',
      corr_id: number,
      inferlet: program,
      inputs: texts,
      capture_outputs: capture,
    }));
    return parsedTexts(answer).map((processId) => this.#process(processId));
  }

  /** Start a program once per input; what they return. Rejects with the error of the first that failed. */
  async runProcesses(program: string, inputs: readonly unknown[]): Promise<unknown[]> {
    const texts = inputs.map(written);
    const answer = await this.#ask((number) => ({
      type: 'run_processes',
      corr_id: number,
      inferlet: program,
      inputs: texts,
    }));
    return parsedTexts(answer).map(parsed);
  }

  /** Start a program that answers HTTP requests at a port of the server, which 0 lets it choose. */
  async launchDaemon(program: string, port: number, input?: unknown): Promise<void> {
    const text = written(input);
    await this.#ask((number) => ({ type: 'launch_daemon', corr_id: number, port, inferlet: program, input: text }));
  }

  /** End a process or a daemon of ours, whether or not we listen to it. */
  async terminateProcess(processId: string): Promise<void> {
    await this.#ask((number) => ({ type: 'terminate_process', corr_id: number, process_id: processId }));
  }

  /**
   * Listen to a process of ours that nobody else listens to; what it has said meanwhile comes first.
   *
   * If this session has another `Process` of it that has not ended, each event comes to one of them.
   */
  async attachProcess(processId: string): Promise<Process> {
    const inbox = await this.connection.inboxes.opening(processId, () =>
      this.#ask((number) => ({ type: 'attach_process', corr_id: number, process_id: processId })),
    );
    return new Process(this.connection, processId, inbox);
  }

  /**
   * What a process of ours has said, from the oldest that is kept; whoever listens to it loses nothing.
   *
   * With `follow` it goes on until the process ends.
   */
  logs(
    processId: string,
    { follow = false }: { readonly follow?: boolean } = {},
  ): AsyncGenerator<LogEvent, void, undefined> {
    const ask = (record: string): Promise<string> =>
      this.#ask((number) => ({ type: 'query', corr_id: number, subject: 'transcript', record }));
    return readLogs(ask, processId, follow);
  }

  /** Give a process of ours a text, whether or not we listen to it. Rejects with `Refused` if it cannot be given. */
  async sendText(processId: string, text: string): Promise<void> {
    await this.#ask((number) => ({ type: 'signal_process', corr_id: number, process_id: processId, message: text }));
  }

  /** Give a process of ours a file, whether or not we listen to it. Rejects with `Refused` if it cannot be given. */
  async sendFile(processId: string, data: Uint8Array): Promise<void> {
    const hash = contentHash(data);
    const parts = Array.from(split(data), (chunk): Request => (number) => ({
      type: 'transfer_file',
      corr_id: number,
      process_id: processId,
      file_hash: hash,
      chunk_index: chunk.index,
      total_chunks: chunk.total,
      chunk_data: chunk.data,
    }));
    await this.#ask(...parts);
  }

  /**
   * Start a graph of programs, `{ name: { program, input } }`; its id, under which it can be attached to.
   *
   * In an input, `${name.key}` is a result of another step. The workflow returns the results by name, sends a message
   * when a step is done, and is terminated as a process is.
   */
  async submitWorkflow(steps: { readonly [name: string]: WorkflowStep }): Promise<string> {
    const json = written({ steps });
    return this.#ask((number) => ({ type: 'submit_workflow', corr_id: number, json }));
  }

  /** Our processes that have not ended; with `ended`, also those that have, the newest first, for ten minutes. */
  async listProcesses({ ended = false }: { readonly ended?: boolean } = {}): Promise<ProcessInfo[]> {
    const asked = ended ? { ended } : {};
    const rows = parsed(await this.#ask((number) => ({ type: 'list_processes', corr_id: number, ...asked })));
    if (!Array.isArray(rows)) {
      throw new ClientError('bad-answer', 'the server sent another thing than a list of processes');
    }
    return rows.map(({ elapsed_secs: elapsedSeconds, port = undefined, ended: hasEnded = false, ...row }) => ({
      ...row,
      elapsedSeconds,
      port,
      ended: hasEnded,
    }));
  }

  /** Figures of the server; the subject `model_status` gives those of its model. */
  async query(subject: string, record = ''): Promise<unknown> {
    return parsed(await this.#ask((number) => ({ type: 'query', corr_id: number, subject, record })));
  }

  #ask(...parts: readonly Request[]): Promise<string> {
    return this.connection.request(...parts);
  }

  #process(processId: string): Process {
    return new Process(this.connection, processId);
  }
}

function challengeOf(text: string): Uint8Array {
  try {
    return bytesOf(text);
  } catch {
    throw new ClientError('bad-challenge', "the server's challenge is not base64");
  }
}
