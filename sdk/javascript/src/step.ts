/** One step of a generation, run by the program. */

import type { ForwardPass } from 'pie:core/inference';
import { logitMasks, seed as seedDraws } from 'pie:ext/sampling';

import { InferletError } from './errors.ts';
import { positionsFrom, runPass } from './forward.ts';
import type { Generator } from './generator.ts';
import type { Brle } from './mask.ts';
import { u32List } from './numbers.ts';
import { Output, ProbeHandle, type SampleHandle } from './output.ts';
import type { Draft, StepProbe } from './plan.ts';
import { Readouts } from './readouts.ts';
import type { Probe } from './sampler.ts';
import type { Speculator } from './speculator.ts';
import type { Kept } from './tally.ts';

/** A step that has not run yet. Its inputs are the tokens buffered in the context, the last one drawn included. */
export class GenStep {
  readonly #generator: Generator;
  readonly #mask: Brle;
  readonly #pending: Uint32Array;
  readonly #probes: StepProbe[];
  #draws = true;

  /** @internal */
  constructor(generator: Generator, mask: Brle) {
    this.#generator = generator;
    this.#mask = mask;
    this.#pending = generator.context.buffer();
    this.#probes = [...generator.plan.probes];
  }

  /** Draw nothing; read probes and call `Generator.accept` instead. */
  clearSampler(): this {
    this.#draws = false;
    return this;
  }

  /** Read the logits after the input token at `index` of this step; -1 is the last one. */
  probe(index: number, probe: Probe): ProbeHandle {
    const handle = new ProbeHandle();
    this.#probes.push({ index, probe, handle });
    return handle;
  }

  /**
   * Run the step and move the generation on. If the pass fails, the step may be tried again.
   *
   * At the model's context length the generation ends, and the output is empty.
   */
  async execute(): Promise<Output> {
    const { pages } = this.#generator.context;
    let { drafts, masks } = this.#guess();
    while (this.#pending.length > 0) {
      const { numWorking } = pages;
      try {
        return await this.#run(drafts, masks);
      } catch (error) {
        const isFull = error instanceof InferletError && error.code === 'prompt-too-long';
        if (!isFull || (drafts.length === 0 && !this.#onlyGoesOn)) throw error;
      }
      // The context is full: with the guesses, or with what was drawn last. Nothing was computed.
      if (pages.numWorking > numWorking) pages.release(pages.numWorking - numWorking);
      if (drafts.length === 0) break;
      drafts = masks = [];
    }
    this.#generator.end();
    return new Output({ slots: [], specTokens: new Uint32Array(), specPositions: new Uint32Array() }, new Map());
  }

  /** Whether the input is the last token drawn and nothing else. */
  get #onlyGoesOn(): boolean {
    return this.#pending.length === 1 && this.#generator.tally.numGenerated > 0;
  }

  async #run(drafts: Draft[], masks: Brle[]): Promise<Output> {
    const { context, plan, tally } = this.#generator;
    const numInputs = this.#pending.length + drafts.length;
    const readouts = new Readouts();
    const sampled = this.#attach(readouts);
    context.pages.reserve(numInputs);
    const raw = await runPass(context, plan, (pass) => {
      this.#fill(pass, drafts, masks);
      readouts.attachTo(pass);
    });
    context.pending.drop(this.#pending.length);
    context.pages.wrote(numInputs);
    const places = readouts.places(raw.slots.length);
    const drawn = sampled === undefined ? new Uint32Array() : new Output(raw, places).tokensAt(sampled);
    const kept = tally.take(drawn);
    plan.systemDrafts = Array.from(raw.specTokens, (token, i) => ({ token, position: raw.specPositions[i]! }));
    this.#settle(kept, drafts.length);
    return new Output(raw, places, kept.tokens, sampled);
  }

  /** Guessed tokens, no more than can be used, and what may be drawn after each of them. */
  #guess(): { drafts: Draft[]; masks: Brle[] } {
    const { plan, tally } = this.#generator;
    if (!this.#draws || this.#pending.length === 0 || tally.numRemaining === 1) return { drafts: [], masks: [] };
    let drafts: readonly Draft[] = plan.speculator === undefined ? this.#ownDrafts() : this.#ask(plan.speculator);
    if (tally.numRemaining !== undefined) drafts = drafts.slice(0, tally.numRemaining - 1);
    const masks = drafts.length > 0 ? plan.masksAhead(Uint32Array.from(drafts, ({ token }) => token)) : [];
    return { drafts: drafts.slice(0, masks.length), masks };
  }

  /** The guesses of the server, unless the program has added tokens of its own meanwhile. */
  #ownDrafts(): readonly Draft[] {
    const { context, plan } = this.#generator;
    const first = context.seqLen + this.#pending.length;
    return plan.systemDrafts[0]?.position === first ? plan.systemDrafts : [];
  }

  #ask(speculator: Speculator): Draft[] {
    const [guesses, places] = speculator.draft();
    const tokens = u32List(guesses, 'a guess');
    const first = this.#generator.context.seqLen + this.#pending.length;
    const positions = places.length > 0 ? u32List(places, 'a position') : positionsFrom(first, tokens.length);
    if (tokens.length !== positions.length) {
      const cause = `the speculator gave ${tokens.length} tokens and ${positions.length} positions`;
      throw new InferletError('bad-draft', cause);
    }
    return Array.from(tokens, (token, index) => ({ token, position: positions[index]! }));
  }

  #attach(readouts: Readouts): SampleHandle | undefined {
    const { plan } = this.#generator;
    // The server checks the guesses with this sampler: its slots are one for each right guess, and one more.
    const sampled = this.#draws ? readouts.sample([this.#pending.length - 1], plan.sampler) : undefined;
    for (const { index, probe, handle } of this.#probes) {
      readouts.probe(index >= 0 ? index : this.#pending.length + index, probe, handle);
    }
    return sampled;
  }

  #fill(pass: ForwardPass, drafts: Draft[], masks: Brle[]): void {
    const { context, plan, tally } = this.#generator;
    const start = context.seqLen;
    pass.inputTokens(this.#pending, positionsFrom(start, this.#pending.length));
    if (drafts.length > 0) {
      const tokens = Uint32Array.from(drafts, ({ token }) => token);
      pass.inputSpeculativeTokens(tokens, Uint32Array.from(drafts, ({ position }) => position));
    }
    if (plan.systemSpeculation && tally.numRemaining !== 1) pass.outputSpeculativeTokens(true);
    if (plan.window !== undefined) {
      pass.attentionMask(plan.window.rows(start, this.#pending.length + drafts.length));
    }
    if (masks.some((mask) => mask.length > 0)) logitMasks(pass, [this.#mask, ...masks]);
    else if (this.#mask.length > 0) pass.logitMask(this.#mask);
    if (plan.seed !== undefined) seedDraws(pass, plan.seed, BigInt(tally.numGenerated));
  }

  #settle(kept: Kept, numDrafts: number): void {
    const { context, plan } = this.#generator;
    const numWrong = numDrafts - Math.min(numDrafts, kept.numFed);
    plan.speculator?.accept(kept.tokens);
    if (numWrong > 0) {
      context.truncate(numWrong);
      plan.speculator?.rollback(numWrong);
    }
    this.#generator.movedOn(kept.tokens);
    if (kept.tokens.length > 0 && !kept.stopped) context.append(kept.tokens.slice(-1));
    context.pages.commit();
    if (plan.window !== undefined) context.pages.discard(plan.window.unseenPages(context.seqLen, context.pageSize));
  }
}
