"""Graph of thought: parts are solved apart, scored, refined while none of them holds, and merged until one is left.

The task is to add up a list. A thought is the sum of a part of it. Two thoughts are merged by a context that asks for
their sum; a candidate is scored by how often the model, taking one of the two away again, finds the other.
"""

import asyncio
import re

from inferlet import Context, Model, Sampler, session

TEMPERATURES = (2.0, 1.0, 0.0)  # of the first candidates, which differ much, and of each refinement


async def main(input):
    thoughts = [int(number) for number in input.get("numbers", "17, 38, 26, 12, 25, 33, 9, 24").split(",")]
    with Context(Model.default()) as context:
        direct = await ask(context, f"What is {' + '.join(map(str, thoughts))}?", 0.0)
        while len(thoughts) > 1:
            pairs = list(zip(thoughts[::2], thoughts[1::2], strict=False))
            alone = thoughts[2 * len(pairs) :]  # the last of an odd number of thoughts waits for the next round
            merges = await asyncio.gather(*(merge(context, a, b, input.get("candidates", 4)) for a, b in pairs))
            for _, story in merges:
                session.send(story)
            thoughts = [*(total for total, _ in merges), *alone]
    return {"answer": thoughts[0], "without_graph": direct}


async def merge(context, a, b, num_candidates):
    """The best candidate for the sum of two thoughts, and how it was found."""
    story = f"{a} + {b}:"
    for temperature in TEMPERATURES:
        asked = [ask(context, f"What is {a} + {b}?", temperature) for _ in range(num_candidates)]
        candidates = await asyncio.gather(*asked)
        scores = await asyncio.gather(*(score(context, total, a, b) for total in candidates))
        story += f" {' '.join(map(str, candidates))} ->"
        # Among equal scores the one that was drawn most often wins.
        best = max(range(num_candidates), key=lambda index: (scores[index], candidates.count(candidates[index])))
        if scores[best] > 0:
            break
    return candidates[best], f"{story} {candidates[best]} (score {scores[best]})"


async def score(context, total, a, b):
    """How many of two checks hold: the total without one part is the other."""
    rests = await asyncio.gather(*(ask(context, f"What is {total} - {part}?", 0.0) for part in (a, b)))
    return (rests[0] == b) + (rests[1] == a)


async def ask(context, question, temperature):
    """The number with which the answer ends; 0 if there is none."""
    with context.fork() as fork:
        fork.user(question)
        answer = await fork.generate(Sampler.multinomial(temperature), max_tokens=160).collect_text(reasoning=False)
    number = re.search(r"\d+$", answer)
    return int(number[0]) if number else 0
