// Attention sinks: a long text in a bounded number of pages, which hold its last tokens and the very first ones.
//
// After Xiao et al., "Efficient streaming language models with attention sinks" (2023): a model sends attention to its
// first tokens that it has no other use for, and can lose its thread without them.

import { Context, Model, Sampler, session, Window } from 'inferlet';

export async function main(input: { prompt?: string; window?: number; sink?: number; max_tokens?: number }) {
  const window = new Window(input.window ?? 64, input.sink ?? 4);
  const maxTokens = input.max_tokens ?? 500;
  const tokens: number[] = [];
  let mostPages = 0;
  using context = new Context(Model.default());
  context.user(input.prompt ?? 'Tell me a short story.');
  // Without stop tokens the text goes on past each turn: the model makes up the next one too.
  const generator = context.generate(Sampler.topP(0.8, 0.95), { maxTokens, stop: [], window });
  for await (const step of generator) {
    tokens.push(...(await step.execute()).tokens);
    mostPages = Math.max(mostPages, context.pagesHeld);
    if (tokens.length % 100 === 0) {
      session.send(`after ${tokens.length} tokens: ${context.pagesHeld} pages, ${numPages(context)} without`);
    }
  }
  return {
    most_pages: mostPages,
    pages_without: numPages(context),
    ends: context.model.tokenizer().decode(tokens.slice(-60)),
  };
}

/** The pages that all tokens of a context take, if none is given back. */
function numPages(context: Context): number {
  return Math.ceil(context.seqLen / context.pageSize);
}
