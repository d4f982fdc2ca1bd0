// Monte Carlo tree search over text: which sentences to go on with is learnt from the stories that they lead to.
//
// A node is a fork that ends after some sentence. Each round goes down to a promising node, adds one sentence to it,
// tells the story from there to its end a few times, and lets a verifier say how good these ends are.

import { chat, Context, Model, Sampler } from 'inferlet';

const MAX_DEPTH = 3; // sentences that the tree decides; what follows them comes with each rollout
const CURIOSITY = 0.3;

interface Input {
  words?: string;
  rounds?: number;
  branching?: number;
  rollouts?: number;
}

/** A beginning of a story, and the rewards of the rounds that came through it. */
class Node {
  visits = 0;
  reward = 0;
  readonly children: Node[] = [];

  constructor(
    readonly context: Context,
    readonly text = '',
  ) {}

  /** UCT: the mean reward, and more for a node that was rarely visited. */
  promise(parent: Node): number {
    return this.reward / this.visits + CURIOSITY * Math.sqrt(Math.log(parent.visits) / this.visits);
  }
}

export async function main(input: Input) {
  const words = (input.words ?? 'loved, wish, basket, friends').split(',').map((word) => word.trim());
  const rewards: number[] = [];
  let best = { reward: -1, story: '' };
  using context = new Context(Model.default());
  context.user('Tell me a story about a fox.');
  await context.flush();
  const root = new Node(context.cue());
  for (let round = 0; round < (input.rounds ?? 48); round += 1) {
    const path = await descend(root, input.branching ?? 4);
    const stories = await Promise.all(Array.from({ length: input.rollouts ?? 2 }, () => rollout(path.at(-1)!)));
    const told = stories.map((story) => ({ reward: verify(story, words), story }));
    best = [best, ...told].reduce((a, b) => (b.reward > a.reward ? b : a));
    rewards.push(mean(told.map(({ reward }) => reward)));
    for (const node of path) {
      node.visits += 1;
      node.reward += rewards.at(-1)!;
    }
  }
  const half = Math.floor(rewards.length / 2);
  const means = [rewards.slice(0, half), rewards.slice(half)].map((part) => Math.round(mean(part) * 1000) / 1000);
  return { ...best, mean_reward: { first_half: means[0]!, second_half: means[1]! } };
}

/** The path to a new node: along the most promising children, down to one that may have more of them. */
async function descend(root: Node, branching: number): Promise<Node[]> {
  const path = [root];
  while (path.length <= MAX_DEPTH) {
    const node = path.at(-1)!;
    if (node.children.length < branching) {
      node.children.push(await addSentence(node));
      return [...path, node.children.at(-1)!];
    }
    path.push(node.children.reduce((a, b) => (b.promise(node) > a.promise(node) ? b : a)));
  }
  return path;
}

/** A new child, which is one sentence further on. */
async function addSentence(node: Node): Promise<Node> {
  const context = node.context.fork();
  const period = context.model.tokenizer().encode('.');
  const options = { autoFlush: false, stop: period, maxTokens: 60 };
  const sentence = await context.generate(Sampler.topP(1, 0.95), options).collectText();
  return new Node(context.append(period), `${node.text}${sentence}.`);
}

/** A whole story that begins as the node does. */
async function rollout(node: Node): Promise<string> {
  using fork = node.context.fork();
  const options = { autoFlush: false, stop: chat.stopTokens(fork.model), maxTokens: 100 };
  return node.text + (await fork.generate(Sampler.topP(1, 0.95), options).collectText());
}

/** The share of the wanted words that a story holds. */
function verify(story: string, words: string[]): number {
  return words.filter((word) => story.includes(word)).length / words.length;
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
