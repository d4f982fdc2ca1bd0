"""Where pools are made, shown and deleted: `/v1/pools`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route

from pie.server.cluster.machine import BUNDLE, PROFILE
from pie.server.endpoint import Endpoint, small_bodies
from pie.server.pools.pools import Pool
from pie.server.pools.replies import (
    AssignedWorker,
    MessageReply,
    PoolList,
    PoolReply,
    PoolRequest,
    PoolSpec,
    PoolStatus,
)
from pie.server.service import Service
from pie.server.surfaces.models import check_configured
from pie.server.surfaces.openapi import Operation
from pie.server.surfaces.reading import read
from pie.server.surfaces.refusal import OF_POOLS
from pie.server.users import Holder

__all__ = ["POOL_OPERATIONS", "pool_routes"]

ONE = "/v1/pools/{name}"
OF_ONE = (401, 404, 405, 500)
POOL_OPERATIONS = (
    Operation("get", "/v1/pools", "The pools that a user can name", PoolList, (401, 405, 500)),
    Operation(
        "post",
        "/v1/pools",
        "Make a pool, or change it",
        PoolReply,
        (400, 401, 404, 405, 408, 409, 413, 500, 503),
        request=PoolRequest,
        status=201,
        note="The pool.",
        codes=OF_POOLS - {"pool-not-found", "model-not-in-pool"},
    ),
    Operation("get", ONE, "One pool", PoolReply, OF_ONE, codes=frozenset({"pool-not-found"})),
    Operation("delete", ONE, "Forget a pool", MessageReply, (*OF_ONE, 409), codes=OF_POOLS - {"too-many-pools"}),
    Operation(
        "post",
        f"{ONE}/renew",
        "Tell that a pool is in use",
        MessageReply,
        (*OF_ONE, 409),
        codes=OF_POOLS - {"too-many-pools"},
    ),
)


def pool_routes(service: Service) -> list[Route]:
    """All paths of pools."""
    pools, reader = service.pools, small_bodies()

    async def put(request: Request, holder: Holder) -> dict[str, Any]:
        asked = read(await reader.read(request.scope, request.receive), PoolRequest)
        for model in asked.models or []:
            check_configured(model, service.runtime.models, param="models")
        pool = Pool(asked.name, asked.gpus or {}, asked.gpu_caps or {}, tuple(asked.models or []))
        return _told(pools.put(pool, owner=holder.user), service)

    async def listed(_request: Request, holder: Holder) -> dict[str, Any]:
        return {"pools": [_told(pool, service) for pool in pools.all(owner=holder.user)]}

    async def show(request: Request, holder: Holder) -> dict[str, Any]:
        return _told(pools.find(request.path_params["name"], owner=holder.user), service)

    async def delete(request: Request, holder: Holder) -> dict[str, Any]:
        pools.delete(request.path_params["name"], owner=holder.user)
        return {"message": "Pool deleted"}

    async def renew(request: Request, holder: Holder) -> dict[str, Any]:
        pools.renew(request.path_params["name"], owner=holder.user)
        return {"message": "Pool renewed"}

    return [
        Route("/v1/pools", Endpoint(service, {"POST": put, "GET": listed}, created="POST")),
        Route(ONE, Endpoint(service, {"GET": show, "DELETE": delete})),
        Route(f"{ONE}/renew", Endpoint(service, {"POST": renew})),
    ]


def _told(pool: Pool, service: Service) -> dict[str, Any]:
    ready = service.runtime.models
    is_active = any(model in ready for model in pool.models or ready)
    reply = PoolReply(
        pool.name,
        PoolSpec(pool.name, dict(pool.gpus), dict(pool.gpu_caps), list(pool.models)),
        PoolStatus(
            "active" if is_active else "pending",
            [AssignedWorker(service.server_id, service.url, PROFILE, BUNDLE)],
            pool.created_at,
            pool.last_renewed,
        ),
    )
    told: dict[str, Any] = msgspec.to_builtins(reply)
    return told
