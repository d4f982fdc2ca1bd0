"""Tree of thought: several next thoughts from each state, a value for each of them, and only the best states go on.

The task is to sort numbers. A thought is one line of the work, such as "71 17 45 -> 17"; a state is a fork that holds
the lines so far.
"""

import asyncio
from dataclasses import dataclass

from inferlet import Context, Logprob, Model, Sampler, chat, regex, session


@dataclass(frozen=True)
class State:
    """A node of the tree; one that is dropped gives back its pages."""

    work: Context
    ordered: list
    left: list
    value: float = 0.0


async def main(input):
    numbers = [int(number) for number in input.get("numbers", "52, 27, 15, 73, 63, 85, 39").split(",")]
    with Context(Model.default()) as context:
        context.user(f"Sort these numbers: {listed(numbers)}")
        await context.flush()  # the states share these pages
        untied = await context.fork().generate(Sampler.argmax(), max_tokens=300).collect_text(reasoning=False)
        states = [State(context.fork().cue().append_text("<think>\n"), [], numbers)]
        for _ in numbers:
            states = await deeper(states, input.get("proposals", 5), input.get("keep", 3))
            session.send(" | ".join(f"{listed(state.ordered)} ({state.value:.2f})" for state in states))
    return {"answer": listed(states[0].ordered), "without_tree": untied}


async def deeper(states, num_proposals, num_kept):
    """The best states that are one thought further on, best first."""
    proposed = await asyncio.gather(*(propose(state) for state in states for _ in range(num_proposals)))
    distinct = {tuple(state.ordered): state for state in proposed}.values()
    values = await asyncio.gather(*(value(state) for state in distinct))
    valued = [State(state.work, state.ordered, state.left, one) for state, one in zip(distinct, values, strict=True)]
    return sorted(valued, key=lambda state: -state.value)[:num_kept]


async def propose(state):
    """A state with one more thought, of those that may come next."""
    work = state.work.fork().append_text(f"{' '.join(map(str, state.left))} -> ")
    line = {"constrain": regex(f"({'|'.join(map(str, state.left))})\n"), "stop": chat.stop_tokens(work.model)}
    number = int(await work.generate(Sampler.multinomial(2.0), auto_flush=False, **line).collect_text())
    left = state.left.copy()
    left.remove(number)
    return State(work, [*state.ordered, number], left, state.value)


async def value(state):
    """How likely all thoughts are, in nats; the last one is probed as the answer to a question of its own."""
    if not state.left:
        return state.value
    model = state.work.model
    encode = model.tokenizer().encode
    answer = encode(f" {state.ordered[-1]}.")
    *opening, last = [*chat.cue(model), *encode("The smallest is")]
    with Context(model) as question:
        question.user(f"What is the smallest of {listed([state.ordered[-1], *state.left])}?").append(opening)
        forward = question.forward().input([last, *answer[:-1]])
        probes = [forward.probe(index, Logprob(token)) for index, token in enumerate(answer)]
        output = await forward.execute()
    return state.value + sum(output.logprobs(probe)[0] for probe in probes)


def listed(numbers):
    return ", ".join(map(str, numbers))
