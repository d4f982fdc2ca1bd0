/** Keeps a count and a context from one request to the next. */

import { Context, Model, Sampler } from 'inferlet';

let count = 0;
let context: Context | undefined;

export async function handle(request: Request) {
  switch (new URL(request.url).pathname) {
    case '/count':
      count += 1;
      return String(count);
    case '/chat':
      return await chat(await request.text());
    case '/echo':
      return request.body;
    case '/raise':
      throw new RangeError('on purpose');
  }
  return endless();
}

async function chat(question: string) {
  if (context === undefined) {
    context = new Context(Model.default());
    context.system('Answer in one sentence.');
    await context.flush();
  }
  using fork = context.fork();
  fork.user(question);
  return await fork.generate(Sampler.argmax(), { maxTokens: 20 }).collectText();
}

async function* endless() {
  while (true) yield 'x'.repeat(100_000);
}
