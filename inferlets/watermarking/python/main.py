"""A watermark: each token colours half of the vocabulary green for the next one, and green tokens are made more likely.

After Kirchenbauer et al., "A watermark for large language models" (2023). Nobody sees it in a text, but whoever knows
the key can count: other texts are green by half, marked ones by more, and a z-score tells how surprising that is.
"""

import asyncio
import bisect
import itertools
import math

from inferlet import Context, Distribution, Model, Sampler, chat

GREEN = 0.5  # the share of green tokens in the vocabulary
NUM_LIKELY = 64  # tokens to draw from


async def main(input):
    key, strength = input.get("key", 1234), input.get("strength", 4.0)
    probe = Distribution(input.get("temperature", 1.0), k=NUM_LIKELY)
    model = Model.default()
    # A token is coloured by the one before it, so the forks begin with the last token of the prompt.
    *opening, last = [*chat.first_user(model, input.get("prompt", "Tell me a short story.")), *chat.cue(model)]
    with Context(model) as context:
        await context.append(opening).flush()
        seeds = range(input.get("texts", 16))
        plain = await asyncio.gather(*(write(context, last, probe, seed, key, 0.0) for seed in seeds))
        marked = await asyncio.gather(*(write(context, last, probe, seed, key, strength) for seed in seeds))
    return {
        "plain_text": model.tokenizer().decode(plain[0]),
        "marked_text": model.tokenizer().decode(marked[0]),
        "plain": score(plain, key),
        "marked": score(marked, key),
        "marked_by_another_key": score(marked, key + 1),
    }


async def write(context, last, probe, seed, key, strength):
    """The tokens of one answer. The program draws them: from the model's probabilities, green ones times e^strength."""
    made, boost = [last], math.exp(strength)
    with context.fork() as fork:
        options = {"max_tokens": 100, "stop": chat.stop_tokens(context.model), "auto_flush": False}
        generator = fork.append([last]).generate(Sampler.argmax(), **options)
        handle = generator.probe_each_step(-1, probe)
        async for step in generator:
            ids, probabilities = (await step.clear_sampler().execute()).distribution(handle)
            weights = [
                probability * boost if is_green(key, made[-1], token) else probability
                for token, probability in zip(ids, probabilities, strict=True)
            ]
            made += generator.accept([pick(ids, weights, uniform(seed, len(made)))])
    return made[1:]


def pick(ids, weights, number):
    """The id at which the weights, added up, pass the share `number` of their sum."""
    sums = list(itertools.accumulate(weights))
    return ids[bisect.bisect_right(sums, number * sums[-1])]


def score(texts, key):
    """How green texts are. Each pair of neighbours counts once: a phrase that comes again says nothing new."""
    pairs = {pair for text in texts for pair in itertools.pairwise(text)}
    green = sum(is_green(key, *pair) for pair in pairs)
    z = (green - GREEN * len(pairs)) / math.sqrt(len(pairs) * GREEN * (1 - GREEN))
    return {"pairs": len(pairs), "green": green, "z": round(z, 1)}


def is_green(key, previous, token):
    """Whether a token is green after another one."""
    return uniform(key, previous, token) < GREEN


def uniform(*numbers):
    """A number from 0 to 1 that follows from whole numbers as if drawn (each is mixed in as MurmurHash3 ends)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B9) % 2**32
        state = (state ^ state >> 16) * 0x85EBCA6B % 2**32
        state = (state ^ state >> 13) * 0xC2B2AE35 % 2**32
        state ^= state >> 16
    return state / 2**32
