/** What can go wrong for a client. Each error has a stable code and a cause of one line. */

const CODED = /^([a-z][a-z0-9]*(?:-[a-z0-9]+)*): (.+)$/s;

/** Base of all errors of the client; it reads `code: cause`. */
export class ClientError extends Error {
  /** Stable, one per kind of fault. */
  readonly code: string;
  /** What happened. */
  override readonly cause: string;

  constructor(code: string, cause: string) {
    super(`${code}: ${cause}`);
    this.name = new.target.name;
    this.code = code;
    this.cause = cause;
  }
}

/** There is no connection to the server, or it has ended. */
export class ConnectionLost extends ClientError {}

/** The server answered a request with an error; its code is the server's, or `refused` if it names none. */
export class Refused extends ClientError {
  constructor(text: string) {
    super(...coded(text, 'refused'));
  }
}

/** A process ended with an error; its code is the process's, or `process-failed` if it names none. */
export class ProcessFailed extends ClientError {
  constructor(text: string) {
    super(...coded(text, 'process-failed'));
  }
}

/** What an error says, in one line without a full stop. */
export function line(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.split(/\s+/).filter(Boolean).join(' ').replace(/[. ]+$/, '');
}

function coded(text: string, otherwise: string): [string, string] {
  const own = CODED.exec(text);
  return own ? [own[1]!, own[2]!] : [otherwise, text];
}
