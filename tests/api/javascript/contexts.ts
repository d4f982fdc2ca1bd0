// Runtime, model, tokenizer, contexts, raw pages, scheduling.

import * as inferlet from 'inferlet';
import { Context, Model, Sampler, chat, runtime, scheduling } from 'inferlet';

import { assert, equal, proves, refused } from './registry.ts';

/** Some valid token ids. */
export function tokens(count: number): number[] {
  return Array.from({ length: count }, (_, index) => 40 + (index % 200));
}

/** A context with so many tokens in its pages. */
export async function filled(count: number): Promise<Context> {
  const context = new Context(Model.default()).append(tokens(count));
  await context.flush();
  return context;
}

const NAMES = `
  Model Tokenizer Context Adapter Forward Output Generator GenStep Sampler Logits Distribution Logprob Logprobs Entropy
  Grammar GrammarConstraint Matcher Subscription McpSession
  jsonSchema anyJson regex ebnf grammar chat reasoning tools runtime scheduling session messaging mcp
`;

proves(['import'], () => equal(NAMES.trim().split(/\s+/).filter((name) => !(name in inferlet)), []));

proves(['main(input)'], (input) => equal(input.row, 'main(input)'));

proves(['main returns JSON'], () => ({ list: [1, 2.5, null, true], text: 'zażółć' }));

proves(['runtime.models', 'Model.load'], () => {
  const names = runtime.models();
  assert(names.length >= 1);
  assert(Model.load(names[0]!).tokenizer().encode('a').length > 0);
  assert(refused('model-not-served', () => Model.load('no such model')));
});

proves(['runtime.version'], () => assert(/^\d+\.\d+\.\d+$/.test(runtime.version())));
proves(['runtime.instanceId'], () => assert(runtime.instanceId() !== '' && runtime.instanceId() === runtime.instanceId()));
proves(['runtime.username'], () => equal(runtime.username(), 'local'));

proves(['model.tokenizer', 'tokenizer.encode', 'tokenizer.decode'], () => {
  const tokenizer = Model.default().tokenizer();
  for (const text of ['Hello, world', 'zażółć gęślą jaźń 🥧', ' leading', '']) {
    const ids = tokenizer.encode(text);
    assert(ids instanceof Uint32Array);
    equal(tokenizer.decode(ids), text);
  }
  equal(tokenizer.encode('<|im_end|>').length, 1);
});

proves(['tokenizer.vocabs'], () => {
  const [ids, values] = Model.default().tokenizer().vocabs();
  assert(ids.length === values.length && ids.length > 1000 && new Set(ids).size === ids.length);
  const known = new Map(Array.from(ids, (id, index) => [id, values[index]!]));
  const pieces = Array.from(Model.default().tokenizer().encode('Hello 🥧'), (token) => Array.from(known.get(token)!));
  equal(new TextDecoder().decode(new Uint8Array(pieces.flat())), 'Hello 🥧');
});

proves(['tokenizer.specialTokens'], () => {
  const [ids, values] = Model.default().tokenizer().specialTokens();
  const place = values.findIndex((value) => new TextDecoder().decode(value) === '<|im_end|>');
  assert(Array.from(chat.stopTokens(Model.default())).includes(ids[place]!));
});

proves(['tokenizer.splitRegex'], () => equal(typeof Model.default().tokenizer().splitRegex(), 'string'));

proves(['new Context', 'context.seqLen', 'context.buffer', 'context.append', 'context.flush'], async () => {
  using context = new Context(Model.default());
  equal([context.seqLen, context.buffer()], [0, []]);
  assert(context.append(tokens(20)) === context);
  equal([context.seqLen, context.buffer()], [0, tokens(20)]);
  await context.flush();
  equal([context.seqLen, context.buffer()], [20, []]);
});

proves(['context.model', 'context.pageSize', 'tokensPerPage'], () => {
  const model = Model.default();
  using context = new Context(model);
  assert(context.model === model);
  equal([context.pageSize, context.tokensPerPage()], [16, 16]);
});

proves(['context.system', 'context.user', 'context.assistant', 'context.cue', 'context.seal'], () => {
  const model = Model.default();
  using context = new Context(model);
  context.system('Be brief.').user('Hi').assistant('Hello').user('Bye').cue();
  equal(
    model.tokenizer().decode(context.buffer()),
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n' +
      '<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n',
  );
  const before = context.buffer().length;
  assert(model.tokenizer().decode(context.seal().buffer().slice(before)).startsWith('<|im_end|>'));
});

proves(['context.appendText'], () => {
  const model = Model.default();
  using context = new Context(model);
  equal(context.appendText('Hello').buffer(), model.tokenizer().encode('Hello'));
});

proves(['context.fork'], async () => {
  using context = await filled(20);
  context.append([50]);
  using twin = context.fork();
  equal([twin.seqLen, twin.buffer()], [20, [50]]);
  twin.append([51]);
  await twin.flush();
  equal([context.seqLen, context.buffer(), twin.seqLen], [20, [50], 22]);
});

proves(['context.save', 'Context.open', 'Context.delete'], async () => {
  const model = Model.default();
  const name = 'api-row-js-save';
  using context = await filled(40);
  context.save(name);
  context.append(tokens(3));
  await context.flush();
  context.save(name); // replaces
  assert(refused('snapshot-exists', () => context.save(name, { overwrite: false })));
  using opened = Context.open(model, name)!;
  equal(opened.seqLen, 43);
  Context.delete(model, name);
  equal(Context.open(model, name), undefined);
});

proves(['Context.take'], async () => {
  const model = Model.default();
  using context = await filled(17);
  context.save('api-row-js-take');
  using taken = Context.take(model, 'api-row-js-take')!;
  equal(taken.seqLen, 17);
  equal(Context.open(model, 'api-row-js-take'), undefined);
  equal(Context.take(model, 'api-row-js-take'), undefined);
});

proves(['context.snapshot'], async () => {
  using context = await filled(5);
  const names = new Set([context.snapshot(), context.snapshot()]);
  equal(names.size, 2);
  for (const name of names) {
    using taken = Context.take(context.model, name)!;
    equal(taken.seqLen, 5);
  }
});

proves(['context.release'], async () => {
  const context = await filled(5);
  context.release();
  assert(refused('released', () => context.fork()));
});

proves(['context disposal'], async () => {
  let inner: Context;
  {
    using context = await filled(5);
    inner = context;
  }
  assert(refused('released', () => inner.fork()));
});

proves(['context.truncate'], async () => {
  using context = await filled(21);
  context.truncate(3);
  equal(context.seqLen, 18);
  using whole = await filled(18);
  await endAlike(context, whole);
  context.truncate(100);
  equal(context.seqLen, 16);
});

/** Throws unless both go on with the same tokens. */
async function endAlike(first: Context, second: Context): Promise<void> {
  const ends: Uint32Array[] = [];
  for (const each of [first, second]) {
    ends.push(await each.generate(Sampler.argmax(), { maxTokens: 6, stop: [] }).collectTokens());
  }
  equal(ends[0], ends[1]);
}

proves(['context.setBid'], () => {
  using context = new Context(Model.default());
  context.setBid(2.5);
  context.setBid(0);
  assert(refused('bad-bid', () => context.setBid(NaN)));
});

proves(['context.idle'], () => {
  using context = new Context(Model.default());
  {
    using _ = context.idle();
    equal(context.seqLen, 0);
  }
});

proves(['reserveWorkingPages', 'workingPageCount', 'releaseWorkingPages'], async () => {
  using context = await filled(20);
  context.reserveWorkingPages(3);
  equal(context.workingPageCount(), 4);
  context.releaseWorkingPages(2);
  equal([context.workingPageCount(), context.seqLen], [2, 20]);
  context.releaseWorkingPages(2);
  equal([context.workingPageCount(), context.seqLen], [0, 16]);
});

proves(['commitWorkingPages', 'committedPageCount', 'workingPageTokenCount'], async () => {
  using context = new Context(Model.default());
  await context.forward().inputAt(tokens(37), Array.from({ length: 37 }, (_, index) => index)).execute();
  equal([context.committedPageCount(), context.workingPageTokenCount()], [0, 37]);
  assert(refused('not-committable', () => context.commitWorkingPages(3)));
  context.commitWorkingPages(2);
  equal([context.committedPageCount(), context.workingPageTokenCount()], [2, 5]);
  using whole = await filled(37);
  await endAlike(context, whole);
});

proves(['truncateWorkingPageTokens'], async () => {
  using context = await filled(21);
  context.truncateWorkingPageTokens(3);
  equal([context.seqLen, context.workingPageTokenCount(), context.workingPageCount()], [18, 2, 1]);
  using whole = await filled(18);
  await endAlike(context, whole);
});

proves(['scheduling.price'], () => equal(scheduling.price(), 1));

proves(['scheduling.balance', 'scheduling.dividend'], () => {
  assert(scheduling.balance(Model.default()) > 0);
  assert(scheduling.dividend(Model.default()) >= 0);
});

proves(['scheduling.rent', 'scheduling.latency'], async () => {
  using context = await filled(5);
  await context.append([40]).generate(Sampler.argmax(), { maxTokens: 40, stop: [] }).collectTokens();
  assert(scheduling.rent(context) >= 0);
  assert(scheduling.latency(context) > 0);
});

