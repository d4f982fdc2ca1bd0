/** How the tokens of a generation are made, as far as it does not change from token to token. */

import type { Adjustment } from 'pie:ext/generation';

import type { Adapter } from './adapter.ts';
import { adjustmentOf } from './adjustment.ts';
import { GrammarConstraint, type Constraint, type Foresight } from './constraints.ts';
import { intersect, type Brle } from './mask.ts';
import { s64, u32List, u64 } from './numbers.ts';
import type { GenerateOptions } from './options.ts';
import type { ProbeHandle } from './output.ts';
import type { Probe, Sampler } from './sampler.ts';
import type { Speculator } from './speculator.ts';
import type { Window } from './window.ts';

/** A probe of every step. */
export interface StepProbe {
  readonly index: number;
  readonly probe: Probe;
  readonly handle: ProbeHandle;
}

/** A guessed token and where it would stand. */
export interface Draft {
  readonly token: number;
  readonly position: number;
}

/** The settings of a generation. `systemDrafts` alone changes with each step: the server's guesses. */
export class Plan {
  readonly logitMask: Brle;
  readonly stopTexts: readonly string[];
  readonly adjustment: Adjustment | undefined;
  readonly logprobs: number | undefined;
  readonly constraints: Constraint[] = [];
  readonly speculator: Speculator | undefined;
  readonly seed: bigint | undefined;
  readonly window: Window | undefined;
  readonly probes: StepProbe[] = [];
  systemSpeculation: boolean;
  adapter: Adapter | undefined;
  zoSeed: bigint | undefined;
  horizon: number | undefined;
  systemDrafts: Draft[] = [];

  constructor(
    readonly sampler: Sampler,
    options: GenerateOptions,
  ) {
    this.logitMask = u32List(options.logitMask ?? [], 'a run');
    this.adjustment = adjustmentOf(options);
    this.logprobs = options.logprobs;
    this.stopTexts = [...(options.stopTexts ?? [])];
    this.speculator = options.speculator;
    this.systemSpeculation = options.systemSpeculation ?? false;
    this.adapter = options.adapter;
    this.zoSeed = options.zoSeed === undefined ? undefined : s64(options.zoSeed, 'zoSeed');
    this.horizon = options.horizon;
    this.window = options.window;
    this.seed = options.seed === undefined ? undefined : u64(options.seed, 'seed');
  }

  /**
   * Whether the server can run it alone: no code of the program is needed between two tokens.
   *
   * Probes are no hindrance: what they read is told with each step, and who lets a generation run sees no steps.
   */
  get fitsHost(): boolean {
    return (
      this.speculator === undefined && // its guesses, and what it learns of the tokens, are code of the program
      this.customs.length === 0 && // so are the masks of a constraint that is not a grammar
      this.sampler.draws === 1 // a step of several draws makes tokens that do not follow each other
    );
  }

  /** What the server alone can do, and only for a whole generation; undefined if nothing is. */
  get needsHost(): string | undefined {
    if (this.adjustment !== undefined) return 'a penalty or a logit bias';
    return this.logprobs === undefined ? undefined : 'logprobs';
  }

  /** The constraints that the server can apply by itself. */
  get grammars(): GrammarConstraint[] {
    return this.constraints.filter(isGrammar);
  }

  /** The constraints that are code of the program. */
  get customs(): Constraint[] {
    return this.constraints.filter((constraint) => !isGrammar(constraint));
  }

  /** What may be drawn after each of the guesses `tokens`, as far as the constraints allow and foresee them. */
  masksAhead(tokens: Uint32Array): Brle[] {
    const ahead = this.constraints.map((one) => (foresees(one) ? one.masksAhead(tokens) : []));
    const length = Math.min(tokens.length, ...ahead.map((masks) => masks.length));
    const masks: Brle[] = [];
    for (let index = 0; index < length; index += 1) {
      const both = intersect([this.logitMask, ...ahead.map((one) => one[index]!)]);
      if (both.length > 0 && !both.some((run, position) => position % 2 === 1 && run > 0)) break;
      masks.push(both);
    }
    return masks;
  }
}

function foresees(constraint: Constraint): constraint is Constraint & Foresight {
  return 'masksAhead' in constraint && typeof constraint.masksAhead === 'function';
}

function isGrammar(constraint: Constraint): constraint is GrammarConstraint {
  return Object.getPrototypeOf(constraint) === GrammarConstraint.prototype; // a subclass may step differently
}
