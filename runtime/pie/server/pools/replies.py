"""What is sent and answered about pools, as types."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pie.server.surfaces.reading import Word

__all__ = ["MessageReply", "PoolList", "PoolReply", "PoolRequest"]

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Counts = Annotated[dict[Word, Annotated[int, Meta(ge=0, le=1024)]], Meta(max_length=16)]


class PoolRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pool that is to be made or changed.

    Attributes:
        name: by which requests name it, in any case.
        gpus: how many workers of each machine profile it needs.
        gpu_caps: how many it may have at most.
        models: those that its requests may ask for; all unless given.
    """

    name: Name
    gpus: Counts | None = None
    gpu_caps: Counts | None = None
    models: Annotated[list[Word], Meta(max_length=64)] | None = None


class PoolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was asked for."""

    name: str
    gpus: dict[str, int]
    gpu_caps: dict[str, int]
    models: list[str]


class AssignedWorker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worker of the pool: this server."""

    name: str
    url: str
    gpu: str
    bundle: str


class PoolStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it is: `active` when one of its models is ready; times in seconds since 1970."""

    state: Literal["pending", "active"]
    assigned_workers: list[AssignedWorker]
    created_at: float
    last_renewed: float


class PoolReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pool."""

    name: str
    spec: PoolSpec
    status: PoolStatus


class PoolList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All pools that the user can name."""

    pools: list[PoolReply]


class MessageReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It is done."""

    message: str
