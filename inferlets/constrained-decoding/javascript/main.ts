// Constrained decoding: choices, patterns, grammars and schemas decide which tokens may come; several hold together.

import { Context, ebnf, jsonSchema, Model, regex, Sampler, type Schema } from 'inferlet';

interface Input {
  prompt?: string;
  choices?: string;
  regex?: string;
  ebnf?: string;
  schema?: string;
  without?: string;
  max_tokens?: number;
}

const LIST = `
root ::= word ", " word " and " word
word ::= [a-z]+
`;
const SCHEMA = `{
  "type": "object",
  "properties": {"name": {"type": "string"}, "city": {"enum": ["Lima", "Quito", "Rome"]}},
  "required": ["name", "city"],
  "additionalProperties": false
}`;
const EXAMPLES: Input[] = [
  { prompt: 'What is the capital of France?', choices: 'Lima, Paris, Rome' },
  { prompt: 'Which is bigger, 12 or 31?', regex: '[0-9]+' },
  { prompt: 'Name three fruits.', ebnf: LIST },
  { prompt: 'Extract JSON: Wilma is 34 years old and lives in Quito.', schema: SCHEMA },
  { prompt: 'List five animals.', regex: '[a-z]+(, [a-z]+){4}', without: 'e' },
];

export async function main(input: Input) {
  const results = [];
  for (const example of input.prompt === undefined ? EXAMPLES : [input]) {
    results.push(await compare(example, input.max_tokens ?? 60));
  }
  return results;
}

/** The answer to a prompt, free and under all constraints of an example. */
async function compare(example: Input, maxTokens: number) {
  const prompt = example.prompt!;
  using context = new Context(Model.default());
  context.user(prompt);
  using fork = context.fork();
  const free = await fork.generate(Sampler.argmax(), { maxTokens }).collectText({ reasoning: false });
  const constrain = constraints(example);
  const constrained = await context.generate(Sampler.argmax(), { maxTokens, constrain }).collectText();
  return { prompt, free, constrained };
}

/** What an input demands of the answer, one constraint each. */
function constraints(input: Input): Schema[] {
  const demands: Schema[] = [];
  if (input.choices !== undefined) {
    const choices = input.choices.split(',').map((choice) => JSON.stringify(choice.trim()));
    demands.push(ebnf(`root ::= ${choices.join(' | ')}`));
  }
  if (input.regex !== undefined) demands.push(regex(input.regex));
  if (input.ebnf !== undefined) demands.push(ebnf(input.ebnf));
  if (input.schema !== undefined) demands.push(jsonSchema(input.schema));
  if (input.without !== undefined) demands.push(regex(`[^${input.without}]*`));
  return demands;
}
