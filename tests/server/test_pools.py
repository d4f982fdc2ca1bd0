"""Pools: how they are made, shown and deleted, and which requests they let through."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpcore2
import pytest
import pytest_asyncio
from tests.server.surfaces.client import CHAT, Reply, address, chat_body, post
from tests.server.surfaces.test_openapi import check_reply
from tests.server.test_loading import Loading, loading  # noqa: F401 - a fixture

from pie.runtime import Runtime
from pie.server.pools.pools import MAX_POOLS
from pie.server.server import Server, listen, serve
from pie.server.settings import ServerSettings
from pie.server.users import token_hash

pytestmark = pytest.mark.asyncio(loop_scope="session")

POOLS = "/v1/pools"
ONE = f"{POOLS}/{{name}}"


@pytest_asyncio.fixture(loop_scope="session")
async def server(server: Server) -> AsyncIterator[Server]:
    """The shared server, which has no pools of the test before."""
    yield server
    for pool in server.service.pools.all(owner="local")[1:]:
        server.service.pools.delete(pool.name, owner="local")


async def call(
    server: Server, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Reply:
    content = b"" if body is None else json.dumps(body).encode()
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    async with httpcore2.AsyncConnectionPool() as pool:
        response = await pool.request(method, address(server, path), content=content, headers=fields)
    return Reply(response.status, {n.decode(): v.decode() for n, v in response.headers}, response.content)


async def make(server: Server, **fields: Any) -> Reply:
    reply = await call(server, "POST", POOLS, fields)
    check_reply(POOLS, reply)
    return reply


async def names(server: Server) -> list[str]:
    reply = await call(server, "GET", POOLS)
    check_reply(POOLS, reply, "get")
    return [pool["name"] for pool in reply.body["pools"]]


async def test_a_pool_is_made_shown_changed_renewed_and_deleted(server: Server) -> None:
    begun_s = time.time()
    made = await make(server, name="Eval-Bench", gpus={"CPU": 1})
    assert made.status == 201
    assert made.body["name"] == "eval-bench"
    assert made.body["spec"] == {"name": "eval-bench", "gpus": {"cpu": 1}, "gpu_caps": {}, "models": []}
    status = made.body["status"]
    worker = {"name": server.service.server_id, "url": server.url, "gpu": "cpu", "bundle": "default"}
    assert (status["state"], status["assigned_workers"]) == ("active", [worker])
    assert begun_s <= status["created_at"] == status["last_renewed"] <= time.time()
    shown = await call(server, "GET", f"{POOLS}/EVAL-bench")
    check_reply(ONE, shown, "get")
    assert shown.body == made.body
    changed = await make(server, name="eval-bench", gpu_caps={"cpu": 1}, models=["embedded_model"])
    assert changed.body["spec"] == {
        "name": "eval-bench",
        "gpus": {},
        "gpu_caps": {"cpu": 1},
        "models": ["embedded_model"],
    }
    assert changed.body["status"]["created_at"] == status["created_at"] < changed.body["status"]["last_renewed"]
    renewed = await call(server, "POST", f"{POOLS}/eval-bench/renew")
    check_reply(f"{ONE}/renew", renewed)
    again = (await call(server, "GET", f"{POOLS}/eval-bench")).body["status"]
    assert again["last_renewed"] > changed.body["status"]["last_renewed"]
    assert await names(server) == ["default", "eval-bench"]
    deleted = await call(server, "DELETE", f"{POOLS}/eval-bench")
    check_reply(ONE, deleted, "delete")
    assert await names(server) == ["default"]
    for method, path in (("GET", ONE), ("DELETE", ONE), ("POST", f"{ONE}/renew")):
        gone = await call(server, method, path.replace("{name}", "eval-bench"))
        check_reply(path, gone, method.lower())
        assert gone.error == (404, "pool_not_found", None)


REFUSED: list[tuple[dict[str, Any], tuple[int, str, str | None]]] = [
    ({"gpus": {"cpu": 1}}, (400, "bad_value", "name")),
    ({"name": "a b"}, (400, "bad_value", "name")),
    ({"name": "a", "gpus": {"cpu": -1}}, (400, "bad_value", "gpus[...]")),
    ({"name": "a", "ttl_seconds": 3}, (400, "unsupported_field", "ttl_seconds")),
    ({"name": "a", "gpus": {"l4": 1}}, (400, "unknown_machine_profile", None)),
    ({"name": "a", "gpu_caps": {"l4": 1}}, (400, "unknown_machine_profile", None)),
    ({"name": "a", "gpus": {"cpu": 2}}, (400, "unknown_machine_profile", None)),
    ({"name": "a", "gpus": {"cpu": 1}, "gpu_caps": {"CPU": 0}}, (400, "unknown_machine_profile", None)),
    ({"name": "a", "models": ["nobody"]}, (404, "model_not_found", "models")),
    ({"name": "Default"}, (409, "default_pool", None)),
]


@pytest.mark.parametrize(("fields", "error"), REFUSED)
async def test_a_pool_that_cannot_be_is_refused(
    server: Server, fields: dict[str, Any], error: tuple[int, str, str | None]
) -> None:
    assert (await make(server, **fields)).error == error
    assert await names(server) == ["default"]


async def test_the_pool_of_everybody_stays_as_it_is(server: Server) -> None:
    for method, path in (("DELETE", f"{POOLS}/default"), ("POST", f"{POOLS}/default/renew")):
        assert (await call(server, method, path)).error == (409, "default_pool", None)
    assert (await call(server, "PUT", f"{POOLS}/default")).error == (405, "method_not_allowed", None)
    assert (await call(server, "GET", f"{POOLS}/default")).body["spec"]["models"] == []


async def test_a_user_has_so_many_pools(server: Server) -> None:
    for number in range(MAX_POOLS):
        assert (await make(server, name=f"p{number}")).status == 201
    assert (await make(server, name="more")).error == (409, "too_many_pools", None)
    assert (await make(server, name="p0", models=["embedded_model"])).status == 201


ROUTED = {
    "X-SIE-POOL eval": ({"x-sie-pool": "Eval"}, None),
    "X-SIE-POOL eval and the profile": ({"x-sie-pool": "eval", "x-sie-machine-profile": "CPU"}, None),
    "pool and profile in one": ({"x-sie-machine-profile": "eval/cpu"}, None),
    "the profile alone": ({"x-sie-machine-profile": "cpu"}, None),
    "the default pool": ({"x-sie-pool": "default"}, None),
    "nothing in them": ({"x-sie-pool": "", "x-sie-machine-profile": ""}, None),
    "an unknown pool": ({"x-sie-pool": "other"}, (404, "pool_not_found", None)),
    "an unknown pool in one": ({"x-sie-machine-profile": "other/cpu"}, (404, "pool_not_found", None)),
    "an unknown profile": ({"x-sie-machine-profile": "l4"}, (400, "unknown_machine_profile", None)),
    "an unknown profile of a pool": ({"x-sie-machine-profile": "eval/l4"}, (400, "unknown_machine_profile", None)),
}


@pytest.mark.parametrize("case", ROUTED)
async def test_requests_name_pools_and_profiles(server: Server, case: str) -> None:
    headers, error = ROUTED[case]
    assert (await make(server, name="eval", models=["embedded_model"])).status == 201
    for path, body in (
        (CHAT, chat_body("embedded_model", max_tokens=2)),
        ("/v1/generate/embedded_model", {"prompt": "a", "max_new_tokens": 2}),
    ):
        reply = await call(server, "POST", path, body, headers)
        check_reply(path.replace("/embedded_model", "/{model}"), reply)
        assert reply.status == 200 if error is None else reply.error == error


async def test_a_pool_is_for_its_models(loading: Loading) -> None:  # noqa: F811
    server = loading.server
    made = await make(server, name="small-ones", models=["small"])
    assert made.body["status"]["state"] == "pending"
    headers = {"x-sie-pool": "small-ones"}
    refused = await call(server, "POST", CHAT, chat_body("embedded_model"), headers)
    assert refused.error == (400, "model_not_in_pool", "model")
    assert (await call(server, "POST", CHAT, chat_body("small"), headers)).error[:2] == (503, "MODEL_LOADING")
    await loading.release()
    assert (await call(server, "GET", f"{POOLS}/small-ones")).body["status"]["state"] == "active"
    assert (await call(server, "POST", CHAT, chat_body("small"), headers)).status == 200


async def test_a_pool_is_its_users_own(runtime: Runtime, tmp_path: Path) -> None:
    lines = [f'[users.{name}.tokens]\nt = "{token_hash(name)}"\n' for name in ("alice", "bob")]
    users = tmp_path / "users.toml"
    users.write_text("".join(lines))
    users.chmod(0o600)
    settings = ServerSettings(port=0, users_file=users, grace_s=0)
    with listen(settings) as listening:
        async with serve(runtime, settings, listening, home=tmp_path) as server:
            alice, bob = ({"authorization": f"Bearer {name}"} for name in ("alice", "bob"))
            assert (await call(server, "POST", POOLS, {"name": "hers"})).status == 401
            assert (await call(server, "POST", POOLS, {"name": "hers"}, alice)).status == 201
            for method in ("GET", "DELETE"):
                assert (await call(server, method, f"{POOLS}/hers", None, bob)).status == 404
            body = chat_body("embedded_model", max_tokens=2)
            assert (await call(server, "POST", CHAT, body, {**bob, "x-sie-pool": "hers"})).status == 404
            assert (await call(server, "POST", CHAT, body, {**alice, "x-sie-pool": "hers"})).status == 200


async def test_bodies_of_pools_are_bounded(server: Server) -> None:
    assert (await post(server, POOLS, b"{" + b" " * (1 << 20))).error == (413, "body_too_large", None)
