// Generations: options, builders, collectors, steps, speculation, adapters.

import {
  Adapter,
  Context,
  Distribution,
  Entropy,
  Logits,
  Model,
  Sampler,
  chat,
  jsonSchema,
  regex,
  zo,
  type GenerateOptions,
  type Speculator,
} from 'inferlet';

import { tokens } from './contexts.ts';
import { assert, equal, proves, refused } from './registry.ts';

export const ARGMAX = Sampler.argmax();

/** A context with a question in its buffer. */
export function asked(text = 'What is the capital of France?'): Context {
  return new Context(Model.default()).user(text);
}

/** A context with fixed tokens in its buffer. */
function prompted(): Context {
  return new Context(Model.default()).append(tokens(9));
}

/** The first greedy tokens after a fixed prompt. */
async function greedy(count: number, options: GenerateOptions = {}): Promise<number[]> {
  using context = prompted();
  const generator = context.generate(ARGMAX, { maxTokens: count, stop: [], autoFlush: false, ...options });
  return Array.from(await generator.collectTokens());
}

proves(['generate maxTokens', 'generator.collectTokens', 'generator.tokensGenerated', 'generator.isDone'], async () => {
  using context = asked();
  const generator = context.generate(ARGMAX, { maxTokens: 3, stop: [] });
  equal([generator.tokensGenerated, generator.isDone], [0, false]);
  const made = await generator.collectTokens();
  assert(made instanceof Uint32Array);
  equal([made.length, generator.tokensGenerated, generator.isDone], [3, 3, true]);
});

proves(['generate stop'], async () => {
  const made = await greedy(8);
  equal(await greedy(8, { stop: [made[4]!] }), made.slice(0, made.indexOf(made[4]!)));
});

proves(['generate constrain', 'regex'], async () => {
  using context = asked();
  const text = await context.generate(ARGMAX, { maxTokens: 20, constrain: regex('[0-9]{3}') }).collectText();
  assert(/^[0-9]{3}$/.test(text), text);
});

proves(['generate constrain several'], async () => {
  using context = asked();
  const both = [regex('[0-9]{2,9}'), regex('(1|2|a)*')];
  const text = await context.generate(ARGMAX, { maxTokens: 6, constrain: both }).collectText();
  assert(/^[12]{2,}$/.test(text), text);
});

proves(['generate logitMask'], async () => {
  const made = await greedy(5, { logitMask: new Uint32Array([60, 2]) });
  assert(made.every((token) => token === 60 || token === 61));
});

/** Guesses a fixed continuation, and remembers what it is told. */
class Echo implements Speculator {
  readonly told: number[] = [];
  undone = 0;
  resets = 0;

  constructor(readonly continuation: number[]) {}

  draft(): [Uint32Array, Uint32Array] {
    const place = this.told.length;
    const guess = this.continuation.slice(place + 1, place + 4);
    return [Uint32Array.from(guess), Uint32Array.from(guess, (_, index) => 9 + place + 1 + index)];
  }

  accept(made: Uint32Array): void {
    this.told.push(...made);
  }

  rollback(n: number): void {
    this.undone += n;
  }

  reset(): void {
    this.resets += 1;
    this.told.length = 0;
  }
}

proves(['generate speculator', 'speculator.draft', 'speculator.accept'], async () => {
  const plain = await greedy(12);
  const echo = new Echo(plain);
  equal(await greedy(12, { speculator: echo }), plain);
  equal(echo.told, plain);
});

proves(['speculator.rollback'], async () => {
  const plain = await greedy(12);
  const wrong = new Echo(plain.map((token, index) => (index % 3 ? token : 7)));
  equal(await greedy(12, { speculator: wrong }), plain);
  assert(wrong.undone > 0);
});

proves(['speculator.reset'], async () => {
  const echo = new Echo(await greedy(6));
  await greedy(6, { speculator: echo });
  equal(echo.resets, 1);
});

proves(['generate systemSpeculation'], async () => {
  equal(await greedy(24, { systemSpeculation: true }), await greedy(24));
  using context = prompted();
  assert(
    refused('bad-option', () => context.generate(ARGMAX, { speculator: new Echo([]), systemSpeculation: true })),
  );
});

proves(['generate adapter', 'generator.adapter', 'forward.adapter', 'Adapter.create', 'adapter disposal'], async () => {
  const overlay = Adapter.create(Model.default(), 'api-row-js-adapter');
  zo.initialize(overlay, { rank: 4, alpha: 8, populationSize: 4, muFraction: 0.5, initialSigma: 0.01 });
  equal(await greedy(6, { adapter: overlay }), await greedy(6)); // its second factor is zero
  using context = prompted();
  const built = context.generate(ARGMAX, { maxTokens: 6, stop: [], autoFlush: false }).adapter(overlay);
  equal(await built.collectTokens(), await greedy(6));
  equal(await lastLogits(overlay), await lastLogits());
  assert((await lastLogits(overlay, 3)) !== (await lastLogits()));
  using stays = Adapter.open(Model.default(), 'api-row-js-adapter')!;
  overlay[Symbol.dispose]();
  assert(refused('released', () => overlay.fork('api-row-js-adapter-2')));
  stays.destroy();
});

/** What a pass over fixed tokens gives at its last row, as a text. */
async function lastLogits(adapter?: Adapter, zoSeed?: number): Promise<string> {
  using context = new Context(Model.default());
  const step = context.forward().input(tokens(4));
  if (adapter !== undefined) step.adapter(adapter);
  if (zoSeed !== undefined) step.zoSeed(zoSeed);
  const handle = step.probe(3, Logits());
  return String((await step.execute()).logits(handle));
}

const SEARCH = { rank: 4, alpha: 8, populationSize: 4, muFraction: 0.5, initialSigma: 0.5 };

proves(['generate zoSeed', 'generator.zoSeed', 'forward.zoSeed', 'zo.initialize'], async () => {
  using overlay = Adapter.create(Model.default(), 'api-row-js-zo');
  zo.initialize(overlay, SEARCH);
  const moved = await greedy(8, { adapter: overlay, zoSeed: 3 });
  equal(await greedy(8, { adapter: overlay, zoSeed: 3 }), moved);
  assert(JSON.stringify(moved) !== JSON.stringify(await greedy(8, { adapter: overlay })));
  equal(await lastLogits(overlay, 3), await lastLogits(overlay, 3));
  assert((await lastLogits(overlay, 3)) !== (await lastLogits(overlay, 4)));
  assert(refused('adapter-unusable', () => zo.initialize(overlay, SEARCH)));
  using context = prompted();
  const built = context.generate(ARGMAX, { maxTokens: 8, stop: [], autoFlush: false }).adapter(overlay).zoSeed(3);
  equal(await built.collectTokens(), moved);
  overlay.destroy();
});

proves(['generate horizon', 'generator.horizon'], async () => {
  equal(await greedy(4, { horizon: 4 }), await greedy(4));
  using context = prompted();
  const built = context.generate(ARGMAX, { maxTokens: 4, stop: [], autoFlush: false }).horizon(100);
  equal(await built.collectTokens(), await greedy(4));
});

proves(['generate autoFlush'], () => {
  using context = asked();
  const before = context.buffer().length;
  context.generate(ARGMAX, { maxTokens: 1 });
  equal(context.buffer().slice(before), chat.cue(Model.default()));
  using bare = asked();
  bare.generate(ARGMAX, { maxTokens: 1, autoFlush: false });
  equal(bare.buffer().length, before);
});

proves(['generator.maxTokens', 'generator.stop', 'generator.addStop'], async () => {
  const made = await greedy(8);
  using context = prompted();
  const generator = context.generate(ARGMAX, { autoFlush: false });
  assert(generator.maxTokens(8).stop([made[5]!]).addStop([made[3]!]) === generator);
  const end = Math.min(made.indexOf(made[5]!), made.indexOf(made[3]!));
  equal(await generator.collectTokens(), made.slice(0, end));
});

proves(['generator.constrain'], async () => {
  using context = asked();
  const text = await context.generate(ARGMAX, { maxTokens: 9 }).constrain(regex('ab?c')).collectText();
  assert(text === 'ac' || text === 'abc', text);
});

proves(['generator.probeEachStep'], async () => {
  using context = prompted();
  const generator = context.generate(ARGMAX, { maxTokens: 4, stop: [], autoFlush: false });
  const handle = generator.probeEachStep(0, Entropy());
  const seen: number[] = [];
  for await (const step of generator) seen.push((await step.execute()).entropy(handle)!);
  assert(seen.length === 4 && seen.every((entropy) => entropy >= 0));
});

proves(['generator.collectText'], async () => {
  using context = asked();
  equal(await context.generate(ARGMAX, { maxTokens: 40 }).collectText(), 'The capital of France is Paris.');
});

proves(['generator.collectJson', 'jsonSchema'], async () => {
  const schema = JSON.stringify({ type: 'object', properties: { kind: { enum: ['cat', 'dog'] } }, required: ['kind'] });
  const question = 'Extract JSON with the keys kind: The animal is a cat.';
  using first = asked(question);
  const record = await first.generate(ARGMAX, { maxTokens: 60 }).collectJson<{ kind: string }>({ schema });
  assert(record.kind === 'cat' || record.kind === 'dog');
  using second = asked(question);
  const parse = (value: unknown): string => (value as { kind: string }).kind;
  equal(await second.generate(ARGMAX, { maxTokens: 60 }).collectJson({ schema, parse }), record.kind);
  using third = asked(question);
  const text = await third.generate(ARGMAX, { maxTokens: 60, constrain: jsonSchema(schema) }).collectText();
  equal(JSON.parse(text), record);
});

proves(['for await step', 'step.execute', 'output.tokens', 'output.autoSampler'], async () => {
  using context = prompted();
  const made: number[] = [];
  for await (const step of context.generate(ARGMAX, { maxTokens: 5, stop: [], autoFlush: false })) {
    const output = await step.execute();
    equal(output.token(output.autoSampler!), output.tokens[0]);
    made.push(...output.tokens);
  }
  equal(made, await greedy(5));
});

proves(['step.probe'], async () => {
  using context = prompted();
  let count = 0;
  for await (const step of context.generate(ARGMAX, { maxTokens: 3, stop: [], autoFlush: false })) {
    const handle = step.probe(0, Distribution(1, 1));
    equal((await step.execute()).distribution(handle)![0].length, 1);
    count += 1;
  }
  equal(count, 3);
});

proves(['step.clearSampler', 'generator.accept'], async () => {
  using context = prompted();
  const generator = context.generate(ARGMAX, { maxTokens: 5, stop: [], autoFlush: false });
  const made: number[] = [];
  for await (const step of generator) {
    const handle = step.clearSampler().probe(made.length ? 0 : 8, Distribution(1, 1));
    const output = await step.execute();
    equal([output.autoSampler, output.tokens.length], [undefined, 0]);
    made.push(...generator.accept([output.distribution(handle)![0][0]!]));
  }
  equal(made, await greedy(5));
});

proves(['fork in mid-generation'], async () => {
  using context = prompted();
  const made: number[] = [];
  let rest: Uint32Array | undefined;
  for await (const step of context.generate(ARGMAX, { maxTokens: 8, stop: [], autoFlush: false })) {
    made.push(...(await step.execute()).tokens);
    if (made.length === 3) {
      using twin = context.fork();
      rest = await twin.generate(ARGMAX, { maxTokens: 5, stop: [], autoFlush: false }).collectTokens();
    }
  }
  equal(made.slice(3), rest);
});

proves(['save in mid-generation'], async () => {
  using context = prompted();
  const made: number[] = [];
  for await (const step of context.generate(ARGMAX, { maxTokens: 6, stop: [], autoFlush: false })) {
    made.push(...(await step.execute()).tokens);
    if (made.length === 2) context.save('api-row-js-mid');
  }
  using opened = Context.take(context.model, 'api-row-js-mid')!;
  opened.append(made.slice(1, 2)); // the last token is not in the pages yet
  const again = await opened.generate(ARGMAX, { maxTokens: 4, stop: [], autoFlush: false }).collectTokens();
  equal(again, made.slice(2));
});

proves(['Adapter.open', 'adapter.fork', 'adapter.destroy'], () => {
  const model = Model.default();
  using first = Adapter.create(model, 'api-row-js-first');
  zo.initialize(first, { rank: 2, alpha: 4, populationSize: 4, muFraction: 0.5, initialSigma: 0.01 });
  using second = first.fork('api-row-js-second');
  using found = Adapter.open(model, 'api-row-js-second');
  assert(found !== undefined);
  equal(Adapter.open(model, 'no such adapter'), undefined);
  first.destroy();
  second.destroy();
  equal(Adapter.open(model, 'api-row-js-first'), undefined);
});

proves(['zo.update'], async () => {
  using overlay = Adapter.create(Model.default(), 'api-row-js-update');
  zo.initialize(overlay, SEARCH);
  zo.update(overlay, [1, 2, 3, 4], [1, 2, 3, 4], 1);
  assert((await lastLogits(overlay)) !== (await lastLogits()));
  assert(refused('adapter-unusable', () => zo.update(overlay, [1], [1], 1)));
  overlay.destroy();
});

proves(['adapter.save', 'adapter.load'], async () => {
  const model = Model.default();
  using first = Adapter.create(model, 'api-row-js-saved');
  zo.initialize(first, { rank: 2, alpha: 4, populationSize: 4, muFraction: 0.5, initialSigma: 0.5 });
  zo.update(first, [1, 2, 3, 4], [1, 2, 3, 4], 1);
  first.save('/scratch/api.safetensors');
  using second = Adapter.create(model, 'api-row-js-loaded');
  second.load('/scratch/api.safetensors');
  equal(await greedy(6, { adapter: second }), await greedy(6, { adapter: first }));
  first.destroy();
  second.destroy();
});
