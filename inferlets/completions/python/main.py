"""Completions: texts in, and how they go on. No chat template stands between.

A server launches it for each request to `/v1/completions`; docs/http.md tells what it is given and must return.
"""

import asyncio

from inferlet import Adapter, Context, Error, Logprob, Model, Sampler, chat, session


async def main(input):
    model = Model.load(input["model"]) if "model" in input else Model.default()
    prompts = input.get("prompts", ["The capital of Norway is"])
    answers = await asyncio.gather(*(complete(model, input, *numbered) for numbered in enumerate(prompts)))
    usage = {key: sum(usage[key] for _, usage in answers) for key in answers[0][1]}
    return {"choices": [choice for choices, _ in answers for choice in choices], "usage": usage}


async def complete(model, input, index, prompt):
    """The choices of one prompt, `n` or the best `n` of `best_of`, and what they took."""
    n = input.get("n", 1)
    many = max(n, input.get("best_of", 1))
    *opening, last = model.tokenizer().encode(prompt)
    with Context(model) as context:
        context.append(opening)
        if many > 1 and opening:
            await context.flush()  # all candidates share these pages
        written = [write(context, last, input, prompt, index * many + number) for number in range(many)]
        choices, tokens, reused = zip(*await asyncio.gather(*written), strict=True)
        cached = max(context.reused_tokens, *reused)
        if many > n:
            scores = await asyncio.gather(*(score(context, last, each) for each in tokens))
            best = sorted(range(many), key=lambda number: scores[number], reverse=True)
            choices = [choices[number] for number in best[:n]]
    completion_tokens = sum(len(each) for each in tokens)
    usage = {"prompt_tokens": len(opening) + 1, "completion_tokens": completion_tokens, "cached_tokens": cached}
    return choices, usage


async def write(context, last, input, prompt, number):
    """One candidate, its tokens, and how many of the prompt's were known already."""
    model, stop = context.model, input.get("stop", [])
    room = input.get("context_length", 4096) - context.seq_len - len(context.buffer()) - 1
    limit = max(1, min(input.get("max_tokens", 16), room))
    lead = prompt if input.get("echo") else ""
    with context.fork() as branch:
        generator = branch.append([last]).generate(
            sampler(input),
            max_tokens=limit,
            stop_texts=stop,
            repetition_penalty=input.get("repetition_penalty"),
            frequency_penalty=input.get("frequency_penalty"),
            presence_penalty=input.get("presence_penalty"),
            logit_bias={int(token): bias for token, bias in input.get("logit_bias", {}).items()},
            logprobs=input.get("logprobs"),
            adapter=adapter(model, input),
            seed=seed(input, number),
            auto_flush=False,
            stop=chat.stop_tokens(model),
        )
        if input.get("stream"):
            print(lead, end="", flush=True)
            if "logprobs" in input:
                text = await follow(generator)
            else:
                text = await generator.collect_text(echo=True)  # the host sends each piece itself
            tokens = [0] * generator.tokens_generated  # nobody asks which ones
        else:
            tokens = await generator.collect_tokens()
            text = shown(model, tokens, stop)
        reason = "length" if generator.tokens_generated >= limit else "stop"
        choice = {"text": lead + text, "finish_reason": reason}
        if "logprobs" in input:
            choice["logprobs"] = told(generator.logprobs)
        return choice, tokens, branch.reused_tokens


async def follow(generator):
    """Print the text as it comes; before each piece, tell how likely the tokens so far were."""
    text, num_told = "", 0
    async for piece in generator.text():
        session.send({"logprobs": told(generator.logprobs[num_told:])})
        num_told = len(generator.logprobs)
        print(piece, end="", flush=True)
        text += piece
    return text


def told(logprobs):
    """How likely tokens were, as the server takes it."""
    lowest = -9999.0  # JSON has no infinity
    return [
        {"token": one.token, "logprob": max(one.logprob, lowest), "top": [(t, max(p, lowest)) for t, p in one.top]}
        for one in logprobs
    ]


async def score(context, last, tokens):
    """How likely the model finds each token of a candidate, on average, as a natural logarithm."""
    if not tokens:
        return float("-inf")
    with context.fork() as branch:
        forward = branch.forward().input([last, *tokens[:-1]])
        probes = [forward.probe(index, Logprob(token)) for index, token in enumerate(tokens)]
        output = await forward.execute()
        return sum(output.logprobs(probe)[0] for probe in probes) / len(tokens)


def shown(model, tokens, stop):
    """The text of tokens up to the first stop text."""
    decoder = chat.Decoder(model)
    event = decoder.feed([*tokens, chat.stop_tokens(model)[0]])
    while not isinstance(event, chat.Event.Done):
        event = decoder.feed([])
    ends = [event.text.find(text) for text in stop if text in event.text]
    return event.text[: min(ends)] if ends else event.text


def sampler(input):
    temperature, p = input.get("temperature", 1.0), input.get("top_p", 1.0)
    if "top_k" in input:
        return Sampler.top_k_top_p(temperature, input["top_k"], p)
    return Sampler.top_p(temperature, p)


def seed(input, number):
    """The seed of one candidate, far from those of its neighbours; None if nothing needs to be repeatable."""
    return (input["seed"] ^ number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF if "seed" in input else None


def adapter(model, input):
    """The adapter that was asked for."""
    if "adapter" not in input:
        return None
    found = Adapter.open(model, input["adapter"])
    if found is None:
        raise Error("adapter-not-found", f"there is no adapter {input['adapter']!r}")
    return found
