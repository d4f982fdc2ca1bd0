/** Answers requests in every way there is; built into a component for the tests. */

import { Context, Model, Sampler } from 'inferlet';

async function* count() {
  for (let number = 0; number < 3; number++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    yield `${number}\n`;
  }
}

async function* slow() {
  yield '0';
  await new Promise((resolve) => setTimeout(resolve, 60_000));
  yield '1';
}

async function* chat(prompt: string) {
  using context = new Context(Model.default());
  context.user(prompt);
  yield* context.generate(Sampler.argmax(), { maxTokens: 20 }).text();
}

async function* breakOff() {
  yield 'the beginning';
  throw new RangeError('the middle is missing');
}

async function* endless() {
  while (true) yield 'x'.repeat(100_000);
}

function streamOf(parts: AsyncIterator<string>): ReadableStream {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await parts.next();
      if (done) controller.close();
      else controller.enqueue(new TextEncoder().encode(value));
    },
  });
}

export async function handle(request: Request): Promise<Response | string | object | undefined> {
  const { pathname, searchParams } = new URL(request.url);
  switch (pathname) {
    case '/request':
      return [request.method, pathname, Object.fromEntries(searchParams), Object.fromEntries(request.headers)];
    case '/echo':
      return new Response(request.body, { status: 201, headers: { 'x-kind': 'echo' } });
    case '/json':
      return { got: await request.json() };
    case '/twice':
      return [await request.text(), await request.text()];
    case '/bodies':
      return [(await request.blob()).size, request.bodyUsed];
    case '/form':
      return Object.fromEntries((await request.formData()) as unknown as Iterable<[string, string]>);
    case '/count':
      return count();
    case '/stream':
      return new Response(streamOf(count()), { headers: { 'x-kind': 'stream' } });
    case '/response':
      return new Response('grün', { headers: [['set-cookie', 'a=1'], ['set-cookie', 'b=2']] });
    case '/values':
      return Response.json({ n: 1 });
    case '/text':
      return 'grün';
    case '/nothing':
      return undefined;
    case '/empty':
      return new Response(null, { status: 204 });
    case '/chat':
      return chat(await request.text());
    case '/raise':
      throw new RangeError('on purpose');
    case '/stuck':
      return await new Promise<never>(() => {});
    case '/header':
      return new Response('x', { headers: { 'transfer-encoding': 'chunked' } });
    case '/piped':
      return new Response(ReadableStream.from(count()).pipeThrough(new TransformStream()));
    case '/slow':
      return new Response(ReadableStream.from(slow()));
    case '/large':
      return new Response('x'.repeat(5_000_000));
    case '/blob':
      return new Response(new Blob(['a', 'b']));
    case '/from':
      return new Response(ReadableStream.from(count()), { status: 202 });
    case '/left':
      request.body?.getReader().read().catch(() => {});
      return 'not waited for';
    case '/moved':
      return Response.redirect('http://localhost/there', 303);
    case '/mixed':
      return new Response(new ReadableStream({ start: (controller) => controller.enqueue(1) }));
    case '/length':
      return new Response('four', { headers: { 'content-length': '5' } });
    case '/break':
      return breakOff();
    case '/endless':
      return endless();
    case '/value':
      return () => 1;
  }
  return new Uint8Array([0, 1]);
}
