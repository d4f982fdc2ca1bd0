// Single forward passes: inputs, masks, samplers, probes, outputs.

import {
  Context,
  Distribution,
  Entropy,
  Logits,
  Logprob,
  Logprobs,
  Model,
  Sampler,
  type Output,
  type Probe,
  type ProbeHandle,
} from 'inferlet';

import { filled, tokens } from './contexts.ts';
import { ARGMAX } from './generating.ts';
import { assert, equal, proves, refused } from './registry.ts';

/** Run one pass over fixed tokens and read `what` at its last row. */
async function read(what: Probe): Promise<[Output, ProbeHandle]> {
  using context = new Context(Model.default());
  const step = context.forward().input(tokens(6));
  const handle = step.probe(5, what);
  return [await step.execute(), handle];
}

/** The tokens that a sampler draws at the last row of fixed tokens. */
async function drawn(sampler: Sampler, { seed = 1, mask }: { seed?: number; mask?: number[] } = {}): Promise<number[]> {
  using context = new Context(Model.default());
  const step = context.forward().input(tokens(6)).seed(seed);
  if (mask !== undefined) step.mask(mask);
  const handle = step.sample([5], sampler);
  return Array.from((await step.execute()).tokensAt(handle));
}

proves(
  ['forward.input', 'forward.execute', 'forward.sample', 'output.token', 'Sampler.argmax', 'forward.startPosition'],
  async () => {
    using context = await filled(7);
    const step = context.forward();
    equal(step.startPosition(), 7);
    const handle = step.input([60]).input([61]).sample([1], ARGMAX);
    const output = await step.execute();
    assert(output.token(handle) !== undefined);
    equal([context.seqLen, output.tokens.length, output.autoSampler], [9, 0, undefined]);
  },
);

proves(['forward.inputAt'], async () => {
  async function lastRow(positions: number[]): Promise<Uint8Array> {
    using context = new Context(Model.default());
    const step = context.forward().inputAt(tokens(6), positions);
    const handle = step.probe(5, Logits());
    return (await step.execute()).logits(handle)!;
  }
  const [output, handle] = await read(Logits());
  equal(await lastRow([0, 1, 2, 3, 4, 5]), output.logits(handle));
  assert(String(await lastRow([0, 1, 2, 3, 4, 90])) !== String(output.logits(handle)));
  using context = new Context(Model.default());
  assert(refused('bad-positions', () => context.forward().inputAt([1, 2], [0])));
});

proves(['forward.attentionMask'], async () => {
  async function lastRow(masks?: number[][]): Promise<Uint8Array> {
    using context = new Context(Model.default());
    const step = context.forward().input(tokens(4));
    if (masks !== undefined) step.attentionMask(masks);
    const handle = step.probe(3, Logits());
    return (await step.execute()).logits(handle)!;
  }
  const causal = [0, 1, 2, 3].map((row) => [0, row + 1]);
  equal(await lastRow(causal), await lastRow());
  const window = [...causal.slice(0, 3), [2, 2]];
  assert(String(await lastRow(window)) !== String(await lastRow()));
});

proves(['forward.mask'], async () => {
  equal(await drawn(ARGMAX, { mask: [77, 1] }), [77]);
  const many = await drawn(Sampler.multinomial(2, 40), { mask: [77, 3] });
  assert(many.every((token) => token >= 77 && token < 80));
});

proves(['forward.probe', 'output.logits', 'Logits'], async () => {
  const [output, handle] = await read(Logits());
  const raw = output.logits(handle)!;
  assert(raw instanceof Uint8Array);
  const values = Array.from(new Float32Array(raw.slice().buffer));
  equal(values.length, 2048);
  equal(values.indexOf(Math.max(...values)), (await drawn(ARGMAX))[0]);
});

proves(['output.tokensAt'], async () => {
  using context = new Context(Model.default());
  const step = context.forward().input(tokens(6));
  const several = step.sample([1, 3, 5], ARGMAX);
  const one = step.sample([3], ARGMAX);
  const output = await step.execute();
  equal(output.tokensAt(several).length, 3);
  equal(output.tokensAt(several)[1], output.token(one));
});

proves(['output.distribution', 'Distribution'], async () => {
  const [output, handle] = await read(Distribution(1, 5));
  const [ids, shares] = output.distribution(handle)!;
  equal([ids.length, shares.length], [5, 5]);
  equal(shares, Float32Array.from(shares).sort().reverse());
  equal(ids[0], (await drawn(ARGMAX))[0]);
});

proves(['Distribution k=0'], async () => {
  const [output, handle] = await read(Distribution(0.7, 0));
  const [ids, shares] = output.distribution(handle)!;
  equal(new Set(ids).size, 2048);
  assert(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 1e-3);
});

proves(['output.logprobs', 'Logprobs', 'Logprob'], async () => {
  const [output, handle] = await read(Distribution(1, 3));
  const [ids, shares] = output.distribution(handle)!;
  const [second, order] = await read(Logprobs([ids[2]!, ids[0]!, ids[1]!]));
  const values = second.logprobs(order)!;
  [shares[2]!, shares[0]!, shares[1]!].forEach((share, index) => {
    assert(Math.abs(values[index]! - Math.log(share)) < 1e-3);
  });
  const [third, one] = await read(Logprob(ids[0]!));
  equal(third.logprobs(one)!.length, 1);
});

proves(['output.entropy', 'Entropy'], async () => {
  const [output, handle] = await read(Entropy());
  const [whole, all] = await read(Distribution(1, 0));
  const expected = whole.distribution(all)![1].reduce((sum, share) => sum - (share > 0 ? share * Math.log(share) : 0), 0);
  assert(Math.abs(output.entropy(handle)! - expected) < 1e-2);
});

proves(['output.raw'], async () => {
  const [output] = await read(Entropy());
  equal([output.raw.slots.length, output.raw.specTokens.length], [1, 0]);
});

/** All tokens that a sampler draws with so many seeds. */
async function kinds(sampler: Sampler, count = 60): Promise<Set<number>> {
  const found = new Set<number>();
  for (let seed = 0; seed < count; seed += 1) for (const token of await drawn(sampler, { seed })) found.add(token);
  return found;
}

const within = (found: Set<number>, allowed: Set<number>): boolean => [...found].every((token) => allowed.has(token));

proves(['Sampler.topK'], async () => {
  const [output, handle] = await read(Distribution(1, 3));
  const found = await kinds(Sampler.topK(3, 3));
  assert(within(found, new Set(output.distribution(handle)![0])) && found.size > 1);
});

proves(['Sampler.topP'], async () => {
  const [output, handle] = await read(Distribution(2, 0));
  const [ids, shares] = output.distribution(handle)!;
  const nucleus = new Set<number>();
  for (let index = 0, mass = 0; mass < 0.5; mass += shares[index]!, index += 1) nucleus.add(ids[index]!);
  assert(within(await kinds(Sampler.topP(2, 0.5)), nucleus));
  equal(await drawn(Sampler.topP(0, 1)), await drawn(ARGMAX));
});

proves(['Sampler.minP'], async () => {
  const [output, handle] = await read(Distribution(2, 0));
  const [ids, shares] = output.distribution(handle)!;
  const likely = new Set(Array.from(ids).filter((_, index) => shares[index]! >= 0.299 * shares[0]!));
  assert(within(await kinds(Sampler.minP(2, 0.3)), likely));
});

proves(['Sampler.topKTopP'], async () => {
  const [output, handle] = await read(Distribution(2, 4));
  const [ids, shares] = output.distribution(handle)!;
  assert(within(await kinds(Sampler.topKTopP(2, 4, 0.99)), new Set(ids)));
  const first = shares[0]! / shares.reduce((sum, share) => sum + share, 0); // of the first four together
  equal([...(await kinds(Sampler.topKTopP(2, 4, first / 2), 10))], [ids[0]]);
});

proves(['Sampler.multinomial'], async () => {
  const many = await drawn(Sampler.multinomial(3, 50));
  assert(many.length === 50 && new Set(many).size > 5);
  equal(many, await drawn(Sampler.multinomial(3, 50)));
});
