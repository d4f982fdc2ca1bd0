/** A small HTTP service beside the model: GET streams an answer as it is written, POST makes a record of a sentence. */

import { Context, Model, Sampler } from 'inferlet';

const PERSON = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' }, city: { type: 'string' } },
  required: ['name', 'age', 'city'],
  additionalProperties: false,
};

export async function handle(request: Request) {
  const question = new URL(request.url).searchParams.get('question');
  if (request.method === 'GET' && question !== null) return stream(question); // each piece is sent when it is there
  if (request.method === 'POST') return await person(await request.text()); // a value becomes JSON
  return new Response('Ask GET /?question=..., or POST a sentence about a person.\n', { status: 400 });
}

async function* stream(question: string) {
  using context = new Context(Model.default());
  context.user(question);
  yield* context.generate(Sampler.argmax(), { maxTokens: 100 }).text({ reasoning: false });
  yield '\n';
}

async function person(sentence: string) {
  using context = new Context(Model.default());
  context.user(`Extract JSON with the keys ${Object.keys(PERSON.properties).join(', ')}: ${sentence}`);
  return await context.generate(Sampler.argmax(), { maxTokens: 100 }).collectJson({ schema: PERSON });
}
