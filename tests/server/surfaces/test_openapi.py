"""`/openapi.json` and `/docs`: what they say is what the surfaces do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.surfaces.client import CHAT, COMPLETIONS, RESPONSES, Reply, chat_body, post
from tests.server.surfaces.schema_values import cheap, fitting, mutated
from tests.server.tasks.client import cancel, ended, send, send_long, show, stream

from pie.config import Route
from pie.runtime import Runtime
from pie.server.cluster import replies as cluster_replies
from pie.server.cluster.routes import CLUSTER_OPERATIONS
from pie.server.pools import replies as pool_replies
from pie.server.pools.routes import POOL_OPERATIONS
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.surfaces import generate_replies, replies, response_replies
from pie.server.surfaces.forms import surface_operations
from pie.server.surfaces.openapi import described
from pie.server.surfaces.routes import PATHS
from pie.server.tasks import replies as task_replies
from pie.server.tasks.forms import TASK_OPERATIONS

pytestmark = pytest.mark.asyncio(loop_scope="session")

GENERATE = "/v1/generate/{model}"
JSON = "application/json"
INFERENCE = "/v1/inference/chat"
SHOWN = "/inference/{task_id}"
TASKS = "/inference/chat"
DOCUMENT = described([*surface_operations(PATHS), *TASK_OPERATIONS, *CLUSTER_OPERATIONS, *POOL_OPERATIONS], {})
COMPONENTS = DOCUMENT["components"]["schemas"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
PATHS_WITHOUT_MODELS = DOCUMENT["paths"].keys() - {"/v1/models", "/v1/models/{model}"}
BODIES = [path for path, item in DOCUMENT["paths"].items() if "requestBody" in item.get("post", {})]
LIMITS = {
    CHAT: "max_tokens",
    COMPLETIONS: "max_tokens",
    INFERENCE: "maxTokens",
    GENERATE: "max_new_tokens",
    RESPONSES: "max_output_tokens",
}
MODULES = (replies, response_replies, generate_replies, task_replies, cluster_replies, pool_replies)
"""Where the types are whose schemas the document has."""
EXAMPLES = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def model(server: Server) -> str:
    return server.service.runtime.model.name


def responses(path: str, method: str = "post") -> dict[str, Any]:
    told: dict[str, Any] = DOCUMENT["paths"][path][method]["responses"]
    return told


def check(content: bytes, schema: dict[str, Any]) -> None:
    """Raise unless JSON is of the type whose schema this is."""
    name = schema["$ref"].rsplit("/", 1)[1]
    (kind,) = {getattr(module, name) for module in MODULES if hasattr(module, name)}
    msgspec.json.decode(content, type=kind)


def check_reply(path: str, reply: Reply, method: str = "post") -> None:
    """Raise unless the document tells of such a response."""
    response = responses(path, method)[str(reply.status)]
    assert {name.lower() for name in response["headers"]} <= reply.headers.keys()
    content = response["content"]
    kind = reply.headers["content-type"].split(";")[0]
    schema = content[kind]["schema"]
    if kind != "text/event-stream":
        check(reply.content, schema)
        return
    told = reply.content.removesuffix(b"\n\n").split(b"\n\n")
    assert (told[-1] == b"data: [DONE]") is (path != RESPONSES)
    for event in told:
        if event != b"data: [DONE]":
            check(event.partition(b"data: ")[2], schema)


async def ask(server: Server, path: str, body: Any, *, model: str | None) -> Reply:
    """The answer to a body, with a model, if one is named, where the path has it or the body."""
    field = {INFERENCE: "baseModel", TASKS: "model_id"}.get(path, "model")
    chosen = {} if model is None or "{model}" in path else {field: model}
    if path == TASKS and isinstance(body, dict):
        parameters = body.get("parameters")
        chosen["parameters"] = cheap({} if parameters is None else parameters, {}, limit="max_tokens")
    asked = cheap(body, chosen, limit=LIMITS.get(path))
    return await post(server, path.replace("{model}", model or "nobody"), json.dumps(asked).encode())


async def check_task(server: Server, task_id: str) -> None:
    """Raise unless the document tells of how a task is shown and canceled."""
    check_reply(SHOWN, await show(server, task_id), "get")
    check_reply(f"{SHOWN}/cancel", await cancel(server, task_id))
    check_reply(SHOWN, await show(server, task_id), "get")


def requests(path: str) -> st.SearchStrategy[Any]:
    """Bodies that fit the schema of a path."""
    schema = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return fitting(schema, COMPONENTS)


async def test_the_document_is_sent_and_each_of_its_references_leads_somewhere(server: Server) -> None:
    reply = await post(server, "/openapi.json", b"", method="GET")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body == DOCUMENT
    places = {word for word in json.dumps(DOCUMENT).split('"') if word.startswith("#/components")}
    assert places == {
        f"#/components/{kind}/{name}" for kind in ("schemas", "headers") for name in DOCUMENT["components"][kind]
    }


@pytest.mark.parametrize("path", [path for path in BODIES if path != "/v1/pools"])
async def test_what_launches_programs_tells_of_limits(path: str) -> None:
    response = responses(path)["429"]
    assert "rate_limit_exceeded" in response["description"]
    assert "Retry-After" in response["headers"]


@pytest.mark.parametrize("path", BODIES)
@EXAMPLES
@given(st.data())
async def test_requests_that_fit_the_schema_get_documented_answers(
    server: Server, path: str, data: st.DataObject
) -> None:
    reply = await ask(server, path, data.draw(requests(path)), model=server.service.runtime.model.name)
    assert reply.status < 500, reply.content
    check_reply(path, reply)
    if path == TASKS and reply.status == 200:
        await check_task(server, reply.body["task_id"])


@pytest.mark.parametrize("path", BODIES)
@EXAMPLES
@given(st.data())
async def test_requests_that_almost_fit_get_documented_answers(server: Server, path: str, data: st.DataObject) -> None:
    model = server.service.runtime.model.name if data.draw(st.booleans()) else None
    reply = await ask(server, path, data.draw(requests(path).flatmap(mutated)), model=model)
    assert reply.status < 500, reply.content
    check_reply(path, reply)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 2},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": "required", "stream": True},
    ],
)
async def test_answers_of_each_shape_fit(server: Server, model: str, fields: dict[str, Any]) -> None:
    reply = await post(server, CHAT, chat_body(model, **fields))
    assert reply.status == 200
    check_reply(CHAT, reply)
    if "tools" not in fields:
        reply = await post(server, COMPLETIONS, {"model": model, "prompt": "Oslo", **fields})
        assert reply.status == 200
        check_reply(COMPLETIONS, reply)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_generation_fits(server: Server, model: str, stream: bool) -> None:
    body = {"prompt": "Oslo", "max_new_tokens": 3, "temperature": 0, "stream": stream}
    reply = await post(server, f"/v1/generate/{model}", body)
    assert reply.status == 200
    assert b'"tpot_ms":' in reply.content
    check_reply(GENERATE, reply)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_of_a_form_fits(server: Server, stream: bool) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": stream, "structuredOutputs": {"choice": ["a"]}}
    reply = await post(server, INFERENCE, body)
    assert reply.status == 200
    check_reply(INFERENCE, reply)


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_fit(server: Server, model: str, stream: bool) -> None:
    for path, fields in (
        (CHAT, {**chat_body(model, max_tokens=3), "logprobs": True, "top_logprobs": 2}),
        (COMPLETIONS, {"model": model, "prompt": "Oslo", "max_tokens": 3, "logprobs": 2}),
    ):
        reply = await post(server, path, {**fields, "stream": stream})
        assert reply.status == 200
        assert b'"top_logprobs":[{' in reply.content
        check_reply(path, reply)


async def test_tasks_and_their_streams_fit_however_they_end(server: Server) -> None:
    whole = await send(server, max_tokens=3)
    failed = await send(server, "word " * 9000)
    for task_id in (whole, failed):
        told, _ = await stream(server, task_id)
        for event in told:
            check(json.dumps(event).encode(), responses(f"{SHOWN}/stream", "get")["101"]["content"][JSON]["schema"])
        await check_task(server, task_id)
    assert (await show(server, failed)).body["error"]["code"] == "prompt_too_long"
    canceled = await send_long(server)
    await check_task(server, canceled)
    assert (await ended(server, canceled))["status"] == "CANCELED"
    assert (await stream(server, canceled))[0][-1] == {"type": "CANCELED"}
    await check_task(server, canceled)
    check_reply(SHOWN, await show(server, "nothing"), "get")
    check_reply(f"{SHOWN}/cancel", await cancel(server, "nothing"))


async def test_models_answer_as_described(server: Server, model: str) -> None:
    check_reply("/v1/models", await post(server, "/v1/models", b"", method="GET"), "get")
    for name in (model, "nobody"):
        check_reply("/v1/models/{model}", await post(server, f"/v1/models/{name}", b"", method="GET"), "get")


async def test_a_method_that_is_not_answered_is_told_as_described(server: Server, model: str) -> None:
    for path, item in DOCUMENT["paths"].items():
        if any("101" in operation["responses"] for operation in item.values()):  # a WebSocket
            continue
        place = path.replace("{model}", model).replace("{task_id}", "nothing").replace("{name}", "nothing")
        methods = {method.upper() for method in item}
        for wrong in {"PUT", "DELETE", "GET", "POST"} - methods:
            reply = await post(server, place, b"", method=wrong)
            assert reply.error == (405, "method_not_allowed", None)
            assert methods <= set(reply.headers["allow"].split(", "))
            check_reply(path, reply, next(iter(item)))
    for path in ("/docs", "/openapi.json"):
        reply = await post(server, path, b"")
        assert reply.error == (405, "method_not_allowed", None)
        assert reply.headers["allow"] == "GET, HEAD"


async def test_it_is_open_where_tokens_are_needed_and_has_the_routes_of_the_operator(
    runtime: Runtime, tmp_path: Path
) -> None:
    routes = (
        Route("/poems/chat", "poems", "chat-completions"),
        Route("/v1/models", "own-models"),
        Route("/v1/completions", "texts", "completions"),
    )
    with listen(ServerSettings(port=0, routes=routes, grace_s=0)) as listening:
        async with serve(runtime, ServerSettings(routes=routes, grace_s=0), listening, home=tmp_path) as closed:
            reply = await post(closed, "/openapi.json", b"", method="GET")
            page = await post(closed, "/docs", b"", method="GET")
            refused = await post(closed, "/poems/chat", b"{}")
            changed = await post(closed, "/docs", b"")
    assert (reply.status, page.status, refused.status, changed.status) == (200, 200, 401, 405)
    assert reply.body["paths"].keys() == PATHS_WITHOUT_MODELS | {"/poems/chat"}
    assert reply.body["paths"]["/v1/completions"]["post"]["summary"].endswith("texts")


async def test_the_page_shows_every_path_and_type_and_needs_no_other_site(server: Server) -> None:
    page = await post(server, "/docs", b"", method="GET")
    text = page.content.decode()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'self'; style-src 'sha256-")
    assert all(f" {path}</code>" in text for path in DOCUMENT["paths"])
    assert all(f'<h3 id="{name}">' in text for name in COMPONENTS)
    assert "http:" not in text
    assert "https:" not in text
    assert "<script" not in text


async def test_a_browser_at_the_root_is_led_to_the_page(server: Server) -> None:
    reply = await post(server, "/", b"", method="GET")
    assert (reply.status, reply.headers["location"]) == (307, "/docs")


async def test_health_answers_as_described(server: Server) -> None:
    check_reply("/health", await post(server, "/health", b"", method="GET"), "get")
