// Session, messaging, files, MCP servers, child programs.

import { readFile, readdir, writeFile } from 'node:fs/promises';

import { files, mcp, messaging, runtime, session, type Subscription } from 'inferlet';

import { assert, equal, proves, refused } from './registry.ts';

proves(['session.send', 'session.send object', 'session.sendFile'], () => {
  session.send('text');
  session.send({ a: 1 });
  session.sendFile(new TextEncoder().encode('\u0000\u0001file'));
});

proves(['session.receive', 'session.receiveFile'], async () => {
  equal(await session.receive(), 'typed');
  equal(new TextDecoder().decode(await session.receiveFile()), '\u0000uploaded');
});

proves(['messaging.push', 'messaging.pull'], async () => {
  const waiting = messaging.pull('api-js-queue');
  messaging.push('api-js-queue', 'one');
  messaging.push('api-js-queue', 'two');
  equal([await waiting, await messaging.pull('api-js-queue')], ['one', 'two']);
});

proves(['messaging.broadcast', 'messaging.subscribe', 'subscription.next', 'subscription.unsubscribe'], async () => {
  using first = messaging.subscribe('api-js-news');
  using second = messaging.subscribe('api-js-news');
  messaging.broadcast('api-js-news', 'hello');
  equal([await first.next(), await second.next()], ['hello', 'hello']);
  first.unsubscribe();
  messaging.broadcast('api-js-news', 'again');
  equal([await second.next(), await first.next()], ['again', undefined]);
});

proves(['for await message'], async () => {
  using subscription = messaging.subscribe('api-js-loop');
  for (const number of [0, 1, 2]) messaging.broadcast('api-js-loop', String(number));
  const found: string[] = [];
  for await (const message of subscription) {
    found.push(message);
    if (found.length === 3) break;
  }
  equal(found, ['0', '1', '2']);
});

proves(['subscription disposal'], async () => {
  let ended: Subscription;
  {
    using subscription = messaging.subscribe('api-js-disposal');
    messaging.broadcast('api-js-disposal', 'lost');
    ended = subscription;
  }
  equal(await ended.next(), undefined);
});

proves(['files under /scratch'], async () => {
  files.mkdir('/scratch/rows');
  files.writeText('/scratch/rows/a.txt', 'kept');
  files.rename('/scratch/rows/a.txt', '/scratch/rows/b.txt');
  equal(files.list('/scratch/rows'), ['b.txt']);
  equal(files.readText('/scratch/rows/b.txt'), 'kept');
  await writeFile('/scratch/rows/c.txt', 'kept too');
  equal([await readFile('/scratch/rows/c.txt', 'utf-8'), await readdir('/scratch/rows')], ['kept too', ['b.txt', 'c.txt']]);
  assert(refused('file-not-allowed', () => files.readText('/etc/passwd')));
});

proves(['mcp.availableServers', 'mcp.connect', 'mcp.listTools', 'mcp.callTool'], () => {
  assert(mcp.availableServers().includes('rows'));
  using server = mcp.connect('rows');
  const { tools } = JSON.parse(server.listTools()) as { tools: { name: string }[] };
  equal(tools.map((tool) => tool.name), ['add']);
  const { content } = JSON.parse(server.callTool('add', { a: 2, b: 3 })) as { content: { text: string }[] };
  equal(content[0]!.text, '5');
});

proves(['mcp.listResources', 'mcp.readResource'], () => {
  using server = mcp.connect('rows');
  const { resources } = JSON.parse(server.listResources()) as { resources: { uri: string }[] };
  equal(resources[0]!.uri, 'note://hello');
  const { contents } = JSON.parse(server.readResource('note://hello')) as { contents: { text: string }[] };
  equal(contents[0]!.text, 'Hello from a note');
});

proves(['mcp.listPrompts', 'mcp.getPrompt'], () => {
  using server = mcp.connect('rows');
  const { prompts } = JSON.parse(server.listPrompts()) as { prompts: { name: string }[] };
  equal(prompts[0]!.name, 'greet');
  const { messages } = JSON.parse(server.getPrompt('greet', { name: 'Wilma' })) as {
    messages: { content: { text: string } }[];
  };
  equal(messages[0]!.content.text, 'Greet Wilma.');
});

proves(['runtime.launch', 'child result'], async () => {
  using child = runtime.launch('text-completion', { prompt: 'Hello', max_tokens: 4, temperature: 0.5 });
  assert(child.pid !== runtime.instanceId());
  const result = (await child.wait()) as { tokens: number };
  assert(result.tokens <= 4 && result.tokens > 0);
});

proves(['child.cancel'], async () => {
  using child = runtime.launch('text-completion', { prompt: 'Tell me a short story.', max_tokens: 2000 });
  child.cancel();
  try {
    await child.wait();
  } catch (error) {
    equal((error as { code: string }).code, 'cancelled');
    return;
  }
  throw new Error('a cancelled child returned');
});
