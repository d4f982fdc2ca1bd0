"""Jacobi decoding: greedy text as the fixed point of a block of guesses, all of which each pass corrects at once.

After Santilli et al., "Accelerating transformer inference for translation via parallel decoding" (2023).
"""

from inferlet import Context, Model, Sampler, chat


async def main(input):
    block, max_tokens = input.get("block", 8), input.get("max_tokens", 120)
    model = Model.default()
    stop = set(chat.stop_tokens(model))
    # The logits after a token tell of the next one, so the last token of the prompt is read together with the guesses.
    *opening, last = [*chat.first_user(model, input.get("prompt", "What is 748 + 596?")), *chat.cue(model)]
    with Context(model) as context:
        await context.append(opening).flush()
        with context.fork() as fork:
            greedy = fork.append([last]).generate(Sampler.argmax(), max_tokens=max_tokens, stop=stop, auto_flush=False)
            expected = await greedy.collect_tokens()

        tokens, guesses, passes = [], [last] * block, 0
        while len(tokens) < max_tokens and stop.isdisjoint(tokens):
            likely = await most_likely(context, [last, *guesses])
            passes += 1
            # A guess is right if all before it are and the model says the same. The first wrong one is known now.
            right = next((i for i in range(block) if guesses[i] != likely[i]), block)
            context.truncate(block - right)
            tokens += likely[: right + 1]
            last = likely[right]
            # The others are guessed anew from the wrong ones before them; new places get the last guess.
            guesses = likely[right + 1 :] + likely[-1:] * right

    end = next((i for i, token in enumerate(tokens) if token in stop), len(tokens))
    tokens = tokens[: min(end, max_tokens)]
    return {
        "text": model.tokenizer().decode(tokens),
        "same_as_greedy": tokens == expected,
        "tokens": len(tokens),
        "passes": passes,
        "passes_per_token": round(passes / len(tokens), 2),
    }


async def most_likely(context, tokens):
    """One pass: the most likely token after each of `tokens`, which stay in the context."""
    start = context.seq_len
    # Pages of a pass with given positions are not committed, so wrong guesses can be forgotten.
    forward = context.forward().input_at(tokens, range(start, start + len(tokens)))
    drawn = forward.sample(range(len(tokens)), Sampler.argmax())
    return (await forward.execute()).tokens_at(drawn)
