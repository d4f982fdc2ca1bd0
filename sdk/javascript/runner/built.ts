/** A built program: its code is part of the component, and its top-level code has run already. */

import PROGRAM from './program.json';

import { launch, type Launch } from './launching.ts';
import { evaluate } from './program.ts';
import * as rejections from './rejections.ts';
import * as surroundings from './surroundings.ts';

rejections.install();
surroundings.install();
const MODULE = evaluate(PROGRAM);

/** The program of this component. */
export const BUILT: Launch = { program: PROGRAM, load: () => MODULE };

/** The export `pie:<name>/run`. */
export const run = {
  run: (input: string): Promise<string> => launch(() => BUILT, input),
};
