"""Each refusal of the table, each unknown field and each wrong type: told with its place, and nothing is left of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.server.surfaces.client import Reply, post
from tests.server.surfaces.refused.rows import EMBEDDINGS, GOOD, ROWS, TASK
from tests.server.tasks.client import ended

from pie.server.server import Server
from pie.server.surfaces.forms import FORMS
from pie.server.surfaces.routes import PATHS
from pie.server.tasks.request import TaskRequest

pytestmark = pytest.mark.asyncio(loop_scope="session")

KINDS = {
    GOOD_PATH: FORMS[name].request for name, path in PATHS.items() if (GOOD_PATH := path.replace("{model}", "MODEL"))
}
VALUES: tuple[Any, ...] = ([[]], {"a": {}}, 1.5, "no", True)
LAUNCHED = ("unknown_lora", "context_exceeded", "bad_regex", "bad_ebnf", "bad_schema")
"""What only the program finds."""


async def ask(server: Server, path: str, body: Any) -> Reply:
    model = server.service.runtime.model.name
    return await post(server, path.replace("MODEL", model), json.dumps(body).replace('"MODEL"', f'"{model}"').encode())


@pytest.mark.parametrize("line", ROWS)
async def test_what_does_not_fit_is_refused_with_its_place(server: Server, line: str) -> None:
    runtime = server.service.runtime
    wrong: list[tuple[Any, ...]] = []
    for row in ROWS[line]:
        launched = runtime.num_launched
        reply = await ask(server, row.path, {**GOOD[row.path], **row.fields})
        refused = reply.status >= 400 and reply.error
        is_launched = runtime.num_launched > launched
        if refused != (row.status, row.code, row.param) or is_launched != (row.code in LAUNCHED):
            wrong.append((row, reply.status, reply.content))
        elif reply.headers["x-sie-error-code"] != row.code:
            wrong.append((row, reply.status, reply.headers))
    assert wrong == []


@pytest.mark.parametrize("path", GOOD)
async def test_each_field_of_a_wrong_type_is_named(server: Server, path: str) -> None:
    kind = TaskRequest if path == TASK else KINDS[path]
    launched = server.service.runtime.num_launched
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        for value in (value for value in VALUES if not fits(value, field.type)):
            status, code, param = (await ask(server, path, {**GOOD[path], name: value})).error
            assert (status, code in ("bad_value", "unsupported_field")) == (400, True), (name, value)
            assert param is not None
            assert param.startswith(name), (name, value, param)
    assert server.service.runtime.num_launched == launched


def fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("path", GOOD)
async def test_after_bodies_that_are_none_a_good_one_is_answered(server: Server, path: str) -> None:
    good = json.dumps(GOOD[path]).encode()
    for body in (b"", b"{", b"\xff", b"nothing", good[:-1], good + b"{", good.replace(b"Hi", b"H\xc3")):
        reply = await ask_bytes(server, path, body)
        assert reply.error == (400, "bad_json", None), body[:99]
    for body in (b"[]", b"null", b'"x"', b"1"):
        assert (await ask_bytes(server, path, body)).error == (400, "bad_value", "body"), body
    assert (await post(server, path, b"", method="PUT")).error == (405, "method_not_allowed", None)
    reply = await ask(server, path, GOOD[path])
    assert reply.status == 200, reply.content
    if path == TASK:
        assert (await ended(server, reply.body["task_id"]))["status"] == "COMPLETED"
    else:
        assert reply.body["usage" if path != EMBEDDINGS else "data"]


async def ask_bytes(server: Server, path: str, body: bytes) -> Reply:
    model = server.service.runtime.model.name
    return await post(server, path.replace("MODEL", model), body.replace(b'"MODEL"', json.dumps(model).encode()))
