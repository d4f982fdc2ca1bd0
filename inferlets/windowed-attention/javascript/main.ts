// Windowed attention: each token attends to the last ones only, by attention masks that the program writes itself.
//
// Pages that no later token sees are given back. So a small window needs few pages, and knows nothing of what lies before.

import { chat, Context, Model, Sampler, Window } from 'inferlet';

const FACTS =
  'Tom lives in Lima. Eva lives in Oslo. Sam lives in Rome. Nora lives in Cairo. Ada lives in Paris. ' +
  'Ben lives in Quito. Lars lives in Riga. Wilma lives in Delhi. Ivan lives in Madrid. Mia lives in Athens.';
const LONGEST = 40;

export async function main(input: { facts?: string; question?: string; windows?: string }) {
  const model = Model.default();
  const question = `${input.facts ?? FACTS} ${input.question ?? 'Where does Tom live?'}`;
  const prompt = [...chat.firstUser(model, question), ...chat.cue(model)];
  const answers = [];
  for (const size of (input.windows ?? '24, 48, 96').split(',')) answers.push(await compare(model, prompt, Number(size)));
  return { tokens: prompt.length, answers };
}

/** The answer to a prompt by masks of one's own, and whether the option `window` gives the same one. */
async function compare(model: Model, prompt: number[], size: number) {
  using context = new Context(model);
  const tokens = await answer(context, prompt, size);
  using other = new Context(model);
  const options = { stop: chat.stopTokens(model), maxTokens: LONGEST, autoFlush: false, window: new Window(size) };
  const same = await other.append(prompt).generate(Sampler.argmax(), options).collectTokens();
  return {
    window: size,
    answer: model.tokenizer().decode(tokens),
    pages: context.pagesHeld,
    same_by_option: String(tokens) === String(same),
  };
}

/** The greedy tokens after a prompt, one forward pass each. */
async function answer(context: Context, prompt: number[], size: number): Promise<number[]> {
  const stop = new Set(chat.stopTokens(context.model));
  const made: number[] = [];
  let tokens = prompt;
  while (made.length < LONGEST) {
    const start = context.seqLen;
    const forward = context.forward().input(tokens);
    forward.attentionMask(tokens.map((_, index) => row(start + index + 1, size)));
    const drawn = forward.sample([tokens.length - 1], Sampler.argmax());
    const token = (await forward.execute()).token(drawn)!;
    // The next token is number `seqLen + 1`. Its window, and every later one, begins after these pages.
    context.discardPages(0, Math.floor(Math.max(0, context.seqLen + 1 - size) / context.pageSize));
    if (stop.has(token)) break;
    made.push(token);
    tokens = [token];
  }
  return made;
}

/** What the last of `length` tokens attends to: so many hidden keys, then so many visible ones. */
function row(length: number, size: number): number[] {
  const hidden = Math.max(0, length - size);
  return [hidden, length - hidden];
}
