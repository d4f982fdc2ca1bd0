"""Skeleton of thought: first the points of an answer, in a form that a grammar holds, then all points at once.

The skeleton is computed once. Each point is written in a fork of it beside the others, so that all of them together
take about as long as the longest.
"""

import asyncio

from inferlet import Context, Model, Sampler, regex, session


async def main(input):
    num_points = input.get("points", 3)
    with Context(Model.default()) as context:
        context.user(f"List {num_points} {input.get('topic', 'animals')}.")
        words = regex(rf"[a-z]+(, [a-z]+){{{num_points - 1}}}")
        skeleton = await context.generate(Sampler.argmax(), constrain=words).collect_text()
        session.send(f"skeleton: {skeleton}")
        await context.seal().flush()  # the points share these pages
        points = skeleton.split(", ")
        parts = await asyncio.gather(*(expand(context, point) for point in points))
    print("\n\n".join(parts))
    return points


async def expand(context, point):
    """The part of the answer that is about one point."""
    session.send(f"started: {point}")
    with context.fork() as fork:
        fork.user(f"Tell me a story about a {point}.")
        text = await fork.generate(Sampler.top_p(0.8), max_tokens=100).collect_text(reasoning=False)
    session.send("finished one")
    return text
