// A watermark: each token colours half of the vocabulary green for the next one, and green tokens are made more likely.
//
// After Kirchenbauer et al., "A watermark for large language models" (2023). Nobody sees it in a text, but whoever knows
// the key can count: other texts are green by half, marked ones by more, and a z-score tells how surprising that is.

import { chat, Context, Distribution, Model, type Probe, Sampler } from 'inferlet';

interface Input {
  prompt?: string;
  texts?: number;
  strength?: number;
  temperature?: number;
  key?: number;
}

const GREEN = 0.5; // the share of green tokens in the vocabulary
const NUM_LIKELY = 64; // tokens to draw from

export async function main(input: Input) {
  const key = input.key ?? 1234;
  const probe = Distribution(input.temperature ?? 1, NUM_LIKELY);
  const model = Model.default();
  // A token is coloured by the one before it, so the forks begin with the last token of the prompt.
  const opening = [...chat.firstUser(model, input.prompt ?? 'Tell me a short story.'), ...chat.cue(model)];
  const last = opening.pop()!;
  using context = new Context(model);
  await context.append(opening).flush();
  const writeAll = (strength: number) =>
    Promise.all(
      Array.from({ length: input.texts ?? 16 }, (_, seed) => write(context, last, probe, seed, key, strength)),
    );
  const plain = await writeAll(0);
  const marked = await writeAll(input.strength ?? 4);
  return {
    plain_text: model.tokenizer().decode(plain[0]!),
    marked_text: model.tokenizer().decode(marked[0]!),
    plain: score(plain, key),
    marked: score(marked, key),
    marked_by_another_key: score(marked, key + 1),
  };
}

/** The tokens of one answer. The program draws them: from the model's probabilities, green ones times e^strength. */
async function write(context: Context, last: number, probe: Probe, seed: number, key: number, strength: number) {
  const boost = Math.exp(strength);
  const made = [last];
  using fork = context.fork().append([last]);
  const options = { maxTokens: 100, stop: chat.stopTokens(context.model), autoFlush: false };
  const generator = fork.generate(Sampler.argmax(), options);
  const handle = generator.probeEachStep(-1, probe);
  for await (const step of generator) {
    const [ids, probabilities] = (await step.clearSampler().execute()).distribution(handle)!;
    const previous = made.at(-1)!;
    const weights = Array.from(probabilities, (probability, index) =>
      isGreen(key, previous, ids[index]!) ? probability * boost : probability,
    );
    made.push(...generator.accept([pick(ids, weights, uniform(seed, made.length))]));
  }
  return made.slice(1);
}

/** The id at which the weights, added up, pass the share `number` of their sum. */
function pick(ids: Uint32Array, weights: number[], number: number): number {
  let sum = 0;
  const sums = weights.map((weight) => (sum += weight));
  return ids[sums.findIndex((passed) => passed > number * sum)]!;
}

/** How green texts are. Each pair of neighbours counts once: a phrase that comes again says nothing new. */
function score(texts: number[][], key: number) {
  const pairs = new Map<string, boolean>();
  for (const text of texts) {
    for (const [index, token] of text.slice(1).entries()) {
      pairs.set(`${text[index]} ${token}`, isGreen(key, text[index]!, token));
    }
  }
  const green = [...pairs.values()].filter(Boolean).length;
  const z = (green - GREEN * pairs.size) / Math.sqrt(pairs.size * GREEN * (1 - GREEN));
  return { pairs: pairs.size, green, z: Math.round(z * 10) / 10 };
}

/** Whether a token is green after another one. */
function isGreen(key: number, previous: number, token: number): boolean {
  return uniform(key, previous, token) < GREEN;
}

/** A number from 0 to 1 that follows from whole numbers as if drawn (each is mixed in as MurmurHash3 ends). */
function uniform(...numbers: number[]): number {
  let state = 0;
  for (const number of numbers) {
    state = (state + number + 0x9e3779b9) >>> 0;
    state = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    state = (state ^ (state >>> 16)) >>> 0;
  }
  return state / 2 ** 32;
}
