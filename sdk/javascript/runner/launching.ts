/** One launch of a program inside its component: from input text to result text, or from a request to its response. */

import { InferletError } from '../src/errors.ts';
import { LOOP } from '../src/loop.ts';
import { describe } from './describing.ts';
import type { Program, ProgramModule } from './program.ts';
import { takeUnhandled } from './rejections.ts';
import type { Exchange } from './serving.ts';

/** A program and its module, whose top-level code runs when `load` is called. */
export interface Launch {
  readonly program: Program;
  readonly load: () => ProgramModule;
}

/**
 * Load the program, call its `main` and return the JSON of what that returned.
 *
 * Throws a text, for a person to read, if the program fails.
 */
export async function launch(prepare: () => Launch, input: string): Promise<string> {
  let program: Program | undefined;
  try {
    const prepared = prepare();
    program = prepared.program;
    const value = input.trim() ? (JSON.parse(input) as unknown) : null;
    return toJson(await run(prepared.program, () => callMain(prepared, value)));
  } catch (error) {
    throw tell(error, program); // the binding takes a thrown text for the error of the call
  } finally {
    reportUnhandled(program);
    LOOP.close();
  }
}

/** Have the program answer a request; if it fails, stderr says what and where, and the client that it failed. */
export async function answer({ program, load }: Launch, exchange: Exchange): Promise<void> {
  try {
    await run(program, async () => exchange.send(await callHandle(program, load(), exchange.request())));
  } catch (error) {
    console.error(tell(error, program));
    exchange.fail();
  } finally {
    reportUnhandled(program);
    LOOP.close();
  }
}

/** What comes of `work`, unless nothing ever can. */
function run<T>(program: Program, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    LOOP.start({
      rested: () => reportUnhandled(program),
      idle: () => {
        const cause = 'every task waits, and no operation of the server and no timer is under way';
        reject(new InferletError('deadlock', cause));
      },
      threw: (error) => console.error(`Uncaught in a timer: ${describe(error, program)}`),
    });
    work().then(resolve, reject);
  });
}

async function callMain({ program, load }: Launch, value: unknown): Promise<unknown> {
  const exported = load();
  const main = exported.main ?? exported.default;
  if (typeof main !== 'function') throw new InferletError('no-main', `${program.entry} exports no function main`);
  return (await main(value)) as unknown;
}

async function callHandle(program: Program, { handle }: ProgramModule, request: Request): Promise<unknown> {
  if (typeof handle !== 'function') throw new InferletError('no-handler', `${program.entry} exports no function handle`);
  return (await handle(request)) as unknown;
}

function toJson(result: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(result ?? null);
  } catch (error) {
    throw new InferletError('not-json', `main() returned what JSON cannot express: ${String(error)}`);
  }
  if (text === undefined) throw new InferletError('not-json', `main() returned a ${typeof result}`);
  return text;
}

function tell(error: unknown, program: Program | undefined): string {
  try {
    return describe(error, program);
  } catch {
    return 'Error: the program failed, and its error cannot be shown'; // out of memory or stack, as it seems
  }
}

function reportUnhandled(program: Program | undefined): void {
  for (const reason of takeUnhandled()) console.error(`Unhandled rejection: ${tell(reason, program)}`);
}
