// The three decoders and the helpers around them.

import { Context, GrammarConstraint, Model, chat, reasoning, tools } from 'inferlet';

import { ARGMAX } from './generating.ts';
import { assert, equal, proves } from './registry.ts';

const WEATHER = {
  name: 'get_weather',
  description: 'Get the weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

/** Tokens of a text in which control tokens may be written out. */
const encode = (text: string): number[] => Array.from(Model.default().tokenizer().encode(text));

/** All events of tokens, fed one by one. */
function events<E>(decoder: { feed(tokens: number[]): E }, ids: Iterable<number>): E[] {
  return Array.from(ids, (token) => decoder.feed([token]));
}

/** The texts of the events of one type, joined. */
function joined(found: { type: string; text?: string }[], type: string): string {
  return found.map((event) => (event.type === type ? event.text : '')).join('');
}

proves(['chat.Decoder delta', 'chat.Decoder done'], () => {
  using decoder = new chat.Decoder(Model.default());
  const found = events(decoder, encode('Hi there, 🥧!<|im_end|>'));
  equal([joined(found, 'delta'), found.at(-1)], ['Hi there, 🥧!', { type: 'done', text: 'Hi there, 🥧!' }]);
});

proves(['chat.Decoder idle'], () => {
  using decoder = new chat.Decoder(Model.default());
  equal(decoder.feed([]), { type: 'idle' });
  assert(events(decoder, encode('🥧').slice(0, -1)).some((event) => event.type === 'idle'));
});

proves(['chat.Decoder interrupt'], () => {
  using decoder = new chat.Decoder(Model.default());
  const token = encode('<|im_start|>')[0]!;
  equal(decoder.feed([token]), { type: 'interrupt', token });
});

proves(['chat.Decoder reset'], () => {
  using decoder = new chat.Decoder(Model.default());
  decoder.feed(encode('forgotten'));
  decoder.reset();
  decoder.feed(encode('kept'));
  equal(decoder.feed(encode('<|im_end|>')), { type: 'done', text: 'kept' });
});

proves(['chat helpers'], () => {
  const model = Model.default();
  using context = new Context(model);
  const whole = context.system('S').user('U').assistant('A').cue().buffer();
  equal(whole, [...chat.system(model, 'S'), ...chat.user(model, 'U'), ...chat.assistant(model, 'A'), ...chat.cue(model)]);
  assert(Array.from(chat.stopTokens(model)).includes(chat.seal(model)[0]!));
});

proves(['reasoning.Decoder start', 'reasoning.Decoder delta', 'reasoning.Decoder end', 'reasoning.Decoder idle'], () => {
  using decoder = new reasoning.Decoder(Model.default());
  const found = events(decoder, encode('a<think>because</think>b'));
  assert(found[0]!.type === 'idle' && found.at(-1)!.type === 'idle');
  assert(found.some((event) => event.type === 'start'));
  equal([joined(found, 'delta'), joined(found, 'end')], ['because', 'because']);
});

proves(['reasoning.Decoder reset'], () => {
  using decoder = new reasoning.Decoder(Model.default());
  events(decoder, encode('<think>forgotten'));
  decoder.reset();
  const found = events(decoder, encode('no thought<think>kept</think>'));
  equal([found[0]!.type, joined(found, 'end')], ['idle', 'kept']);
});

proves(['tools.Decoder reset'], () => {
  using decoder = new tools.Decoder(Model.default());
  events(decoder, encode('<tool_call>\n{"name": "forgotten", '));
  decoder.reset();
  const found = events(decoder, encode('<tool_call>\n{"name": "kept", "arguments": {}}\n</tool_call>'));
  equal(found.flatMap((event) => (event.type === 'call' ? [event.name] : [])), ['kept']);
});

/** The calls in the tokens of a turn. */
function calls(ids: Iterable<number>): { name: string; args: string }[] {
  using decoder = new tools.Decoder(Model.default());
  return events(decoder, ids).flatMap((event) => (event.type === 'call' ? [{ name: event.name, args: event.args }] : []));
}

proves(['tools.Decoder start', 'tools.Decoder call'], () => {
  using decoder = new tools.Decoder(Model.default());
  equal(decoder.feed(encode('<tool_call>')), { type: 'start' });
  const call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Lima"}}\n</tool_call>';
  const expected = { name: 'get_weather', args: '{"city": "Lima"}' };
  equal(calls(encode(call + call)), [expected, expected]);
});

proves(['tools.equipPrefix', 'tools.answerPrefix'], async () => {
  const model = Model.default();
  using context = new Context(model);
  context.append(tools.equipPrefix(model, [WEATHER])).user('What is the weather in Lima?');
  const [call] = calls(await context.generate(ARGMAX, { maxTokens: 80 }).collectTokens());
  equal(call!.name, 'get_weather');
  context.seal().append(tools.answerPrefix(model, call!.name, { temperature: 21, sky: 'sunny' }));
  assert((await context.generate(ARGMAX, { maxTokens: 60 }).collectText()).includes('21'));
});

proves(['tools.nativeMatcher'], async () => {
  const model = Model.default();
  const constrain = new GrammarConstraint(tools.nativeMatcher(model, [WEATHER])!);
  using context = new Context(model);
  context.append(tools.equipPrefix(model, [WEATHER])).user('Hello');
  const made = await context.generate(ARGMAX, { maxTokens: 80, constrain }).collectTokens();
  equal(calls(made).map((call) => call.name), ['get_weather']);
});
