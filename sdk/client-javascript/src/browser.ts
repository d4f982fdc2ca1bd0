/** The client for browsers, and whatever else has a global `WebSocket`. */

import { Connection } from './connection.js';
import { ConnectionLost } from './errors.js';
import { DEFAULT_URL, Session } from './session.js';

export * from './exports.js';

/** A session with a server. */
export class Client extends Session {
  /** Connect. Rejects with `cannot-connect`. */
  static async connect(url: string = DEFAULT_URL): Promise<Client> {
    if (globalThis.WebSocket === undefined) {
      throw new ConnectionLost('cannot-connect', 'there is no WebSocket here');
    }
    return new Client(await Connection.open(globalThis.WebSocket, url));
  }
}
