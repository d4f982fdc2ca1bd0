// Skeleton of thought: first the points of an answer, in a form that a grammar holds, then all points at once.
//
// The skeleton is computed once. Each point is written in a fork of it beside the others, so that all of them together
// take about as long as the longest.

import { Context, Model, regex, Sampler, session } from 'inferlet';

interface Input {
  topic?: string;
  points?: number;
}

export async function main(input: Input) {
  const numPoints = input.points ?? 3;
  using context = new Context(Model.default());
  context.user(`List ${numPoints} ${input.topic ?? 'animals'}.`);
  const words = regex(`[a-z]+(, [a-z]+){${numPoints - 1}}`);
  const skeleton = await context.generate(Sampler.argmax(), { constrain: words }).collectText();
  session.send(`skeleton: ${skeleton}`);
  await context.seal().flush(); // the points share these pages
  const points = skeleton.split(', ');
  const parts = await Promise.all(points.map((point) => expand(context, point)));
  console.log(parts.join('\n\n'));
  return points;
}

/** The part of the answer that is about one point. */
async function expand(context: Context, point: string): Promise<string> {
  session.send(`started: ${point}`);
  using fork = context.fork();
  fork.user(`Tell me a story about a ${point}.`);
  const text = await fork.generate(Sampler.topP(0.8), { maxTokens: 100 }).collectText({ reasoning: false });
  session.send('finished one');
  return text;
}
