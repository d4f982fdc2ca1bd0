// Schemas, grammars, matchers, constraints of one's own.

import {
  Grammar,
  GrammarConstraint,
  Matcher,
  Model,
  anyJson,
  ebnf,
  grammar,
  jsonSchema,
  type Constraint,
  type Schema,
} from 'inferlet';

import { ARGMAX, asked } from './generating.ts';
import { assert, equal, proves, refused } from './registry.ts';

const SCHEMA = JSON.stringify({ enum: ['left', 'right'] });
const EBNF = 'root ::= "yes" | "no"';

/** What greedy generation makes under a constraint. */
async function textUnder(constrain: Schema | Constraint | (Schema | Constraint)[]): Promise<string> {
  using context = asked();
  return await context.generate(ARGMAX, { maxTokens: 40, constrain }).collectText();
}

const isYesOrNo = (text: string): boolean => text === 'yes' || text === 'no';
const isSide = (text: string): boolean => ['left', 'right'].includes(JSON.parse(text) as string);

proves(['anyJson'], async () => {
  const text = await textUnder([anyJson(), GrammarConstraint.fromRegex('[0-9]{1,4}', Model.default())]);
  assert(Number.isInteger(JSON.parse(text)));
});

proves(['ebnf'], async () => {
  assert(isYesOrNo(await textUnder(ebnf(EBNF))));
  assert(refused('bad-ebnf', () => Grammar.fromEbnf('root ::= (')));
});

proves(['grammar'], async () => assert(isYesOrNo(await textUnder(grammar(Grammar.fromEbnf(EBNF))))));

proves(['custom Schema'], async () => {
  class YesOrNo {
    buildConstraint(model: Model): GrammarConstraint {
      return GrammarConstraint.fromEbnf(EBNF, model);
    }
  }
  assert(isYesOrNo(await textUnder(new YesOrNo())));
});

/** Three digits, then nothing is restricted. */
class OnlyDigits implements Constraint {
  readonly seen: number[] = [];

  constructor(readonly allowed: number[]) {}

  step(accepted: Uint32Array): Uint32Array {
    this.seen.push(...accepted);
    if (this.seen.length >= 3) return new Uint32Array();
    const runs: number[] = [];
    let end = 0;
    for (const token of [...this.allowed].sort((a, b) => a - b)) {
      runs.push(token - end, 1);
      end = token + 1;
    }
    return Uint32Array.from(runs);
  }
}

proves(['custom Constraint'], async () => {
  const tokenizer = Model.default().tokenizer();
  const digits = Array.from({ length: 10 }, (_, digit) => tokenizer.encode(String(digit))[0]!);
  const constraint = new OnlyDigits(digits);
  using context = asked();
  const made = await context.generate(ARGMAX, { maxTokens: 5, stop: [], constrain: constraint }).collectTokens();
  assert(Array.from(made.slice(0, 3)).every((token) => digits.includes(token)));
  equal(constraint.seen.slice(0, 3), made.slice(0, 3));
});

proves(['Grammar.fromJsonSchema', 'GrammarConstraint.fromGrammar'], async () => {
  const compiled = Grammar.fromJsonSchema(SCHEMA);
  assert(isSide(await textUnder(GrammarConstraint.fromGrammar(compiled, Model.default()))));
  assert(refused('bad-schema', () => Grammar.fromJsonSchema('{')));
});

proves(['Grammar.json', 'GrammarConstraint.json'], async () => {
  assert(isSide(await textUnder([GrammarConstraint.json(Model.default()), jsonSchema(SCHEMA)])));
  const tokenizer = Model.default().tokenizer();
  using matcher = new Matcher(Grammar.json(), tokenizer);
  matcher.acceptTokens(tokenizer.encode('{"a": [1, 2]'));
});

proves(['Grammar.fromRegex', 'GrammarConstraint.fromRegex'], async () => {
  equal(await textUnder(GrammarConstraint.fromRegex('x{4}', Model.default())), 'xxxx');
  assert(refused('bad-regex', () => Grammar.fromRegex('(')));
});

proves(['Grammar.fromEbnf', 'GrammarConstraint.fromEbnf'], async () => {
  assert(isYesOrNo(await textUnder(GrammarConstraint.fromEbnf(EBNF, Model.default()))));
});

proves(['GrammarConstraint.fromJsonSchema'], async () => {
  assert(isSide(await textUnder(GrammarConstraint.fromJsonSchema(SCHEMA, Model.default()))));
});

proves(['new GrammarConstraint'], async () => {
  const walker = new Matcher(Grammar.fromEbnf(EBNF), Model.default().tokenizer());
  assert(isYesOrNo(await textUnder(new GrammarConstraint(walker))));
});

proves(
  ['new Matcher', 'matcher.acceptTokens', 'matcher.nextTokenLogitMask', 'matcher.isTerminated', 'matcher.reset'],
  () => {
    const tokenizer = Model.default().tokenizer();
    using walker = new Matcher(Grammar.fromEbnf('root ::= "ab"'), tokenizer);
    const start = walker.nextTokenLogitMask();
    assert(start instanceof Uint32Array && start.length >= 2);
    assert(refused('not-accepted', () => walker.acceptTokens(tokenizer.encode('zz'))));
    walker.acceptTokens(tokenizer.encode('ab'));
    equal(walker.isTerminated(), false);
    walker.acceptTokens(tokenizer.encode('<|im_end|>'));
    equal(walker.isTerminated(), true);
    walker.reset();
    equal(walker.nextTokenLogitMask(), start);
  },
);
