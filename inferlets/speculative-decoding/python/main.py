"""Speculative decoding: a drafter of one's own guesses the next tokens, and one pass of the model checks them all.

The drafter is prompt lookup (Saxena, "Prompt lookup decoding", 2023): where the last tokens have occurred before, it
guesses that what followed them then follows them now.
"""

from inferlet import Context, Model, Sampler


async def main(input):
    max_tokens = input.get("max_tokens", 200)
    with Context(Model.default()) as context:
        context.user(input.get("prompt", "Sort these numbers: 12, 5, 31, 8, 41, 22"))
        drafter = PromptLookup(context.buffer(), input.get("match", 2), input.get("length", 8))
        with context.fork() as fork:
            plain = await run(fork.generate(Sampler.argmax(), max_tokens=max_tokens))
        quick = await run(context.generate(Sampler.argmax(), max_tokens=max_tokens, speculator=drafter))
        return {
            "text": context.model.tokenizer().decode(quick["tokens"]),
            "same_tokens": quick["tokens"] == plain["tokens"],
            "tokens": len(quick["tokens"]),
            "passes_without": plain["passes"],
            "passes": quick["passes"],
            "guessed": drafter.num_guessed,
            "accepted": quick["accepted"],
            "accepted_per_pass": round(quick["accepted"] / quick["passes"], 2),
        }


async def run(generator):
    """The tokens of a generation, the forward passes that they took, and the guesses that were right."""
    tokens, passes, accepted = [], 0, 0
    async for step in generator:
        output = await step.execute()
        tokens += output.tokens
        passes += 1
        accepted += len(output.tokens_at(output.auto_sampler)) - 1  # the last one is the model's own
    return {"tokens": tokens, "passes": passes, "accepted": accepted}


class PromptLookup:
    """Guesses up to `length` tokens: those that followed the last `match` tokens where these occurred before."""

    def __init__(self, prompt, match, length):
        self.prompt, self.match, self.length = prompt, match, length

    def reset(self):
        """A generation begins."""
        self.known, self.num_guessed = list(self.prompt), 0

    def draft(self):
        """The guesses for the next pass, and no positions: they follow each other."""
        last, guesses = self.known[-self.match :], []
        for start in reversed(range(len(self.known) - self.match)):
            if self.known[start : start + self.match] == last:
                guesses = self.known[start + self.match :][: self.length]
                break
        self.num_guessed += len(guesses)
        return guesses, []

    def accept(self, tokens):
        """Take what a pass gave: the right guesses, and the model's own token after them."""
        self.known += tokens

    def rollback(self, n):
        """The last `n` guesses were wrong: they were never taken as known."""
