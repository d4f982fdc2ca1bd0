/** What both entry points offer. */

export { BadTransfer } from './chunks.js';
export { ClientError, ConnectionLost, ProcessFailed, Refused } from './errors.js';
export type { Event } from './inbox.js';
export { PrivateKey } from './keys.js';
export type { LogEvent } from './logs.js';
export { isLast, Process, type ProcessInfo } from './process.js';
export type { WorkflowStep } from './session.js';
