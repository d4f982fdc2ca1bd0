"""Monte Carlo tree search over text: which sentences to go on with is learnt from the stories that they lead to.

A node is a fork that ends after some sentence. Each round goes down to a promising node, adds one sentence to it, tells
the story from there to its end a few times, and lets a verifier say how good these ends are.
"""

import asyncio
import math
from dataclasses import dataclass, field

from inferlet import Context, Model, Sampler, chat

MAX_DEPTH = 3  # sentences that the tree decides; what follows them comes with each rollout
CURIOSITY = 0.3
SAMPLER = Sampler.top_p(1.0, 0.95)


@dataclass
class Node:
    """A beginning of a story, and the rewards of the rounds that came through it."""

    context: Context
    text: str = ""
    visits: int = 0
    reward: float = 0.0
    children: list = field(default_factory=list)

    def promise(self, parent):
        """UCT: the mean reward, and more for a node that was rarely visited."""
        return self.reward / self.visits + CURIOSITY * math.sqrt(math.log(parent.visits) / self.visits)


async def main(input):
    words = [word.strip() for word in input.get("words", "loved, wish, basket, friends").split(",")]
    rewards, best = [], (-1.0, "")
    with Context(Model.default()) as context:
        context.user("Tell me a story about a fox.")
        await context.flush()
        root = Node(context.cue())
        for _ in range(input.get("rounds", 48)):
            path = await descend(root, input.get("branching", 4))
            stories = await asyncio.gather(*(rollout(path[-1]) for _ in range(input.get("rollouts", 2))))
            scores = [verify(story, words) for story in stories]
            best = max([best, *zip(scores, stories, strict=True)], key=lambda one: one[0])
            rewards.append(sum(scores) / len(scores))
            for node in path:
                node.visits += 1
                node.reward += rewards[-1]
    half = len(rewards) // 2
    means = [round(sum(part) / max(1, len(part)), 3) for part in (rewards[:half], rewards[half:])]
    return {"story": best[1], "reward": best[0], "mean_reward": {"first_half": means[0], "second_half": means[1]}}


async def descend(root, branching):
    """The path to a new node: along the most promising children, down to one that may have more of them."""
    path = [root]
    while len(path) <= MAX_DEPTH:
        node = path[-1]
        if len(node.children) < branching:
            node.children.append(await add_sentence(node))
            return [*path, node.children[-1]]
        path.append(max(node.children, key=lambda child: child.promise(node)))
    return path


async def add_sentence(node):
    """A new child, which is one sentence further on."""
    context = node.context.fork()
    period = context.model.tokenizer().encode(".")
    sentence = await context.generate(SAMPLER, auto_flush=False, stop=period, max_tokens=60).collect_text()
    context.append(period)
    return Node(context, f"{node.text}{sentence}.")


async def rollout(node):
    """A whole story that begins as the node does."""
    with node.context.fork() as fork:
        end = chat.stop_tokens(fork.model)
        return node.text + await fork.generate(SAMPLER, auto_flush=False, stop=end, max_tokens=100).collect_text()


def verify(story, words):
    """The share of the wanted words that a story holds."""
    return sum(word in story for word in words) / len(words)
