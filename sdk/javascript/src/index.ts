/**
 * Programs beside the model: what a program that runs in a Pie server imports.
 *
 * A program exports `async function main(input)`; what it returns is sent back as JSON.
 *
 *     import { Context, Model, Sampler } from 'inferlet';
 *
 *     export async function main(input: { question: string }) {
 *       using context = new Context(Model.default());
 *       context.user(input.question);
 *       return await context.generate(Sampler.topP(), { maxTokens: 256 }).collectText();
 *     }
 */

export { Adapter } from './adapter.ts';
export * as chat from './chat.ts';
export {
  anyJson,
  ebnf,
  grammar,
  GrammarConstraint,
  jsonSchema,
  regex,
  type Constraint,
  type Foresight,
  type Schema,
} from './constraints.ts';
export { Context } from './context.ts';
export { InferletError } from './errors.ts';
export * as files from './files.ts';
export { Forward } from './forward.ts';
export { Generator, type JsonOptions, type TextOptions } from './generator.ts';
export * as http from './http.ts';
export * as mask from './mask.ts';
export type { Brle } from './mask.ts';
export { Grammar, Matcher, type JsonSchemaSource } from './matching.ts';
export * as mcp from './mcp.ts';
export { McpSession } from './mcp.ts';
export * as media from './media.ts';
export { Audio, Image, Video } from './media.ts';
export * as messaging from './messaging.ts';
export { Subscription } from './messaging.ts';
export { Model, Tokenizer } from './model.ts';
export type { GenerateOptions } from './options.ts';
export { Output, ProbeHandle, SampleHandle } from './output.ts';
export * as reasoning from './reasoning.ts';
export * as runtime from './runtime.ts';
export { Child } from './runtime.ts';
export {
  Distribution,
  Embedding,
  Entropy,
  Logits,
  Logprob,
  Logprobs,
  Sampler,
  type Probe,
} from './sampler.ts';
export * as scheduling from './scheduling.ts';
export * as session from './session.ts';
export type { Speculator } from './speculator.ts';
export * as speech from './speech.ts';
export { GenStep } from './step.ts';
export type { TokenLogprobs } from './token_logprobs.ts';
export * as tools from './tools.ts';
export { Window } from './window.ts';
export * as zo from './zo.ts';
