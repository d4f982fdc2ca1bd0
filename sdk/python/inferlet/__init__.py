"""Programs beside the model: what a program that runs in a Pie server imports.

A program defines `async def main(input)`; what it returns is sent back as JSON.

    from inferlet import Context, Model, Sampler

    async def main(input):
        context = Context(Model.default())
        context.user(input["question"])
        return await context.generate(Sampler.top_p(), max_tokens=256).collect_text()
"""

from __future__ import annotations

from inferlet import chat, http, mask, mcp, media, messaging, reasoning, runtime, scheduling, session, speech, tools, zo
from inferlet.adapter import Adapter
from inferlet.constraints import (
    AnyJson,
    Constraint,
    Ebnf,
    Foresight,
    GrammarConstraint,
    JsonSchema,
    Regex,
    Schema,
    any_json,
    ebnf,
    grammar,
    json_schema,
    regex,
)
from inferlet.context import Context
from inferlet.errors import Error
from inferlet.forward import Forward
from inferlet.generator import Generator
from inferlet.matching import Grammar, Matcher
from inferlet.mcp import McpSession
from inferlet.media import Audio, Image, Video
from inferlet.messaging import Subscription
from inferlet.model import Model, Tokenizer
from inferlet.output import Output, ProbeHandle, SampleHandle
from inferlet.runtime import Child
from inferlet.sampler import Distribution, Embedding, Entropy, Logits, Logprob, Logprobs, Sampler
from inferlet.speculator import Speculator
from inferlet.step import GenStep
from inferlet.token_logprobs import TokenLogprobs
from inferlet.window import Window

__all__ = [
    "Adapter",
    "AnyJson",
    "Audio",
    "Child",
    "Constraint",
    "Context",
    "Distribution",
    "Ebnf",
    "Embedding",
    "Entropy",
    "Error",
    "Foresight",
    "Forward",
    "GenStep",
    "Generator",
    "Grammar",
    "GrammarConstraint",
    "Image",
    "JsonSchema",
    "Logits",
    "Logprob",
    "Logprobs",
    "Matcher",
    "McpSession",
    "Model",
    "Output",
    "ProbeHandle",
    "Regex",
    "SampleHandle",
    "Sampler",
    "Schema",
    "Speculator",
    "Subscription",
    "TokenLogprobs",
    "Tokenizer",
    "Video",
    "Window",
    "any_json",
    "chat",
    "ebnf",
    "grammar",
    "http",
    "json_schema",
    "mask",
    "mcp",
    "media",
    "messaging",
    "reasoning",
    "regex",
    "runtime",
    "scheduling",
    "session",
    "speech",
    "tools",
    "zo",
]
