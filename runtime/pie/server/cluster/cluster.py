"""What the machine is doing, taken when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from pie.server.cluster.machine import BUNDLE, PROFILE
from pie.server.cluster.replies import ClusterStatus, ClusterSummary, HealthReply, ModelSummary, State, Worker
from pie.server.service import Service

__all__ = ["Cluster"]

RATE_S = 1.0
"""Over how long launches are counted, at least."""

STATES: dict[str, State] = {"loading": "loading", "ready": "loaded", "failed": "failed"}


class Cluster:
    """One server as a cluster."""

    def __init__(self, service: Service, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell of `service`; `clock` gives seconds, which only go up."""
        self.service = service
        self._clock = clock
        self._mark = (clock(), service.runtime.num_launched)
        self._rate = 0.0

    def status(self) -> ClusterStatus:
        """All of it."""
        return ClusterStatus(round(time.time(), 3), self._summary(), [self._worker()], self._models())

    def health(self) -> HealthReply:
        """All of it, with what there may be and what there is."""
        status = self.status()
        return HealthReply(
            status="healthy" if self.service.is_ready else "degraded",
            type="gateway",
            cluster=status.cluster,
            configured_gpu_types=[PROFILE],
            live_gpu_types=[PROFILE],
            workers=status.workers,
            models=status.models,
        )

    def _summary(self) -> ClusterSummary:
        return ClusterSummary(1, 1, len(self.service.runtime.models), round(self._launches_per_s(), 3))

    def _worker(self) -> Worker:
        service = self.service
        models = list(service.runtime.models.values())
        loads = [model.scheduler.load() for model in models]
        pages = [(model.scheduler.ledger(), model.page_bytes) for model in models]
        return Worker(
            name=service.server_id,
            url=service.url,
            gpu=PROFILE,
            gpu_count=1,
            ready_gpu_slots=int(service.is_ready),
            healthy=service.is_ready,
            queue_depth=sum(load.waiting for load in loads),
            inflight_batches=sum(load.running + load.waiting > 0 for load in loads),
            loaded_models=list(service.runtime.models),
            memory_used_bytes=sum(ledger.held * page_bytes for ledger, page_bytes in pages),
            memory_total_bytes=sum(ledger.total * page_bytes for ledger, page_bytes in pages),
            bundle=BUNDLE,
        )

    def _models(self) -> list[ModelSummary]:
        models = self.service.runtime.models
        return [
            ModelSummary(
                name=name,
                state=STATES[models.state(name)],
                worker_count=int(name in models),
                gpu_types=[PROFILE] if name in models else [],
                total_queue_depth=models[name].scheduler.load().waiting if name in models else 0,
            )
            for name in models.names
        ]

    def _launches_per_s(self) -> float:
        """Launches in each second of the last while, which is never shorter than `RATE_S`."""
        now_s, launched = self._clock(), self.service.runtime.num_launched
        since_s, before = self._mark
        if now_s - since_s >= RATE_S:
            self._rate = (launched - before) / (now_s - since_s)
            self._mark = now_s, launched
        return self._rate
