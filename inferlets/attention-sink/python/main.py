"""Attention sinks: a long text in a bounded number of pages, which hold its last tokens and the very first ones.

After Xiao et al., "Efficient streaming language models with attention sinks" (2023): a model sends attention to its
first tokens that it has no other use for, and can lose its thread without them.
"""

from inferlet import Context, Model, Sampler, Window, session


async def main(input):
    window = Window(input.get("window", 64), sink=input.get("sink", 4))
    max_tokens = input.get("max_tokens", 500)
    tokens, most_pages = [], 0
    with Context(Model.default()) as context:
        context.user(input.get("prompt", "Tell me a short story."))
        # Without stop tokens the text goes on past each turn: the model makes up the next one too.
        generator = context.generate(Sampler.top_p(0.8, 0.95), max_tokens=max_tokens, stop=[], window=window)
        async for step in generator:
            tokens += (await step.execute()).tokens
            most_pages = max(most_pages, context.pages_held)
            if len(tokens) % 100 == 0:
                session.send(f"after {len(tokens)} tokens: {context.pages_held} pages, {num_pages(context)} without")
        return {
            "most_pages": most_pages,
            "pages_without": num_pages(context),
            "ends": context.model.tokenizer().decode(tokens[-60:]),
        }


def num_pages(context):
    """The pages that all tokens of a context take, if none is given back."""
    return -(-context.seq_len // context.page_size)
