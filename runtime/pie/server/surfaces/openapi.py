"""The description of all surfaces in the form of OpenAPI 3.1, made of the types that check the requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

import pie
from pie.config import Route
from pie.server.surfaces.chat_request import ChatRequest
from pie.server.surfaces.completions import CompletionRequest
from pie.server.surfaces.embeddings import EmbeddingRequest
from pie.server.surfaces.generate import GenerateRequest
from pie.server.surfaces.generate_replies import Generation, GenerationChunk
from pie.server.surfaces.infer_request import InferRequest
from pie.server.surfaces.refusal import codes_of
from pie.server.surfaces.replies import (
    ChatCompletion,
    ChatCompletionChunk,
    EmbeddingList,
    ErrorReply,
    ModelEntry,
    ModelList,
    TextCompletion,
)
from pie.server.surfaces.response_replies import ResponseEvent, ResponseReply
from pie.server.surfaces.responses_request import ResponsesRequest

__all__ = ["described"]

OF_POSTS = (400, 401, 404, 408, 413, 500, 503, 504)
OF_MODELS = (401,)
OF_A_MODEL = (401, 404)
TEMPLATE = "#/components/schemas/{name}"
PLACE = re.compile(r"{(\w+)}")
TOKEN = {"token": {"type": "http", "scheme": "bearer", "description": "A token of a user; not with --no-auth."}}
FOREIGN = {
    "description": "A page of another site asks, or the server is not known by this name.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


@dataclass(frozen=True, slots=True)
class Form:
    """What is sent to a surface and what comes back.

    Attributes:
        summary: one line.
        request: the type of the body.
        reply: the type of an answer in one piece.
        event: the type of the data of each event of a stream; None if nothing is streamed.
    """

    summary: str
    request: type
    reply: type
    event: type | None


FORMS = {
    "chat-completions": Form("Answer a conversation", ChatRequest, ChatCompletion, ChatCompletionChunk),
    "responses": Form("Answer a conversation, item by item", ResponsesRequest, ResponseReply, ResponseEvent),
    "inference-chat": Form("Answer a conversation, in a form", InferRequest, ChatCompletion, ChatCompletionChunk),
    "completions": Form("Let texts go on", CompletionRequest, TextCompletion, TextCompletion),
    "generate": Form("Let one text go on, and tell the times", GenerateRequest, Generation, GenerationChunk),
    "embeddings": Form("Tell what texts are about, as vectors", EmbeddingRequest, EmbeddingList, None),
}
"""Each surface by its name."""


def described(paths: Mapping[str, str], routes: Iterable[Route]) -> dict[str, Any]:
    """The document of a server.

    Args:
        paths: where the built-in surfaces are, by their names.
        routes: the operator's, which come before what is built in.
    """
    routes = tuple(routes)
    schemas = _Schemas()
    items = {path: schemas.post(name) for name, path in paths.items()} | schemas.models()
    items = {path: item for path, item in items.items() if not _is_taken(path, routes)}
    items |= {route.path: schemas.post(route.surface, route.program) for route in routes if route.surface is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pie",
            "version": pie.__version__,
            "description": "Programs answer in the form of OpenAI's API. Fields that are not listed are refused.",
        },
        "security": [{"token": []}],
        "paths": {path: _with_parameters(path, item) for path, item in items.items()},
        "components": {"schemas": schemas.components, "securitySchemes": TOKEN},
    }


class _Schemas:
    """The schemas of all types, and operations that refer to them."""

    def __init__(self) -> None:
        forms = FORMS.values()
        sent = [kind for form in forms for kind in (form.request, form.reply, form.event) if kind is not None]
        kinds = list(dict.fromkeys([*sent, ModelList, ModelEntry, ErrorReply]))
        told, self.components = msgspec.json.schema_components(kinds, ref_template=TEMPLATE)
        self._told = dict(zip(kinds, told, strict=True))

    def post(self, surface: str, program: str | None = None) -> dict[str, Any]:
        form = FORMS[surface]
        content = {"application/json": {"schema": self._told[form.reply]}}
        if form.event is not None:
            content["text/event-stream"] = {"schema": self._told[form.event]}
        body = {"required": True, "content": {"application/json": {"schema": self._told[form.request]}}}
        operation = {"summary": form.summary, "requestBody": body, "responses": self._responses(content, OF_POSTS)}
        return {"post": operation if program is None else {**operation, "summary": f"{form.summary}: {program}"}}

    def models(self) -> dict[str, Any]:
        all_of_them = {"application/json": {"schema": self._told[ModelList]}}
        one = {"application/json": {"schema": self._told[ModelEntry]}}
        listed = {"summary": "What is served", "responses": self._responses(all_of_them, OF_MODELS)}
        entry = {"summary": "One served model", "responses": self._responses(one, OF_A_MODEL)}
        return {"/v1/models": {"get": listed}, "/v1/models/{model}": {"get": entry}}

    def _responses(self, content: dict[str, Any], statuses: Iterable[int]) -> dict[str, Any]:
        told: dict[str, Any] = {"200": {"description": "The answer.", "content": content}, "403": FOREIGN}
        return dict(sorted({**told, **{str(status): self._error(status) for status in statuses}}.items()))

    def _error(self, status: int) -> dict[str, Any]:
        schema = self._told[ErrorReply]
        codes = ", ".join(codes_of(status)) or "any other code"
        described = {
            "description": f"{HTTPStatus(status).phrase}: {codes}.",
            "content": {"application/json": {"schema": schema}},
        }
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            described["headers"] = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
        return described


def _with_parameters(path: str, item: dict[str, Any]) -> dict[str, Any]:
    """The item of a path, whose operations tell of what stands in braces there."""
    names = PLACE.findall(path)
    told = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {method: {**operation, "parameters": told} if told else operation for method, operation in item.items()}


def _is_taken(path: str, routes: Iterable[Route]) -> bool:
    """Whether a route answers at the path: one with a surface at its own alone, another one below it too."""
    return any(path == route.path or (route.surface is None and path.startswith(f"{route.path}/")) for route in routes)
