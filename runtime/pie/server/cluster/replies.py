"""How the machine is told; as clients of SIE know it."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["ClusterStatus", "ClusterSummary", "HealthReply", "ModelSummary", "State", "Worker"]

State = Literal["loading", "loaded", "failed"]


class ClusterSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All workers together; `total_qps` are the programs launched in each second, lately."""

    worker_count: int
    gpu_count: int
    models_loaded: int
    total_qps: float


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """This server.

    Attributes:
        name: its id until it stops, as in `X-SIE-Worker`.
        url: its address.
        gpu: the kind of its one device.
        gpu_count: always 1.
        ready_gpu_slots: 1 if it takes new work and does it.
        healthy: the same.
        queue_depth: passes and generations that wait, of all models.
        inflight_batches: models that have something to do.
        loaded_models: those that are ready.
        memory_used_bytes: of the KV pages that contexts hold.
        memory_total_bytes: of all KV pages.
        bundle: always the same.
    """

    name: str
    url: str
    gpu: str
    gpu_count: int
    ready_gpu_slots: int
    healthy: bool
    queue_depth: int
    inflight_batches: int
    loaded_models: list[str]
    memory_used_bytes: int
    memory_total_bytes: int
    bundle: str


class ModelSummary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model; `worker_count` is 1 where it is ready."""

    name: str
    state: State
    worker_count: int
    gpu_types: list[str]
    total_queue_depth: int


class ClusterStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of the stream; `timestamp` is in seconds since 1970."""

    timestamp: float
    cluster: ClusterSummary
    workers: list[Worker]
    models: list[ModelSummary]


class HealthReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same, when it is asked for once."""

    status: Literal["healthy", "degraded"]
    type: Literal["gateway"]
    cluster: ClusterSummary
    configured_gpu_types: list[str]
    live_gpu_types: list[str]
    workers: list[Worker]
    models: list[ModelSummary]
