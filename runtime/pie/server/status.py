"""Figures of a model for clients that ask."""

from __future__ import annotations

from typing import Any

from pie.host.served_model import ServedModel

__all__ = ["model_status"]


def model_status(model: ServedModel) -> dict[str, Any]:
    """Figures by name, `<model>.<figure>`. Totals are since the server started."""
    ledger, stats = model.scheduler.ledger(), model.scheduler.stats()
    largest = max(stats.batch_sizes, default=0)
    figures: dict[str, Any] = {
        "kv_pages_total": ledger.total,
        "kv_pages_used": ledger.held,
        "kv_pages_cached": ledger.cached,
        "host_pages_total": ledger.host_total,
        "host_pages_used": ledger.stashed,
        "host_pages_cached": ledger.host_cached,
        "total_batches": stats.batches,
        "total_steps": stats.steps,
        "total_tokens_processed": stats.computed_tokens,
        "total_tokens_reused": stats.reused_tokens,
        "total_tokens_from_host": stats.fetched_tokens,
        "batch_size_hist": [stats.batch_sizes[size] for size in range(1, largest + 1)],
        "decode_step_latency_us": None if stats.step_s is None else round(stats.step_s * 1e6),
    }
    return {f"{model.name}.{name}": value for name, value in figures.items()}
