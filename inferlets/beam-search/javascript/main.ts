// Beam search: grow the few most likely beginnings of an answer token by token, and return the most likely answer.
//
// Every beam is a fork, so what two beams have in common is computed and held once.

import { chat, Context, Distribution, Model } from 'inferlet';

interface Input {
  prompt?: string;
  width?: number;
  max_tokens?: number;
}

/** A beginning: its tokens, after the last one of the prompt, and the sum of their log probabilities. */
interface Beam {
  tokens: number[];
  score: number;
  /** Holds all tokens but the last; undefined if that ended the answer. */
  context?: Context;
}

export async function main(input: Input) {
  const model = Model.default();
  const cue = chat.cue(model);
  using context = new Context(model);
  context.user(input.prompt ?? 'Tell me a joke.').append(cue.slice(0, -1));
  await context.flush(); // the beams share these pages
  const widths = [1, input.width ?? 4];
  const answers = widths.map((width) => search(context, cue.at(-1)!, width, input.max_tokens ?? 60));
  const [greedy, widest] = (await Promise.all(answers)) as [Beam, Beam];
  // What looks better for a while can crowd out the greedy answer, so that takes part again at the end.
  return { best: shown(model, highest([widest, greedy])), greedy: shown(model, greedy) };
}

/** The most likely answer among those that a search with `width` beams meets; one beam is greedy decoding. */
async function search(prompt: Context, last: number, width: number, maxTokens: number): Promise<Beam> {
  const stop = new Set(chat.stopTokens(prompt.model));
  let beams: Required<Beam>[] = [{ tokens: [last], score: 0, context: prompt.fork() }];
  const over: Beam[] = [];
  for (let length = 0; length < maxTokens; length += 1) {
    const steps = (await Promise.all(beams.map((beam) => likely(beam, width)))).flat();
    const parents = beams;
    beams = [];
    for (const { tokens, score, context } of steps.sort((a, b) => b.score - a.score).slice(0, width)) {
      if (stop.has(tokens.at(-1)!)) over.push({ tokens, score });
      else beams.push({ tokens, score, context: context.fork() });
    }
    for (const parent of parents) parent.context.release();
    // A score only falls as the text grows, so no beam can overtake an answer that leads already.
    if (beams.length === 0 || (over.length > 0 && beams[0]!.score <= highest(over).score)) break;
  }
  for (const beam of beams) beam.context.release();
  return highest([...over, ...beams]);
}

/** The beam with each of the `width` most likely next tokens, still with its own context. */
async function likely(beam: Required<Beam>, width: number): Promise<Required<Beam>[]> {
  const forward = beam.context.forward().input(beam.tokens.slice(-1));
  const probe = forward.probe(0, Distribution(1, width));
  const [ids, probabilities] = (await forward.execute()).distribution(probe)!;
  return Array.from(ids, (token, index) => ({
    tokens: [...beam.tokens, token],
    score: beam.score + Math.log(probabilities[index]!),
    context: beam.context,
  }));
}

function highest(beams: Beam[]): Beam {
  return beams.reduce((best, beam) => (beam.score > best.score ? beam : best));
}

function shown(model: Model, beam: Beam) {
  const tokens = beam.tokens.slice(1, beam.context ? undefined : -1);
  return { text: model.tokenizer().decode(tokens), logprob: Math.round(beam.score * 1000) / 1000 };
}
