"""What each surface takes and answers, for descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pie.config import Route
from pie.server.surfaces.chat_request import ChatRequest
from pie.server.surfaces.completions import CompletionRequest
from pie.server.surfaces.embeddings import EmbeddingRequest
from pie.server.surfaces.generate import GenerateRequest
from pie.server.surfaces.generate_replies import Generation, GenerationChunk
from pie.server.surfaces.infer_request import InferRequest
from pie.server.surfaces.openapi import Operation
from pie.server.surfaces.refusal import OF_POOLS
from pie.server.surfaces.replies import (
    ChatCompletion,
    ChatCompletionChunk,
    EmbeddingList,
    ModelEntry,
    ModelList,
    TextCompletion,
)
from pie.server.surfaces.response_replies import ResponseEvent, ResponseReply
from pie.server.surfaces.responses_request import ResponsesRequest

__all__ = ["route_operations", "surface_operations"]

OF_POSTS = (400, 401, 404, 405, 408, 413, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Form:
    """What is sent to a surface and what comes back; see `Operation`."""

    summary: str
    request: type
    reply: type
    event: type | None
    note: str = "The answer."


FORMS = {
    "chat-completions": Form("Answer a conversation", ChatRequest, ChatCompletion, ChatCompletionChunk),
    "responses": Form("Answer a conversation, item by item", ResponsesRequest, ResponseReply, ResponseEvent),
    "inference-chat": Form(
        "Answer a conversation, in some form",
        InferRequest,
        ChatCompletion,
        ChatCompletionChunk,
        note="The answer. A stream that is silent for long has events named ping, with {} as their data.",
    ),
    "completions": Form("Let texts go on", CompletionRequest, TextCompletion, TextCompletion),
    "generate": Form("Let one text go on, and tell the times", GenerateRequest, Generation, GenerationChunk),
    "embeddings": Form("Tell what texts are about, as vectors", EmbeddingRequest, EmbeddingList, None),
}
"""Each surface by its name."""

MODELS = (
    Operation("get", "/v1/models", "What is served", ModelList, (401, 405)),
    Operation("get", "/v1/models/{model}", "One served model", ModelEntry, (401, 404, 405, 502)),
)


def surface_operations(paths: Mapping[str, str]) -> list[Operation]:
    """What is answered at the paths of built-in surfaces, by their names."""
    return [*(_operation(surface, path) for surface, path in paths.items()), *MODELS]


def route_operations(routes: Iterable[Route]) -> dict[Route, Operation | None]:
    """What is answered at the operator's routes; None where the program alone knows."""
    return {
        route: None if route.surface is None else _operation(route.surface, route.path, f": {route.program}")
        for route in routes
    }


def _operation(surface: str, path: str, whose: str = "") -> Operation:
    form = FORMS[surface]
    return Operation(
        "post",
        path,
        form.summary + whose,
        form.reply,
        OF_POSTS,
        request=form.request,
        event=form.event,
        note=form.note,
        codes=OF_POOLS - {"default-pool", "too-many-pools"},
        later=True,
    )
