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
from pie.server.surfaces.refusal import codes_of
from pie.server.surfaces.replies import ErrorReply, Provisioning

__all__ = ["Operation", "described"]

TEMPLATE = "#/components/schemas/{name}"
PLACE = re.compile(r"{(\w+)}")
TOKEN = {"token": {"type": "http", "scheme": "bearer", "description": "A token of a user; not with --no-auth."}}
FOREIGN = {
    "description": "A page of another site asks, or the server is not known by this name.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}
TEXT = {"type": "string"}
IN_HEADERS = [
    {"name": name, "in": "header", "required": False, "description": about, "schema": TEXT}
    for name, about in {
        "X-SIE-SDK-Version": "Of a client of SIE, which is told 202 where others are told 503.",
        "X-SIE-POOL": "A pool of the user.",
        "X-SIE-MACHINE-PROFILE": "What kind of machine must answer, or pool/profile.",
    }.items()
]
OWN_HEADERS = {
    "X-SIE-Version": "The version of Pie.",
    "X-SIE-Server-Version": "The same.",
    "X-SIE-Request-Id": "An id that no other request has.",
    "X-SIE-Worker": "An id of this server until it stops.",
}
"""What every response of a surface has."""

RETRY_AFTER = {"description": "In seconds.", "schema": {"type": "integer"}}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one path: what is sent, and what comes back.

    Attributes:
        method: such as `get`.
        path: with its parameters in braces.
        summary: one line.
        reply: the type of an answer in one piece.
        statuses: of errors.
        request: the type of the body; None if there is none.
        event: the type of the data of each event of a stream; None if nothing is streamed.
        status: of an answer.
        note: a sentence about the answer.
        codes: of errors that only some surfaces tell, those that this one may.
        later: whether a client of SIE may be told to ask again.
    """

    method: str
    path: str
    summary: str
    reply: type
    statuses: tuple[int, ...]
    request: type | None = None
    event: type | None = None
    status: int = 200
    note: str = "The answer."
    codes: frozenset[str] = frozenset()
    later: bool = False


def described(built_in: Iterable[Operation], routed: Mapping[Route, Operation | None]) -> dict[str, Any]:
    """The document of a server.

    Args:
        built_in: what it answers by itself.
        routed: the operator's routes, which come before that, and what is known of each.
    """
    kept = [operation for operation in built_in if not _is_taken(operation.path, routed)]
    operations = [*kept, *(operation for operation in routed.values() if operation is not None)]
    schemas = _Schemas(operations)
    items: dict[str, dict[str, Any]] = {}
    for operation in operations:
        items.setdefault(operation.path, {})[operation.method] = schemas.told(operation)
    headers = {name: {"description": about, "schema": {"type": "string"}} for name, about in OWN_HEADERS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pie",
            "version": pie.__version__,
            "description": "Programs answer, most in the form of OpenAI's API. Fields that are not listed are refused.",
        },
        "security": [{"token": []}],
        "paths": items,
        "components": {"schemas": schemas.components, "headers": headers, "securitySchemes": TOKEN},
    }


class _Schemas:
    """The schemas of all types, and operations that refer to them."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        sent = [kind for each in operations for kind in (each.request, each.reply, each.event) if kind is not None]
        kinds = list(dict.fromkeys([*sent, ErrorReply, Provisioning]))
        told, self.components = msgspec.json.schema_components(kinds, ref_template=TEMPLATE)
        self._told = dict(zip(kinds, told, strict=True))

    def told(self, operation: Operation) -> dict[str, Any]:
        told: dict[str, Any] = {"summary": operation.summary}
        if parameters := [*_in_path(operation.path), *(IN_HEADERS if operation.later else ())]:
            told["parameters"] = parameters
        if operation.request is not None:
            content = {"application/json": {"schema": self._told[operation.request]}}
            told["requestBody"] = {"required": True, "content": content}
        return {**told, "responses": self._responses(operation)}

    def _responses(self, operation: Operation) -> dict[str, Any]:
        content = {"application/json": {"schema": self._told[operation.reply]}}
        if operation.event is not None:
            content["text/event-stream"] = {"schema": self._told[operation.event]}
        headers = {} if operation.status == HTTPStatus.SWITCHING_PROTOCOLS else {"headers": _own_headers()}
        answer = {"description": operation.note, "content": content, **headers}
        errors = {str(status): self._error(status, operation.codes) for status in operation.statuses}
        later = {"202": self._later()} if operation.later else {}
        return dict(sorted({str(operation.status): answer, **later, "403": FOREIGN, **errors}.items()))

    def _later(self) -> dict[str, Any]:
        return {
            "description": "The model is being loaded; told to clients that send X-SIE-SDK-Version, 503 to others.",
            "headers": {**_own_headers(), "Retry-After": RETRY_AFTER},
            "content": {"application/json": {"schema": self._told[Provisioning]}},
        }

    def _error(self, status: int, own_codes: frozenset[str]) -> dict[str, Any]:
        codes = ", ".join(codes_of(status, own_codes)) or "any other code"
        headers = {**_own_headers(), "X-SIE-Error-Code": {"description": "The code.", "schema": {"type": "string"}}}
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = {"description": "The methods that are answered.", "schema": {"type": "string"}}
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            headers["Retry-After"] = RETRY_AFTER
        return {
            "description": f"{HTTPStatus(status).phrase}: {codes}.",
            "headers": headers,
            "content": {"application/json": {"schema": self._told[ErrorReply]}},
        }


def _in_path(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in PLACE.findall(path)]


def _own_headers() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in OWN_HEADERS}


def _is_taken(path: str, routes: Iterable[Route]) -> bool:
    """Whether a route answers at the path: one with a surface at its own alone, another one below it too."""
    return any(path == route.path or (route.surface is None and path.startswith(f"{route.path}/")) for route in routes)
