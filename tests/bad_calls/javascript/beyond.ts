// Grammars, tools, JSON, and what leaves the server: texts, files, pictures.

import {
  chat, ebnf, Grammar, GrammarConstraint, Image, jsonSchema, Matcher, messaging, Model, regex, Sampler, session, tools,
} from 'inferlet';

import { calls, fresh, generate } from './calls.ts';

const LARGE = 5 << 20;

function native(tool: string | object): unknown {
  return tools.nativeMatcher(Model.default(), [tool]);
}

function notAccepted(tokens: number[]): void {
  new Matcher(Grammar.fromEbnf('root ::= "ab"'), Model.default().tokenizer()).acceptTokens(tokens);
}

calls({
  'JSON that is cut off': () => {
    const schema = { type: 'array', items: { type: 'integer' }, minItems: 50 };
    return fresh().user('numbers').generate(Sampler.argmax(), { maxTokens: 3 }).collectJson({ schema });
  },
  'schema that is no JSON': () => generate({ constrain: jsonSchema('{') }),
  'schema that nothing satisfies': () => generate({ constrain: jsonSchema({ type: 'wombat' }) }),
  'regular expression that does not parse': () => generate({ constrain: regex('(') }),
  'grammar that does not parse': () => generate({ constrain: ebnf('root ::= (') }),
  'grammar without root': () => generate({ constrain: ebnf('other ::= "a"') }),
  'schema for JSON that is none': () => fresh().generate(Sampler.argmax()).collectJson({ schema: '{' }),
  'constraint made of a bad grammar': () => GrammarConstraint.fromRegex('[', Model.default()),
  'token that a grammar does not allow': () => notAccepted([60]),
  'token beyond the vocabulary for a grammar': () => notAccepted([10 ** 6]),
  'negative token for a grammar': () => notAccepted([-1]),
  'negative token for a decoder': () => new chat.Decoder(Model.default()).feed([-1]),
  'tool that is no JSON': () => native('{'),
  'tool without a name': () => native({ parameters: {} }),
  'tool whose parameters are no schema': () => native({ name: 'a', parameters: { type: 'wombat' } }),
  'tool that is no JSON in a prompt': () => tools.equipPrefix(Model.default(), ['{']),
  'file that is too large': () => session.sendFile(new Uint8Array(LARGE)),
  'file that is no bytes': () => session.sendFile('bytes' as never),
  'message that is too large': () => session.send('x'.repeat(LARGE)),
  'message for a topic that is too large': () => messaging.push('topic', 'x'.repeat(LARGE)),
  'text to encode that is too large': () => Model.default().tokenizer().encode('x'.repeat(LARGE)),
  'message that is no text': () => messaging.push('topic', 3 as never),
  picture: () => Image.fromBytes(Model.default(), new Uint8Array(3)),
  'picture that is too large': () => Image.fromBytes(Model.default(), new Uint8Array(LARGE)),
});
