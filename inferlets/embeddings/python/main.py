"""Embeddings: texts in, one vector for each out: the mean of the final hidden states of its tokens.

A server launches it for each request to `/v1/embeddings`; docs/http.md tells what it is given and must return.
"""

import asyncio
import base64
import struct

from inferlet import Context, Embedding, Error, Model

PIECE = 64
"""Tokens that are read in one pass, and inputs that are read at a time."""


async def main(input):
    model = Model.load(input["model"]) if "model" in input else Model.default()
    inputs = input.get("inputs", ["Oslo is the capital of Norway."])
    length = input.get("context_length", 4096)
    texts = [tokens_of(model, one, length) for one in inputs]
    embeddings = []
    for start in range(0, len(texts), PIECE):
        embeddings += await asyncio.gather(*(embed(model, tokens) for tokens in texts[start : start + PIECE]))
    return {"embeddings": embeddings, "prompt_tokens": sum(map(len, texts))}


def tokens_of(model, one, length):
    """The tokens of an input, which is a text or has them already."""
    tokens = model.tokenizer().encode(one) if isinstance(one, str) else one
    if not tokens:
        raise Error("bad-argument", "an input has no tokens")
    if len(tokens) > length:
        raise Error("prompt-too-long", f"an input has {len(tokens)} tokens, and the model takes {length}")
    return tokens


async def embed(model, tokens):
    """The mean over all tokens, as f32 values in base64."""
    sums = []
    with Context(model) as context:
        for start in range(0, len(tokens), PIECE):
            piece = tokens[start : start + PIECE]
            forward = context.forward().input(piece)
            probes = [forward.probe(index, Embedding()) for index in range(len(piece))]
            output = await forward.execute()
            states = [memoryview(output.embedding(probe)).cast("f") for probe in probes]
            sums = list(map(sum, zip(*states, *([sums] if sums else []), strict=True)))
    means = (value / len(tokens) for value in sums)
    return base64.b64encode(struct.pack(f"<{len(sums)}f", *means)).decode()
