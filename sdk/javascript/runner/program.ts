/** A program as the host hands it over: one bundle, and the map from it to the author's files. */

import * as inferlet from 'inferlet';

import * as nodeFiles from '../src/node_files.ts';

/** What `pie.build.javascript` makes of a program's files. */
export interface Program {
  /** The author's file that defines `main`, for error texts. */
  readonly entry: string;
  /** All modules as one CommonJS text that requires nothing but the modules below. */
  readonly bundle: string;
  /** The source map of `bundle`, as JSON. */
  readonly map: string;
}

/** What a program may export. */
export interface ProgramModule {
  readonly main?: unknown;
  readonly handle?: unknown;
  readonly default?: unknown;
}

/** The name of the bundle in stack traces. */
export const BUNDLE = '<program>';

// As a bundle expects it of a module that was written as an ES module.
const INFERLET = Object.defineProperty({ ...inferlet }, '__esModule', { value: true });
const NODE_FILES = Object.defineProperty({ ...nodeFiles, default: nodeFiles }, '__esModule', { value: true });

/** The modules that a bundle may require (`PROVIDED` in pie.build.javascript). */
const MODULES = new Map<string, unknown>([
  ['inferlet', INFERLET],
  ['node:fs/promises', NODE_FILES],
  ['fs/promises', NODE_FILES],
]);

/** Run the top-level code of a program. */
export function evaluate(program: Program): ProgramModule {
  // Indirect eval keeps the line numbers of the bundle, which `new Function` does not.
  const text = `(function(module,exports,require){${program.bundle}\n})\n//# sourceURL=${BUNDLE}`;
  const load = (0, eval)(text) as (module: object, exports: object, require: (id: string) => unknown) => void;
  const module: { exports: ProgramModule } = { exports: {} };
  load(module, module.exports, (id) => {
    if (!MODULES.has(id)) throw new Error(`there is no module '${id}' here`);
    return MODULES.get(id);
  });
  return module.exports;
}
