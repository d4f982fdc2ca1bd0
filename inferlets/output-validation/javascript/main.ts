// Output validation: ordinary code checks each piece of an answer; what is wrong is taken back and tried again.
//
// The list must name each thing by a single word, and no two may begin with the same letter. The context only ever holds
// what was found good. A retry starts from there, and is told what was wrong: that word is forbidden to it.

import { chat, type Constraint, Context, Model, Sampler, session } from 'inferlet';

interface Input {
  kind?: string;
  count?: number;
  tries?: number;
  temperature?: number;
}

export async function main(input: Input) {
  const count = input.count ?? 5;
  const sampler = Sampler.topP(input.temperature ?? 1, 0.95);
  const items: string[] = [];
  let rejected: Uint32Array[] = []; // what was wrong at this place of the list
  let numRejected = 0;
  using context = new Context(Model.default());
  context.user(`List ${count} ${input.kind ?? 'animals'}.`);
  await context.flush();
  context.cue();
  while (items.length < count && rejected.length < (input.tries ?? 6)) {
    const { tokens, item } = await propose(context, sampler, rejected);
    const fault = findFault(item, items);
    if (fault === undefined) {
      await keep(context, tokens);
      items.push(item);
      rejected = [];
    } else {
      session.send(`${item}: ${fault}`);
      rejected.push(tokens);
      numRejected += 1;
    }
  }
  return { items, rejected: numRejected, complete: items.length === count };
}

/** What is wrong with an item after others, or undefined. */
function findFault(item: string, items: string[]): string | undefined {
  if (!/^[A-Za-z]+$/.test(item)) return 'is not a single word';
  const other = items.find((one) => one[0] === item[0]);
  return other === undefined ? undefined : `begins like ${other}`;
}

/** The next item, as tokens and as text, made on a fork: the context stays as it is. */
async function propose(context: Context, sampler: Sampler, rejected: Uint32Array[]) {
  const tokenizer = context.model.tokenizer();
  const stop = [...chat.stopTokens(context.model), ...tokenizer.encode(',')];
  using fork = context.fork();
  const constrain = new Except(rejected, tokenizer.vocabs()[0].length);
  const tokens = await fork.generate(sampler, { maxTokens: 10, stop, autoFlush: false, constrain }).collectTokens();
  return { tokens, item: tokenizer.decode(tokens).trim() };
}

/** Make an item part of the context. The comma after it waits, as the input of the next step. */
async function keep(context: Context, tokens: Uint32Array): Promise<void> {
  await context.append(tokens).flush();
  context.appendText(',');
}

/** A constraint that forbids the token with which one of some token sequences would be complete. */
class Except implements Constraint {
  readonly #made: number[] = [];

  constructor(
    readonly sequences: Uint32Array[],
    readonly vocabSize: number,
  ) {}

  /** The tokens allowed next, as run lengths: forbidden and allowed by turns. */
  step(accepted: Uint32Array): Uint32Array {
    this.#made.push(...accepted);
    const isNext = (sequence: Uint32Array) => String(sequence.slice(0, -1)) === String(this.#made);
    const forbidden = new Set(this.sequences.filter(isNext).flatMap((sequence) => [...sequence.slice(-1)]));
    const runs = [0];
    let end = 0;
    for (const token of [...forbidden].sort((a, b) => a - b)) {
      runs.push(token - end, 1);
      end = token + 1;
    }
    return Uint32Array.from([...runs, this.vocabSize - end]);
  }
}
