// Tokens, positions, numbers, masks and lists of passes and generations.

import { Distribution, Entropy, Logprob, Logprobs, Model, Sampler, Window, type Speculator } from 'inferlet';

import { calls, filled, fresh, generate, run, TOO_MANY, vocabulary } from './calls.ts';

/** A speculator that guesses always the same. */
function fixed(tokens: number[], positions: number[]): Speculator {
  return { draft: () => [tokens, positions], accept() {}, rollback() {}, reset() {} };
}

/** A constraint with always the same mask. */
function masked(mask: number[]) {
  return { step: () => Uint32Array.from(mask) };
}

async function at(tokens: number[], positions: number[]): Promise<unknown> {
  using context = fresh();
  const forward = context.forward().inputAt(tokens, positions);
  forward.sample([0], Sampler.argmax());
  return await forward.execute();
}

calls({
  'pass without input': () => fresh().forward().execute(),
  'output of another pass': async () => {
    const context = fresh();
    const handle = context.forward().input([60]).sample([0], Sampler.argmax());
    (await context.forward().input([61]).execute()).token(handle);
  },
  'negative token': () => run({ tokens: [-1] }),
  'token of 40 bits': () => run({ tokens: [2 ** 40] }),
  'token that is no whole number': () => run({ tokens: [1.5] }),
  'token that is text': () => run({ tokens: ['a' as never] }),
  'token beyond the vocabulary': () => run({ tokens: [vocabulary()] }),
  'token beyond the vocabulary in a generation': () => generate({ tokens: [vocabulary()] }),
  'guess beyond the vocabulary': () => generate({ speculator: fixed([vocabulary()], []) }),
  'guesses and positions of different number': () => generate({ speculator: fixed([60, 61], [1]) }),
  'both speculators': () => generate({ speculator: fixed([], []), systemSpeculation: true }),
  'probe of a token beyond the vocabulary': () => run({ fill: (forward) => forward.probe(0, Logprob(vocabulary())) }),
  'probe of a negative token': () => run({ fill: (forward) => forward.probe(0, Logprobs([-1])) }),
  'decoding of a token beyond the vocabulary': () => Model.default().tokenizer().decode([vocabulary()]),
  'prompt longer than the context': () => run({ tokens: Array(5000).fill(60) }),
  'positions of another number': () => at([60, 61], [0]),
  'negative position': () => at([60], [-1]),
  'position beyond the context': () => at([60], [2 ** 31]),
  'generation after positions that do not increase': async () => {
    using context = await filled(4);
    await context.forward().inputAt([60, 61], [2, 2]).execute();
    await context.append([62]).generate(Sampler.argmax(), { maxTokens: 2, autoFlush: false }).collectTokens();
  },
  'discarded page that may be seen': async () => {
    using context = await filled(40);
    context.pages.discard({ start: 0, end: 1 });
    await context.append([60]).flush();
  },
  'sampler beyond the input': () => run({ fill: (forward) => forward.sample([2], Sampler.argmax()) }),
  'probe beyond the input': () => run({ fill: (forward) => forward.probe(2, Entropy()) }),
  'probe before the input': () => run({ fill: (forward) => forward.probe(-1, Entropy()) }),
  'more slots than a pass may read': () => run({ fill: (pass) => pass.sample(new Uint32Array(TOO_MANY), Sampler.argmax()) }),
  'temperature that is no number': () => run({ sampler: Sampler.topP(NaN, 0.5) }),
  'endless temperature': () => run({ sampler: Sampler.topK(Infinity, 3) }),
  'negative temperature': () => run({ sampler: Sampler.multinomial(-1) }),
  'negative temperature in a generation': () => generate({ sampler: Sampler.topP(-1, 0.5) }),
  'temperature of a probe that is no number': () => run({ fill: (pass) => pass.probe(0, Distribution(NaN, 3)) }),
  'p of 0': () => run({ sampler: Sampler.topP(1, 0) }),
  'p above 1': () => run({ sampler: Sampler.topKTopP(1, 3, 1.5) }),
  'p that is no number': () => run({ sampler: Sampler.topP(1, NaN) }),
  'min-p below 0': () => run({ sampler: Sampler.minP(1, -0.1) }),
  'negative k': () => run({ sampler: Sampler.topK(1, -1) }),
  'k of 32 bits': () => run({ sampler: Sampler.topK(1, 2 ** 31) }),
  'no draws': () => run({ sampler: Sampler.multinomial(1, 0) }),
  'too many draws': () => run({ sampler: Sampler.multinomial(1, 5000) }),
  'negative limit': () => generate({ maxTokens: -1 }),
  'negative limit step by step': () => generate({ maxTokens: -1, constrain: masked([]) }),
  'negative stop token': () => generate({ stop: [-1] }),
  'negative seed': () => generate({ seed: -1 }),
  'seed of noise without an adapter': () => generate({ zoSeed: 3 }),
  'window without size': () => generate({ window: new Window(0) }),
  'unknown option': () => generate({ temperature: 1 } as never),
  'constraint that is none': () => generate({ constrain: 3 as never }),
  'attention mask with too few rows': () => run({ fill: (forward) => forward.attentionMask([[0, 1]]) }),
  'attention mask with a row too long': () => run({ fill: (forward) => forward.attentionMask([[0, 1], [0, 9]]) }),
  'attention mask with a negative run': () => run({ fill: (forward) => forward.attentionMask([[0, 1], [0, -2]]) }),
  'logit mask that is too long': () => run({ fill: (forward) => forward.mask([0, 10 ** 6]) }),
  'logit mask that allows nothing': () => run({ fill: (forward) => forward.mask([5]) }),
  'logit mask of a constraint that is too long': () => generate({ constrain: masked([0, 10 ** 6]) }),
  'logit mask of a generation that is too long': () => generate({ logitMask: [0, 10 ** 6] }),
  'mask of too many runs': () => run({ fill: (forward) => forward.mask(new Uint32Array(TOO_MANY)) }),
  'attention mask of too many runs': () =>
    run({ fill: (pass) => pass.attentionMask([new Uint32Array(TOO_MANY / 2 + 1), new Uint32Array(TOO_MANY / 2 + 1)]) }),
  'too many tokens to decode': () => Model.default().tokenizer().decode(new Uint32Array(TOO_MANY)),
});
