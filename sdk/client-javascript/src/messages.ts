// Made by generate_messages.py from sdk/client-python/pie_client/messages.py: change that, make this anew.
/** What client and server say to each other: one map per frame, named by its `type`. */

/** A whole number from 0 on. */
export type Whole = number;

/** Who the client is; answered with a challenge, or at once by a server that asks for no proof. */
export interface AuthIdentify {
  readonly type: 'auth_identify';
  readonly username: string;
  readonly corr_id: Whole;
}

/** The challenge, signed; `signature` is base64. */
export interface AuthProve {
  readonly type: 'auth_prove';
  readonly signature: string;
  readonly corr_id: Whole;
}

/** A token instead of a name and a key. */
export interface AuthByToken {
  readonly type: 'auth_by_token';
  readonly token: string;
  readonly corr_id: Whole;
}

/** Asks whether the server is there. */
export interface Ping {
  readonly type: 'ping';
  readonly corr_id: Whole;
}

/** Asks whether a program is installed; the hashes are of its bytes and of the text of its manifest. */
export interface CheckProgram {
  readonly type: 'check_program';
  readonly name: string;
  readonly version: string;
  readonly wasm_hash?: string | null;
  readonly manifest_hash?: string | null;
  readonly corr_id: Whole;
}

/** Asks for figures of the server. */
export interface Query {
  readonly type: 'query';
  readonly subject: string;
  readonly record: string;
  readonly corr_id: Whole;
}

/** One chunk of a program; the last one is answered, or the first that is wrong. */
export interface AddProgram {
  readonly type: 'add_program';
  readonly program_hash: string;
  readonly manifest: string;
  readonly force_overwrite: boolean;
  readonly chunk_index: Whole;
  readonly total_chunks: Whole;
  readonly chunk_data: Uint8Array;
  readonly corr_id: Whole;
}

/** Starts a program; `input` is JSON text. If `detached`, what it says is kept until somebody attaches to it. */
export interface LaunchProcess {
  readonly type: 'launch_process';
  readonly inferlet: string;
  readonly input: string;
  readonly capture_outputs: boolean;
  readonly token_budget?: Whole | null;
  readonly detached?: boolean | null;
  readonly corr_id: Whole;
}

/** Starts a program once per input. */
export interface LaunchProcesses {
  readonly type: 'launch_processes';
  readonly inferlet: string;
  readonly inputs: readonly string[];
  readonly capture_outputs: boolean;
  readonly token_budgets?: readonly (Whole | null)[] | null;
  readonly corr_id: Whole;
}

/** Starts a program once per input; answered with what they return. */
export interface RunProcesses {
  readonly type: 'run_processes';
  readonly inferlet: string;
  readonly inputs: readonly string[];
  readonly token_budgets?: readonly (Whole | null)[] | null;
  readonly corr_id: Whole;
}

/** Starts a program that answers HTTP requests at a port. */
export interface LaunchDaemon {
  readonly type: 'launch_daemon';
  readonly port: Whole;
  readonly inferlet: string;
  readonly input: string;
  readonly corr_id: Whole;
}

/** Asks for the events of a process that nobody is attached to. */
export interface AttachProcess {
  readonly type: 'attach_process';
  readonly process_id: string;
  readonly corr_id: Whole;
}

/** Ends a process. */
export interface TerminateProcess {
  readonly type: 'terminate_process';
  readonly process_id: string;
  readonly corr_id: Whole;
}

/** A text for a process; with a `corr_id` it is answered, and need not be from the client that listens. */
export interface SignalProcess {
  readonly type: 'signal_process';
  readonly process_id: string;
  readonly message: string;
  readonly corr_id?: Whole | null;
}

/** One chunk of a file for a process; with a `corr_id` the file is answered, as a text is. */
export interface TransferFile {
  readonly type: 'transfer_file';
  readonly process_id: string;
  readonly file_hash: string;
  readonly chunk_index: Whole;
  readonly total_chunks: Whole;
  readonly chunk_data: Uint8Array;
  readonly corr_id?: Whole | null;
}

/** Asks for the user's processes; if `ended`, also for those that have ended and are remembered. */
export interface ListProcesses {
  readonly type: 'list_processes';
  readonly ended?: boolean | null;
  readonly corr_id: Whole;
}

/** Tells of an MCP server on the client's side. */
export interface RegisterMcpServer {
  readonly type: 'register_mcp_server';
  readonly name: string;
  readonly transport: string;
  readonly command?: string | null;
  readonly args?: readonly string[] | null;
  readonly url?: string | null;
  readonly corr_id: Whole;
}

/** What an MCP server answered; `corr_id` is that of the `McpRequest`. */
export interface McpResponse {
  readonly type: 'mcp_response';
  readonly corr_id: Whole;
  readonly ok: boolean;
  readonly result: string;
}

/** Starts a workflow. */
export interface SubmitWorkflow {
  readonly type: 'submit_workflow';
  readonly json: string;
  readonly corr_id: Whole;
}

/** Ends a workflow. */
export interface CancelWorkflow {
  readonly type: 'cancel_workflow';
  readonly workflow_id: string;
  readonly corr_id: Whole;
}

/** Asks for the events of a workflow. */
export interface AttachWorkflow {
  readonly type: 'attach_workflow';
  readonly workflow_id: string;
  readonly corr_id: Whole;
}

/** Asks for no more events of a workflow. */
export interface DetachWorkflow {
  readonly type: 'detach_workflow';
  readonly workflow_id: string;
  readonly corr_id: Whole;
}

/** The answer to a request; `result` is JSON text where it has a structure. */
export interface Response {
  readonly type: 'response';
  readonly corr_id: Whole;
  readonly ok: boolean;
  readonly result: string;
}

/** Something a process said, or how it ended: `return` and `error` come once and are its last. */
export interface ProcessEvent {
  readonly type: 'process_event';
  readonly process_id: string;
  readonly event: 'stdout' | 'stderr' | 'message' | 'return' | 'error';
  readonly value: string;
}

/** One chunk of a file from a process. */
export interface File {
  readonly type: 'file';
  readonly process_id: string;
  readonly file_hash: string;
  readonly chunk_index: Whole;
  readonly total_chunks: Whole;
  readonly chunk_data: Uint8Array;
}

/** Asks an MCP server on the client's side; `params` is JSON text. */
export interface McpRequest {
  readonly type: 'mcp_request';
  readonly corr_id: Whole;
  readonly process_id: string;
  readonly server_name: string;
  readonly method: string;
  readonly params: string;
}

export type ClientMessage =
  | AuthIdentify
  | AuthProve
  | AuthByToken
  | Ping
  | CheckProgram
  | Query
  | AddProgram
  | LaunchProcess
  | LaunchProcesses
  | RunProcesses
  | LaunchDaemon
  | AttachProcess
  | TerminateProcess
  | SignalProcess
  | TransferFile
  | ListProcesses
  | RegisterMcpServer
  | McpResponse
  | SubmitWorkflow
  | CancelWorkflow
  | AttachWorkflow
  | DetachWorkflow;

export type ServerMessage =
  | Response
  | ProcessEvent
  | File
  | McpRequest;

/** What a field holds: a kind, a list of it, or one of some words; with `?` it may be left out or null. */
export type Kind = 'bool' | 'bytes' | 'str' | 'u32' | 'u64' | 'u64?[]' | 'str[]' | readonly string[];
/** The fields of a message. */
export type Fields = { readonly [field: string]: { readonly kind: Kind; readonly optional: boolean } };

/** The fields of each message that a client sends. */
export const CLIENT_MESSAGES: { readonly [type: string]: Fields } = {
  auth_identify: {
    username: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  auth_prove: {
    signature: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  auth_by_token: {
    token: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  ping: {
    corr_id: { kind: 'u32', optional: false },
  },
  check_program: {
    name: { kind: 'str', optional: false },
    version: { kind: 'str', optional: false },
    wasm_hash: { kind: 'str', optional: true },
    manifest_hash: { kind: 'str', optional: true },
    corr_id: { kind: 'u32', optional: false },
  },
  query: {
    subject: { kind: 'str', optional: false },
    record: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  add_program: {
    program_hash: { kind: 'str', optional: false },
    manifest: { kind: 'str', optional: false },
    force_overwrite: { kind: 'bool', optional: false },
    chunk_index: { kind: 'u32', optional: false },
    total_chunks: { kind: 'u32', optional: false },
    chunk_data: { kind: 'bytes', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  launch_process: {
    inferlet: { kind: 'str', optional: false },
    input: { kind: 'str', optional: false },
    capture_outputs: { kind: 'bool', optional: false },
    token_budget: { kind: 'u64', optional: true },
    detached: { kind: 'bool', optional: true },
    corr_id: { kind: 'u32', optional: false },
  },
  launch_processes: {
    inferlet: { kind: 'str', optional: false },
    inputs: { kind: 'str[]', optional: false },
    capture_outputs: { kind: 'bool', optional: false },
    token_budgets: { kind: 'u64?[]', optional: true },
    corr_id: { kind: 'u32', optional: false },
  },
  run_processes: {
    inferlet: { kind: 'str', optional: false },
    inputs: { kind: 'str[]', optional: false },
    token_budgets: { kind: 'u64?[]', optional: true },
    corr_id: { kind: 'u32', optional: false },
  },
  launch_daemon: {
    port: { kind: 'u32', optional: false },
    inferlet: { kind: 'str', optional: false },
    input: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  attach_process: {
    process_id: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  terminate_process: {
    process_id: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  signal_process: {
    process_id: { kind: 'str', optional: false },
    message: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: true },
  },
  transfer_file: {
    process_id: { kind: 'str', optional: false },
    file_hash: { kind: 'str', optional: false },
    chunk_index: { kind: 'u32', optional: false },
    total_chunks: { kind: 'u32', optional: false },
    chunk_data: { kind: 'bytes', optional: false },
    corr_id: { kind: 'u32', optional: true },
  },
  list_processes: {
    ended: { kind: 'bool', optional: true },
    corr_id: { kind: 'u32', optional: false },
  },
  register_mcp_server: {
    name: { kind: 'str', optional: false },
    transport: { kind: 'str', optional: false },
    command: { kind: 'str', optional: true },
    args: { kind: 'str[]', optional: true },
    url: { kind: 'str', optional: true },
    corr_id: { kind: 'u32', optional: false },
  },
  mcp_response: {
    corr_id: { kind: 'u32', optional: false },
    ok: { kind: 'bool', optional: false },
    result: { kind: 'str', optional: false },
  },
  submit_workflow: {
    json: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  cancel_workflow: {
    workflow_id: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  attach_workflow: {
    workflow_id: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
  detach_workflow: {
    workflow_id: { kind: 'str', optional: false },
    corr_id: { kind: 'u32', optional: false },
  },
};

/** The fields of each message that a server sends. */
export const SERVER_MESSAGES: { readonly [type: string]: Fields } = {
  response: {
    corr_id: { kind: 'u32', optional: false },
    ok: { kind: 'bool', optional: false },
    result: { kind: 'str', optional: false },
  },
  process_event: {
    process_id: { kind: 'str', optional: false },
    event: { kind: ['stdout', 'stderr', 'message', 'return', 'error'], optional: false },
    value: { kind: 'str', optional: false },
  },
  file: {
    process_id: { kind: 'str', optional: false },
    file_hash: { kind: 'str', optional: false },
    chunk_index: { kind: 'u32', optional: false },
    total_chunks: { kind: 'u32', optional: false },
    chunk_data: { kind: 'bytes', optional: false },
  },
  mcp_request: {
    corr_id: { kind: 'u32', optional: false },
    process_id: { kind: 'str', optional: false },
    server_name: { kind: 'str', optional: false },
    method: { kind: 'str', optional: false },
    params: { kind: 'str', optional: false },
  },
};
