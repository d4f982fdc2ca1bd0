// ReAct: the model reasons before it acts. Each step is a thought, an action and an observation, in one context.
//
// Grammars hold the form of a step: the thought is one sentence, the action is a call of one of the tools. What they
// say is the model's own.

import { chat, Context, GrammarConstraint, InferletError, Model, regex, Sampler, session, tools } from 'inferlet';
import type { Constraint, Generator, Schema } from 'inferlet';

const WEATHER = new Map([
  ['Lima', '{"temperature": 21, "sky": "sunny"}'],
  ['Oslo', '{"temperature": -4, "sky": "cloudy"}'],
  ['Cairo', '{"temperature": 33, "sky": "windy"}'],
]);
const TRAINS = new Map([
  ['Oslo', '{"number": 28}'],
  ['Cairo', '{"number": 7}'],
]);
const TOOLS: Record<string, Map<string, string>> = { get_weather: WEATHER, find_train: TRAINS };
const CITY = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const SCHEMAS = [
  { name: 'get_weather', description: 'Get the weather for a city', parameters: CITY },
  { name: 'find_train', description: 'Find a train', parameters: CITY },
];

interface Input {
  question?: string;
  max_steps?: number;
}

export async function main(input: Input) {
  const maxSteps = input.max_steps ?? 3;
  const model = Model.default();
  using context = new Context(model);
  context.append(tools.equipPrefix(model, SCHEMAS));
  context.user(input.question ?? 'What is the weather in the capital of Egypt?');
  for (let step = 1; step <= maxSteps; step += 1) {
    session.send(`Thought: ${await think(context)}`);
    const { name, city } = await act(context);
    session.send(`Action: ${name}(${city})`);
    const found = TOOLS[name]!.get(city);
    const observation = found ?? '{"error": "not found"}';
    session.send(`Observation: ${observation}`);
    context.append(tools.answerPrefix(model, name, observation));
    // Without a result the agent thinks again, now that it has seen the error.
    if (found === undefined) continue;
    const answer = await context.generate(Sampler.argmax(), { maxTokens: 60 }).collectText({ reasoning: false });
    return { answer, steps: step };
  }
  throw new InferletError('no-answer', `none after ${maxSteps} steps`);
}

/** One sentence of reasoning, between the marks of this model's template. */
async function think(context: Context): Promise<string> {
  context.cue().appendText('<think>\n');
  const thought = await hold(context, regex('[A-Z][A-Za-z ]*\\.')).collectText();
  context.appendText('\n</think>\n');
  return thought;
}

/** Name and argument of the call that the model makes after its thought. */
async function act(context: Context): Promise<{ name: string; city: string }> {
  const calling = new GrammarConstraint(tools.nativeMatcher(context.model, SCHEMAS)!);
  const tokens = await hold(context, calling).collectTokens();
  context.seal();
  const [call] = tools.parse(context.model, tokens);
  return { name: call!.name, city: (JSON.parse(call!.args) as { city: string }).city };
}

/** A generation in the middle of a turn, whose form a grammar holds. */
function hold(context: Context, form: Constraint | Schema): Generator {
  const stop = chat.stopTokens(context.model);
  return context.generate(Sampler.argmax(), { autoFlush: false, constrain: form, stop, maxTokens: 80 });
}
