"""Output validation: ordinary code checks each piece of an answer; what is wrong is taken back and tried again.

The list must name each thing by a single word, and no two may begin with the same letter. The context only ever holds
what was found good. A retry starts from there, and is told what was wrong: that word is forbidden to it.
"""

import re

from inferlet import Context, Model, Sampler, chat, session


async def main(input):
    count, tries = input.get("count", 5), input.get("tries", 6)
    sampler = Sampler.top_p(input.get("temperature", 1.0), 0.95)
    items, rejected, num_rejected = [], [], 0  # `rejected` is what was wrong at this place of the list
    with Context(Model.default()) as context:
        context.user(f"List {count} {input.get('kind', 'animals')}.")
        await context.flush()
        context.cue()
        while len(items) < count and len(rejected) < tries:
            tokens, item = await propose(context, sampler, rejected)
            fault = find_fault(item, items)
            if fault is None:
                await keep(context, tokens)
                items.append(item)
                rejected = []
            else:
                session.send(f"{item}: {fault}")
                rejected.append(tokens)
                num_rejected += 1
    return {"items": items, "rejected": num_rejected, "complete": len(items) == count}


def find_fault(item, items):
    """What is wrong with an item after others, or None."""
    if not re.fullmatch("[A-Za-z]+", item):
        return "is not a single word"
    return next((f"begins like {other}" for other in items if other[0] == item[0]), None)


async def propose(context, sampler, rejected):
    """The next item, as tokens and as text, made on a fork: the context stays as it is."""
    tokenizer = context.model.tokenizer()
    stop = [*chat.stop_tokens(context.model), *tokenizer.encode(",")]
    with context.fork() as fork:
        options = {"max_tokens": 10, "stop": stop, "auto_flush": False}
        generator = fork.generate(sampler, constrain=Except(rejected, len(tokenizer.vocabs()[0])), **options)
        tokens = await generator.collect_tokens()
    return tokens, tokenizer.decode(tokens).strip()


async def keep(context, tokens):
    """Make an item part of the context. The comma after it waits, as the input of the next step."""
    await context.append(tokens).flush()
    context.append_text(",")


class Except:
    """A constraint that forbids the token with which one of some token sequences would be complete."""

    def __init__(self, sequences, vocab_size):
        self.sequences, self.vocab_size = sequences, vocab_size
        self.made = []

    def step(self, accepted):
        """The tokens allowed next, as run lengths: forbidden and allowed by turns."""
        self.made += accepted
        forbidden = {sequence[-1] for sequence in self.sequences if sequence and sequence[:-1] == self.made}
        runs, end = [0], 0
        for token in sorted(forbidden):
            runs += [token - end, 1]
            end = token + 1
        return [*runs, self.vocab_size - end]
