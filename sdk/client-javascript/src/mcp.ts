/**
 * MCP servers on the client's side: children that speak JSON-RPC over their stdin and stdout, line by line.
 *
 * What the server asks of them is passed on as it is, and so is the answer.
 */

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

import { ClientError, ConnectionLost, line } from './errors.js';
import type { McpRequest, McpResponse } from './messages.js';

const PROTOCOL_VERSION = '2024-11-05';
const CLIENT_INFO = { name: 'pie-client', version: '0.1.0' };
const MAX_LINE_BYTES = 8 << 20;
const START_MS = 60_000;
const STOP_MS = 1_000;
const SERVER_ERROR = -32000;
const BAD_PARAMETERS = -32602;

type Child = ChildProcessByStdio<Writable, Readable, null>;

/** The servers of one session by name. */
export class McpServers {
  readonly #servers = new Map<string, Server | undefined>();
  #isClosed = false;

  /** Start one and shake hands with it. Rejects with `mcp-failed` or `mcp-name-taken`. */
  async start(name: string, command: readonly [string, ...string[]]): Promise<void> {
    if (this.#servers.has(name)) {
      const cause = `this session has an MCP server called ${JSON.stringify(name)} already`;
      throw new ClientError('mcp-name-taken', cause);
    }
    this.#servers.set(name, undefined); // taken while it starts
    try {
      const server = await started(name, command);
      if (this.#isClosed) {
        await server.stop();
        throw new ConnectionLost('connection-lost', 'the session has been closed');
      }
      this.#servers.set(name, server);
    } catch (error) {
      this.#servers.delete(name);
      throw error;
    }
  }

  /** What a server answers to a request of the host. */
  async answer(request: McpRequest): Promise<McpResponse> {
    try {
      const result = JSON.stringify(await this.#request(request)) ?? 'null';
      return { type: 'mcp_response', corr_id: request.corr_id, ok: true, result };
    } catch (error) {
      const fields = error instanceof RpcError ? error.fields : { code: SERVER_ERROR, message: line(error) };
      return { type: 'mcp_response', corr_id: request.corr_id, ok: false, result: JSON.stringify(fields) };
    }
  }

  /** End all of them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const servers = [...this.#servers.values()];
    this.#servers.clear();
    await Promise.all(servers.map((server) => server?.stop()));
  }

  async #request({ server_name: name, method, params }: McpRequest): Promise<unknown> {
    const server = this.#servers.get(name);
    if (server === undefined) {
      const message = `no MCP server ${JSON.stringify(name)} in this session`;
      throw new RpcError({ code: SERVER_ERROR, message });
    }
    let given: unknown;
    try {
      given = JSON.parse(params);
    } catch (error) {
      throw new RpcError({ code: BAD_PARAMETERS, message: `the parameters are not JSON: ${line(error)}` });
    }
    return server.request(method, given);
  }
}

/** An error as JSON-RPC has it. */
class RpcError extends Error {
  readonly fields: object;

  constructor(fields: object) {
    super('message' in fields ? String(fields.message) : 'no message');
    this.fields = fields;
  }
}

/** One child and the requests that wait for it. */
class Server {
  readonly #child: Child;
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: RpcError): void }>();
  readonly #exited: Promise<unknown>;
  #number = 0;
  #isGone = false;

  constructor(child: Child) {
    this.#child = child;
    this.#exited = once(child, 'close');
    child.stdin.on('error', () => this.#leave()); // it reads no more
    this.#read().catch(() => this.#leave()); // it cannot be read
  }

  async shakeHands(): Promise<void> {
    await this.request('initialize', { protocolVersion: PROTOCOL_VERSION, capabilities: {}, clientInfo: CLIENT_INFO });
    this.#write({ method: 'notifications/initialized', params: {} });
  }

  /** The result; rejects with an RpcError. */
  async request(method: string, params: unknown): Promise<unknown> {
    if (this.#isGone) {
      throw gone();
    }
    const id = (this.#number += 1);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        this.#write({ id, method, params });
      });
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Close its stdin, which asks it to leave; kill it if it stays. */
  async stop(): Promise<void> {
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  #write(message: object): void {
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  }

  async #read(): Promise<void> {
    let rest = '';
    for await (const piece of this.#child.stdout.setEncoding('utf8')) {
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      lines.forEach((text) => this.#take(text));
      if (rest.length > MAX_LINE_BYTES) {
        break; // what follows cannot be understood either
      }
    }
    this.#leave();
  }

  #take(text: string): void {
    let message: { id?: unknown; error?: unknown; result?: unknown } | null;
    try {
      message = JSON.parse(text);
    } catch {
      return; // some servers print to stdout what is meant for people
    }
    const waiting = typeof message?.id === 'number' ? this.#waiting.get(message.id) : undefined;
    const error = message?.error;
    if (error === undefined || error === null) {
      waiting?.resolve(message?.result ?? null);
    } else {
      waiting?.reject(new RpcError(typeof error === 'object' ? error : { code: SERVER_ERROR, message: String(error) }));
    }
  }

  #leave(): void {
    this.#isGone = true;
    for (const waiting of this.#waiting.values()) {
      waiting.reject(gone());
    }
  }
}

async function started(name: string, [program, ...args]: readonly [string, ...string[]]): Promise<Server> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(child, 'spawn');
  } catch (error) {
    throw new ClientError('mcp-failed', `the MCP server ${JSON.stringify(name)} cannot be started: ${line(error)}`);
  }
  const server = new Server(child);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it took more than ${START_MS / 1000} s`)), START_MS);
  });
  try {
    await Promise.race([server.shakeHands(), late]);
    return server;
  } catch (error) {
    await server.stop();
    const cause = `the MCP server ${JSON.stringify(name)} did not answer the handshake: ${line(error)}`;
    throw new ClientError('mcp-failed', cause);
  } finally {
    clearTimeout(timer);
  }
}

function gone(): RpcError {
  return new RpcError({ code: SERVER_ERROR, message: 'the MCP server has ended' });
}
