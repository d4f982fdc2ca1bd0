// Hierarchical attention: documents are read apart from each other, and the answer attends only to those that matter.
//
// Each document attends to the opening and itself. On forks, the question then attends to one document each: the better
// a document lets the model foresee the question, the better it fits (Ponte and Croft, "A language modeling approach to
// information retrieval", 1998). Pages of the others are given back before the answer.

import { chat, Context, type Forward, Logprob, Model, Sampler } from 'inferlet';

const DOCUMENTS =
  'Tom lives in Lima. Eva lives in Oslo. Sam lives in Rome. Nora lives in Cairo. Hugo lives in Paris.' +
  '|Ada likes red. Ben likes green. Lars likes blue. Wilma likes yellow. Rosa likes black. Otto likes white.' +
  '|Ivan is a doctor. Mia is a painter. Leo is a teacher. Zoe is a baker. Paul is a farmer. Jane is a nurse.' +
  '|Kim is 34 years old. Max is 61 years old. Ida is 8 years old. Olga is 25 years old. Finn is 47 years old.';
const LONGEST = 40;

/** Places of a context from `start` up to, but not including, `end`. */
interface Part {
  start: number;
  end: number;
}

export async function main(input: { documents?: string; question?: string; keep?: number }) {
  const documents = (input.documents ?? DOCUMENTS).split('|');
  const model = Model.default();
  const question = [...chat.user(model, input.question ?? 'Where does Nora live?')];
  const prompt = [...question, ...chat.cue(model)];
  using context = new Context(model);
  const opening = await read(context, [], chat.system(model, 'You are a helpful assistant.'));
  const parts: Part[] = [];
  for (const document of documents) parts.push(await read(context, [opening], told(model, document)));
  const pagesRead = context.pagesHeld;
  using fork = context.fork();
  const fromAll = await answer(fork, [opening, ...parts], prompt);

  const scores = await Promise.all(parts.map((part) => fit(context, [opening, part], question)));
  const ranked = [...parts.keys()].sort((a, b) => scores[b]! - scores[a]!);
  const best = ranked.slice(0, input.keep ?? 1);
  const visible = [opening, ...parts.filter((_, index) => best.includes(index))];
  forget(context, visible);
  return {
    kept: best.map((index) => documents[index]),
    answer: await answer(context, visible, prompt),
    answer_from_all: fromAll,
    pages_read: pagesRead,
    pages_at_the_end: context.pagesHeld,
  };
}

/** The tokens in which the model is told a document. */
function told(model: Model, document: string): number[] {
  return [...chat.user(model, `Remember this: ${document}`), ...chat.assistant(model, 'OK, I will remember that.')];
}

/** Read tokens that attend to themselves and the places `visible`; return their places. */
async function read(context: Context, visible: Part[], tokens: Iterable<number>): Promise<Part> {
  const start = context.seqLen;
  await masked(context, visible, [...tokens]).execute();
  return { start, end: context.seqLen };
}

/** The log probability of a question after what is visible. */
async function fit(context: Context, visible: Part[], question: number[]): Promise<number> {
  using fork = context.fork();
  const forward = masked(fork, visible, question);
  const probes = question.slice(1).map((token, index) => forward.probe(index, Logprob(token)));
  const output = await forward.execute();
  return probes.reduce((sum, probe) => sum + output.logprobs(probe)![0]!, 0);
}

/** The greedy text after a prompt that attends to what is visible. */
async function answer(context: Context, visible: Part[], prompt: number[]): Promise<string> {
  const stop = new Set(chat.stopTokens(context.model));
  const start = context.seqLen;
  const made: number[] = [];
  let tokens = prompt;
  while (made.length < LONGEST) {
    const forward = masked(context, [...visible, { start, end: context.seqLen }], tokens);
    const drawn = forward.sample([tokens.length - 1], Sampler.argmax());
    const token = (await forward.execute()).token(drawn)!;
    if (stop.has(token)) break;
    made.push(token);
    tokens = [token];
  }
  return context.model.tokenizer().decode(made);
}

/** A pass over tokens, each of which attends to the places `visible` and to those of `tokens` up to itself. */
function masked(context: Context, visible: Part[], tokens: number[]): Forward {
  const start = context.seqLen;
  const rows = tokens.map((_, index) => row([...visible, { start, end: start + index + 1 }]));
  return context.forward().input(tokens).attentionMask(rows);
}

/** The mask that shows places in rising order: run lengths, hidden and visible by turns. */
function row(visible: Part[]): number[] {
  let last = 0;
  return visible.flatMap(({ start, end }) => {
    const runs = [start - last, end - start];
    last = end;
    return runs;
  });
}

/** Give back the full pages in which nothing is visible. */
function forget(context: Context, visible: Part[]): void {
  const size = context.pageSize;
  for (let page = 0; page < Math.floor(context.seqLen / size); page += 1) {
    const isSeen = visible.some(({ start, end }) => start < (page + 1) * size && end > page * size);
    if (!isSeen) context.discardPages(page, 1);
  }
}
