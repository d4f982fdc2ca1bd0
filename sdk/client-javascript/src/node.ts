/** The client for Node.js: in addition to what browsers have, MCP servers beside it. */

import { Connection } from './connection.js';
import { ConnectionLost } from './errors.js';
import { McpServers } from './mcp.js';
import { DEFAULT_URL, Session } from './session.js';
import type { WebSocketClass } from './socket.js';

export * from './exports.js';

/** A session with a server. */
export class Client extends Session {
  readonly #mcp: McpServers;

  private constructor(connection: Connection, mcp: McpServers) {
    super(connection);
    this.#mcp = mcp;
  }

  /** Connect. Rejects with `cannot-connect`. */
  static async connect(url: string = DEFAULT_URL): Promise<Client> {
    const mcp = new McpServers();
    return new Client(await Connection.open(await findWebSocket(), url, (request) => mcp.answer(request)), mcp);
  }

  /** Disconnect, and end the MCP servers of this session. */
  override async close(): Promise<void> {
    try {
      await super.close();
    } finally {
      await this.#mcp.close();
    }
  }

  /**
   * Start an MCP server here, and let the processes of this session use it.
   *
   * `command` starts it, speaking over its stdin and stdout; it ends with this session. Rejects with `mcp-failed` if it
   * does not start or answer, with `mcp-name-taken` if there is one of that name.
   */
  async registerMcpServer(name: string, command: readonly [string, ...string[]]): Promise<void> {
    await this.#mcp.start(name, command);
    const [program, ...args] = command;
    await this.connection.request((number) => ({
      type: 'register_mcp_server',
      corr_id: number,
      name,
      transport: 'stdio',
      command: program,
      args,
    }));
  }
}

/** That of Node.js 22 and newer, or that of the package ws. */
async function findWebSocket(): Promise<WebSocketClass> {
  if (globalThis.WebSocket !== undefined) {
    return globalThis.WebSocket;
  }
  try {
    const { WebSocket } = await import('ws');
    return WebSocket as unknown as WebSocketClass; // the same as far as it is used here
  } catch {
    throw new ConnectionLost('cannot-connect', 'there is no WebSocket here: Node.js 20 needs the npm package ws');
  }
}
