"""Beam search: grow the few most likely beginnings of an answer token by token, and return the most likely answer.

Every beam is a fork, so what two beams have in common is computed and held once.
"""

import asyncio
import math
from dataclasses import dataclass

from inferlet import Context, Distribution, Model, chat


@dataclass(frozen=True)
class Beam:
    """A beginning: its tokens, after the last one of the prompt, and the sum of their log probabilities."""

    tokens: list
    score: float
    context: Context | None = None  # holds all tokens but the last; None if that ended the answer


async def main(input):
    model = Model.default()
    *opening, last = chat.cue(model)
    with Context(model) as context:
        context.user(input.get("prompt", "Tell me a joke.")).append(opening)
        await context.flush()  # the beams share these pages
        widths, max_tokens = (1, input.get("width", 4)), input.get("max_tokens", 60)
        greedy, widest = await asyncio.gather(*(search(context, last, width, max_tokens) for width in widths))
    # What looks better for a while can crowd out the greedy answer, so that takes part again at the end.
    return {"best": shown(model, highest([widest, greedy])), "greedy": shown(model, greedy)}


async def search(prompt, last, width, max_tokens):
    """The most likely answer among those that a search with `width` beams meets; one beam is greedy decoding."""
    stop = set(chat.stop_tokens(prompt.model))
    beams, over = [Beam([last], 0.0, prompt.fork())], []
    for _ in range(max_tokens):
        grown = await asyncio.gather(*(likely(beam, width) for beam in beams))
        steps = [step for steps in grown for step in steps]
        parents, beams = beams, []
        for step in sorted(steps, key=lambda beam: -beam.score)[:width]:
            if step.tokens[-1] in stop:
                over.append(Beam(step.tokens, step.score))
            else:
                beams.append(Beam(step.tokens, step.score, step.context.fork()))
        for parent in parents:
            parent.context.release()
        # A score only falls as the text grows, so no beam can overtake an answer that leads already.
        if not beams or (over and beams[0].score <= highest(over).score):
            break
    for beam in beams:
        beam.context.release()
    return highest([*over, *beams])


async def likely(beam, width):
    """The beam with each of the `width` most likely next tokens, still with its own context."""
    forward = beam.context.forward().input(beam.tokens[-1:])
    probe = forward.probe(0, Distribution(k=width))
    ids, probabilities = (await forward.execute()).distribution(probe)
    return [
        Beam([*beam.tokens, token], beam.score + math.log(probability), beam.context)
        for token, probability in zip(ids, probabilities, strict=True)
    ]


def highest(beams):
    return max(beams, key=lambda beam: beam.score)


def shown(model, beam):
    tokens = beam.tokens[1:] if beam.context else beam.tokens[1:-1]
    return {"text": model.tokenizer().decode(tokens), "logprob": round(beam.score, 3)}
