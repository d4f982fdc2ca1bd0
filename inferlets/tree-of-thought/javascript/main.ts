// Tree of thought: several next thoughts from each state, a value for each of them, and only the best states go on.
//
// The task is to sort numbers. A thought is one line of the work, such as "71 17 45 -> 17"; a state is a fork that
// holds the lines so far.

import { chat, Context, Logprob, Model, regex, Sampler, session } from 'inferlet';

interface Input {
  numbers?: string;
  proposals?: number;
  keep?: number;
}

/** A node of the tree. */
interface State {
  work: Context;
  ordered: number[];
  left: number[];
  value: number;
}

export async function main(input: Input) {
  const numbers = (input.numbers ?? '52, 27, 15, 73, 63, 85, 39').split(',').map(Number);
  using context = new Context(Model.default());
  context.user(`Sort these numbers: ${listed(numbers)}`);
  await context.flush(); // the states share these pages
  using fork = context.fork();
  const untied = await fork.generate(Sampler.argmax(), { maxTokens: 300 }).collectText({ reasoning: false });
  let states: State[] = [{ work: context.fork().cue().appendText('<think>\n'), ordered: [], left: numbers, value: 0 }];
  for (const _ of numbers) {
    states = await deeper(states, input.proposals ?? 5, input.keep ?? 3);
    session.send(states.map((state) => `${listed(state.ordered)} (${state.value.toFixed(2)})`).join(' | '));
  }
  return { answer: listed(states[0]!.ordered), without_tree: untied };
}

/** The best states that are one thought further on, best first. */
async function deeper(states: State[], numProposals: number, numKept: number): Promise<State[]> {
  const parents = states.flatMap((state) => Array<State>(numProposals).fill(state));
  const proposed = await Promise.all(parents.map(propose));
  const distinct = [...new Map(proposed.map((state) => [listed(state.ordered), state])).values()];
  const values = await Promise.all(distinct.map(value));
  const valued = distinct.map((state, index) => ({ ...state, value: values[index]! }));
  const best = valued.sort((a, b) => b.value - a.value).slice(0, numKept);
  const kept = new Set(best.map(({ work }) => work));
  for (const { work } of [...states, ...proposed]) if (!kept.has(work)) work.release();
  return best;
}

/** A state with one more thought, of those that may come next. */
async function propose(state: State): Promise<State> {
  const work = state.work.fork().appendText(`${state.left.join(' ')} -> `);
  const line = { constrain: regex(`(${state.left.join('|')})\n`), stop: chat.stopTokens(work.model) };
  const number = Number(await work.generate(Sampler.multinomial(2), { autoFlush: false, ...line }).collectText());
  const left = state.left.toSpliced(state.left.indexOf(number), 1);
  return { work, ordered: [...state.ordered, number], left, value: state.value };
}

/** How likely all thoughts are, in nats; the last one is probed as the answer to a question of its own. */
async function value(state: State): Promise<number> {
  if (state.left.length === 0) return state.value;
  const model = state.work.model;
  const encode = (text: string) => model.tokenizer().encode(text);
  const answer = encode(` ${state.ordered.at(-1)}.`);
  const lead = [...chat.cue(model), ...encode('The smallest is')];
  using question = new Context(model);
  question.user(`What is the smallest of ${listed([state.ordered.at(-1)!, ...state.left])}?`);
  question.append(lead.slice(0, -1));
  const forward = question.forward().input([lead.at(-1)!, ...answer.slice(0, -1)]);
  const probes = Array.from(answer, (token, index) => forward.probe(index, Logprob(token)));
  const output = await forward.execute();
  return probes.reduce((sum, probe) => sum + output.logprobs(probe)![0]!, state.value);
}

function listed(numbers: number[]): string {
  return numbers.join(', ');
}
