/** One instance answers all requests: what they have in common is computed once, and kept in a context between them. */

import { Context, Model, Sampler } from 'inferlet';

const INSTRUCTIONS = 'You answer questions about geography in one short sentence.';
let warm: Context | undefined;
let answered = 0;

export async function handle(request: Request) {
  const question = new URL(request.url).searchParams.get('question');
  if (question === null) return new Response('Ask GET /?question=...\n', { status: 400 });
  using context = (await instructed()).fork(); // given back with the request, also if its client leaves
  context.user(question);
  const answer = await context.generate(Sampler.argmax(), { maxTokens: 60 }).collectText({ reasoning: false });
  answered += 1;
  return { answer, answered };
}

/** The context that all requests begin with. */
async function instructed(): Promise<Context> {
  if (warm === undefined) {
    const context = new Context(Model.default());
    context.system(INSTRUCTIONS);
    await context.flush();
    warm = context;
  }
  return warm;
}
