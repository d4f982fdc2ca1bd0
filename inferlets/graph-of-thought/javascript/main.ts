// Graph of thought: parts are solved apart, scored, refined while none of them holds, and merged until one is left.
//
// The task is to add up a list. A thought is the sum of a part of it. Two thoughts are merged by a context that asks
// for their sum; a candidate is scored by how often the model, taking one of the two away again, finds the other.

import { Context, Model, Sampler, session } from 'inferlet';

const TEMPERATURES = [2, 1, 0]; // of the first candidates, which differ much, and of each refinement

interface Input {
  numbers?: string;
  candidates?: number;
}

export async function main(input: Input) {
  let thoughts = (input.numbers ?? '17, 38, 26, 12, 25, 33, 9, 24').split(',').map(Number);
  using context = new Context(Model.default());
  const direct = await ask(context, `What is ${thoughts.join(' + ')}?`, 0);
  while (thoughts.length > 1) {
    const numPairs = Math.floor(thoughts.length / 2);
    const pairs = Array.from({ length: numPairs }, (_, index) => thoughts.slice(2 * index, 2 * index + 2));
    const alone = thoughts.slice(2 * numPairs); // the last of an odd number of thoughts waits for the next round
    const merges = await Promise.all(pairs.map(([a, b]) => merge(context, a!, b!, input.candidates ?? 4)));
    for (const { story } of merges) session.send(story);
    thoughts = [...merges.map(({ total }) => total), ...alone];
  }
  return { answer: thoughts[0]!, without_graph: direct };
}

/** The best candidate for the sum of two thoughts, and how it was found. */
async function merge(context: Context, a: number, b: number, numCandidates: number) {
  let story = `${a} + ${b}:`;
  let best = { total: 0, score: 0, count: 0 };
  for (const temperature of TEMPERATURES) {
    const asked = Array.from({ length: numCandidates }, () => ask(context, `What is ${a} + ${b}?`, temperature));
    const candidates = await Promise.all(asked);
    const scores = await Promise.all(candidates.map((total) => score(context, total, a, b)));
    story += ` ${candidates.join(' ')} ->`;
    const ranked = candidates.map((total, index) => {
      return { total, score: scores[index]!, count: candidates.filter((other) => other === total).length };
    });
    // Among equal scores the one that was drawn most often wins.
    best = ranked.sort((x, y) => y.score - x.score || y.count - x.count)[0]!;
    if (best.score > 0) break;
  }
  return { total: best.total, story: `${story} ${best.total} (score ${best.score})` };
}

/** How many of two checks hold: the total without one part is the other. */
async function score(context: Context, total: number, a: number, b: number): Promise<number> {
  const rests = await Promise.all([a, b].map((part) => ask(context, `What is ${total} - ${part}?`, 0)));
  return Number(rests[0] === b) + Number(rests[1] === a);
}

/** The number with which the answer ends; 0 if there is none. */
async function ask(context: Context, question: string, temperature: number): Promise<number> {
  using fork = context.fork();
  const generator = fork.user(question).generate(Sampler.multinomial(temperature), { maxTokens: 160 });
  const answer = await generator.collectText({ reasoning: false });
  return Number(/\d+$/.exec(answer)?.[0] ?? 0);
}
