// A swarm: this program launches itself in several roles, and the copies find an answer together by messages.
//
// The root broadcasts a question to all solvers. Each solver pushes its answer to a queue, the judge pulls them and
// pushes its verdict, and the root returns that once all copies have ended.

import { chat, Context, Logprob, messaging, Model, runtime, Sampler } from 'inferlet';

interface Input {
  question?: string;
  solvers?: number;
  program?: string;
  role?: string;
  swarm?: string;
}

export async function main(input: Input) {
  const swarm = input.swarm ?? `swarm-${runtime.instanceId()}`;
  const question = input.question ?? 'Sort these words: plum, plate, pear, peach';
  const numSolvers = input.solvers ?? 4;
  if (input.role === 'solver') return await solve(swarm);
  if (input.role === 'judge') return await judge(swarm, question, numSolvers);

  // The name of a program is that of its folder.
  const launch = (role: string) =>
    runtime.launch(input.program ?? 'javascript', { role, swarm, question, solvers: numSolvers });
  const copies = [launch('judge'), ...Array.from({ length: numSolvers }, () => launch('solver'))];
  // If one of the copies fails, so does the root, and the others end with it.
  const endings = copies.map((copy) => copy.wait());
  const [verdict] = await Promise.all([ask(swarm, question, numSolvers), ...endings]);
  return verdict;
}

/** The root: ask all solvers, and wait for the verdict. */
async function ask(swarm: string, question: string, numSolvers: number): Promise<unknown> {
  // A broadcast reaches those who listen, nobody later.
  for (let ready = 0; ready < numSolvers; ready += 1) await messaging.pull(`${swarm}/ready`);
  messaging.broadcast(`${swarm}/question`, question);
  return JSON.parse(await messaging.pull(`${swarm}/verdict`));
}

/** A solver: listen for a question, and give an answer of its own. */
async function solve(swarm: string): Promise<void> {
  using questions = messaging.subscribe(`${swarm}/question`);
  messaging.push(`${swarm}/ready`, '');
  const question = (await questions.next())!;
  using context = new Context(Model.default());
  const generator = context.user(question).generate(Sampler.topP(1, 0.95), { maxTokens: 60 });
  messaging.push(`${swarm}/answers`, await generator.collectText({ reasoning: false }));
}

/** The judge: of all answers, believe the one that the model finds most likely. */
async function judge(swarm: string, question: string, numSolvers: number): Promise<void> {
  const votes = new Map<string, number>();
  for (let count = 0; count < numSolvers; count += 1) {
    const answer = await messaging.pull(`${swarm}/answers`);
    votes.set(answer, (votes.get(answer) ?? 0) + 1);
  }
  using context = new Context(Model.default());
  await context.user(question).flush();
  const judged = [...votes].map(async ([answer, solvers]) => {
    return { answer, solvers, logprob: Math.round((await logprob(context, answer)) * 100) / 100 };
  });
  const answers = (await Promise.all(judged)).sort((a, b) => b.logprob - a.logprob);
  messaging.push(`${swarm}/verdict`, JSON.stringify({ answer: answers[0]!.answer, answers }));
}

/** The summed log probability of an answer. */
async function logprob(context: Context, answer: string): Promise<number> {
  const cue = chat.cue(context.model);
  const tokens = context.model.tokenizer().encode(answer);
  using fork = context.fork();
  const forward = fork.append(cue.slice(0, -1)).forward().input([cue.at(-1)!, ...tokens]);
  const probes = Array.from(tokens, (token, index) => forward.probe(index, Logprob(token)));
  const output = await forward.execute();
  return probes.reduce((sum, probe) => sum + output.logprobs(probe)![0]!, 0);
}
