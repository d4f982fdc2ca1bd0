// Jacobi decoding: greedy text as the fixed point of a block of guesses, all of which each pass corrects at once.
//
// After Santilli et al., "Accelerating transformer inference for translation via parallel decoding" (2023).

import { chat, Context, Model, Sampler } from 'inferlet';

export async function main(input: { prompt?: string; block?: number; max_tokens?: number }) {
  const block = input.block ?? 8;
  const maxTokens = input.max_tokens ?? 120;
  const model = Model.default();
  const stop = new Set(chat.stopTokens(model));
  // The logits after a token tell of the next one, so the last token of the prompt is read together with the guesses.
  const prompt = [...chat.firstUser(model, input.prompt ?? 'What is 748 + 596?'), ...chat.cue(model)];
  let last = prompt.pop()!;
  using context = new Context(model);
  await context.append(prompt).flush();
  using fork = context.fork();
  const greedy = fork.append([last]).generate(Sampler.argmax(), { maxTokens, stop, autoFlush: false });
  const expected = await greedy.collectTokens();

  let tokens: number[] = [];
  let guesses: number[] = Array(block).fill(last);
  let passes = 0;
  while (tokens.length < maxTokens && !tokens.some((token) => stop.has(token))) {
    const likely = await mostLikely(context, [last, ...guesses]);
    passes += 1;
    // A guess is right if all before it are and the model says the same. The first wrong one is known now.
    const wrong = guesses.findIndex((guess, index) => guess !== likely[index]);
    const right = wrong < 0 ? block : wrong;
    context.truncate(block - right);
    tokens.push(...likely.slice(0, right + 1));
    last = likely[right]!;
    // The others are guessed anew from the wrong ones before them; new places get the last guess.
    guesses = [...likely.slice(right + 1), ...Array(right).fill(likely.at(-1))];
  }

  const end = tokens.findIndex((token) => stop.has(token));
  tokens = tokens.slice(0, Math.min(end < 0 ? tokens.length : end, maxTokens));
  return {
    text: model.tokenizer().decode(tokens),
    same_as_greedy: String(tokens) === String(expected),
    tokens: tokens.length,
    passes,
    passes_per_token: Math.round((passes / tokens.length) * 100) / 100,
  };
}

/** One pass: the most likely token after each of `tokens`, which stay in the context. */
async function mostLikely(context: Context, tokens: number[]): Promise<number[]> {
  const places = tokens.map((_, index) => index);
  const start = context.seqLen;
  // Pages of a pass with given positions are not committed, so wrong guesses can be forgotten.
  const forward = context.forward().inputAt(
    tokens,
    places.map((index) => start + index),
  );
  const drawn = forward.sample(places, Sampler.argmax());
  return [...(await forward.execute()).tokensAt(drawn)];
}
