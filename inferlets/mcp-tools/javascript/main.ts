// An agent whose tools are those of an MCP server: the program lists them, the model calls, the server answers.
//
// The server is the operator's: a program can only use those that `pie run --mcp` names.

import { Context, InferletError, mcp, type McpSession, Model, Sampler, session, tools } from 'inferlet';

const MAX_STEPS = 4;

interface Input {
  question?: string;
  server?: string;
}

/** A tool, as the protocol describes it. */
interface Offered {
  name: string;
  description?: string;
  inputSchema: { properties?: Record<string, { type?: string }>; required?: string[] };
}

/** What a tool returned, as the protocol says it. */
interface Result {
  content: { text?: string }[];
  isError?: boolean;
}

export async function main(input: Input) {
  const servers = mcp.availableServers();
  const name = input.server ?? servers[0];
  if (name === undefined) {
    throw new InferletError('no-mcp-server', 'there is none; name one with pie run --mcp NAME=COMMAND');
  }
  const model = Model.default();
  const calls: string[] = [];
  using server = mcp.connect(name);
  using context = new Context(model);
  const offered = (JSON.parse(server.listTools()) as { tools: Offered[] }).tools;
  context.append(tools.equipPrefix(model, offered.map(schema)));
  context.user(input.question ?? 'What is the weather in Oslo?');
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const tokens = await context.generate(Sampler.argmax(), { maxTokens: 100 }).collectTokens();
    context.seal();
    const [call] = tools.parse(model, tokens);
    if (call === undefined) return { answer: model.tokenizer().decode(tokens), calls };
    const result = ask(server, call.name, call.args);
    session.send({ tool: call.name, arguments: JSON.parse(call.args) as unknown, result });
    calls.push(call.name);
    context.append(tools.answerPrefix(model, call.name, result));
  }
  throw new Error(`no answer after ${calls.length} calls`);
}

/** What the model is told of a tool: names and types, without the titles that servers add. */
function schema(tool: Offered) {
  const entries = Object.entries(tool.inputSchema.properties ?? {});
  const properties = Object.fromEntries(entries.map(([name, { type }]) => [name, { type: type ?? 'string' }]));
  const parameters = { type: 'object', properties, required: tool.inputSchema.required ?? [] };
  return { name: tool.name, description: tool.description ?? '', parameters };
}

/** What the server's tool returns, or an error that the model can read: it may call what does not exist. */
function ask(server: McpSession, name: string, args: string): string | object {
  let result: Result;
  try {
    result = JSON.parse(server.callTool(name, args)) as Result;
  } catch (error) {
    if (error instanceof mcp.McpError) return { error: error.cause };
    throw error;
  }
  const text = result.content.map((part) => part.text ?? '').join('');
  if (result.isError) return { error: text };
  try {
    return JSON.parse(text) as object;
  } catch {
    return text;
  }
}
