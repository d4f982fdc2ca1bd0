"""What Prometheus reads at `/metrics`: figures of the models, processes and connections, taken when they are asked for.

Names begin with `pie_` and carry their unit. Those that vLLM has too can be had under its names as well, so that
dashboards and autoscalers made for it work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pie import __version__
from pie.host.served_model import ServedModel
from pie.scheduler.timings import Histogram
from pie.server.service import Service

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_VLLM_NAMES = {
    "pie_generations_running": "vllm:num_requests_running",
    "pie_requests_waiting": "vllm:num_requests_waiting",
    "pie_kv_cache_usage_ratio": "vllm:kv_cache_usage_perc",
    "pie_prefix_cache_queried_tokens": "vllm:prefix_cache_queries",
    "pie_prefix_cache_hit_tokens": "vllm:prefix_cache_hits",
    "pie_prompt_tokens": "vllm:prompt_tokens",
    "pie_generation_tokens": "vllm:generation_tokens",
    "pie_suspensions": "vllm:num_preemptions",
    "pie_time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
    "pie_inter_token_latency_seconds": "vllm:inter_token_latency_seconds",
    "pie_generation_duration_seconds": "vllm:e2e_request_latency_seconds",
    "pie_generations": "vllm:request_success",
}
_VLLM_LABELS = {"model": "model_name", "reason": "finished_reason"}


class Metrics:
    """The page that Prometheus reads."""

    def __init__(self, service: Service, *, vllm_names: bool) -> None:
        """Tell of `service`, and of this process."""
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(service, vllm_names=vllm_names))
        ProcessCollector(registry=self._registry)

    def page(self) -> bytes:
        """The figures now, in the text format."""
        return generate_latest(self._registry)


class _Figures(Collector):
    def __init__(self, service: Service, *, vllm_names: bool) -> None:
        self._service = service
        self._vllm_names = vllm_names

    def collect(self) -> Iterator[Metric]:
        for family in self._families():
            yield family
            if self._vllm_names and family.name in _VLLM_NAMES:
                yield _renamed(family)

    def _families(self) -> Iterator[Metric]:
        yield InfoMetricFamily("pie_build", "The version that runs.", {"version": __version__})
        yield from self._server()
        for model in self._service.runtime.models.values():
            yield from _model(model)

    def _server(self) -> Iterator[Metric]:
        service = self._service
        yield _gauge("pie_ready", "Whether new work is taken.", {(): float(service.is_ready)})
        yield _gauge("pie_sessions", "Clients that are connected.", {(): service.num_sessions})
        yield _gauge("pie_daemons", "Ports at which programs answer.", {(): len(service.daemons)})
        requests = {(): service.processes.num_answering}
        yield _gauge("pie_processes_answering", "Processes that answer HTTP requests.", requests)
        yield _gauge("pie_processes_running", "Processes that have not ended.", {(): service.runtime.num_processes})
        yield _counter("pie_processes_started", "Processes launched.", {(): service.runtime.num_launched})


def _model(model: ServedModel) -> Iterator[Metric]:
    name = model.name
    yield from _load(name, model)
    yield from _work(name, model)
    yield from _times(name, model)


def _load(name: str, model: ServedModel) -> Iterator[Metric]:
    load, ledger = model.scheduler.load(), model.scheduler.ledger()
    labels = ("model",)
    running, waiting = {(name,): load.running}, {(name,): load.waiting}
    yield _gauge("pie_generations_running", "Generations in the batch.", running, labels)
    yield _gauge("pie_requests_waiting", "Passes and generations that wait.", waiting, labels)
    usage = {(name,): ledger.held / max(1, ledger.total)}
    yield _gauge("pie_kv_cache_usage_ratio", "Share of the KV pages that contexts hold, from 0 to 1.", usage, labels)
    states = {"held": ledger.held, "cached": ledger.cached, "free": ledger.free}
    states |= {"host": ledger.stashed, "host_cached": ledger.host_cached, "host_free": ledger.host_free}
    pages = {(name, state): value for state, value in states.items()}
    yield _gauge("pie_kv_pages", "KV pages by where they are.", pages, ("model", "state"))


def _work(name: str, model: ServedModel) -> Iterator[Metric]:
    stats = model.scheduler.stats()
    timings = stats.timings
    totals = {
        "pie_steps": (stats.steps, "Steps of the model."),
        "pie_computed_tokens": (stats.computed_tokens, "Tokens whose keys and values were computed."),
        "pie_prefix_cache_queried_tokens": (
            stats.computed_tokens + stats.reused_tokens,
            "Tokens that were looked for among those computed before.",
        ),
        "pie_prefix_cache_hit_tokens": (stats.reused_tokens, "Tokens that were found there."),
        "pie_prefix_cache_host_tokens": (stats.fetched_tokens, "Of these, tokens that came back from host memory."),
        "pie_prompt_tokens": (timings.prompt_tokens, "Tokens that generations were given."),
        "pie_generation_tokens": (timings.generated_tokens, "Tokens that generations drew."),
        "pie_speculation_proposed_tokens": (stats.proposed_tokens, "Guesses that were checked."),
        "pie_speculation_accepted_tokens": (stats.accepted_tokens, "Guesses that were right."),
        "pie_suspensions": (stats.suspensions, "Contexts that left the device for others."),
    }
    for metric, (value, meaning) in totals.items():
        yield _counter(metric, meaning, {(name,): value}, ("model",))
    ended = {(name, reason): count for reason, count in timings.finished.items()}
    yield _counter("pie_generations", "Generations that ended, by why.", ended, ("model", "reason"))


def _times(name: str, model: ServedModel) -> Iterator[Metric]:
    timings = model.scheduler.stats().timings
    yield _histogram(
        "pie_time_to_first_token_seconds", "From the request of a generation to its first token.", name, timings.first_s
    )
    yield _histogram("pie_inter_token_latency_seconds", "Between two tokens of a generation.", name, timings.between_s)
    yield _histogram(
        "pie_generation_duration_seconds", "From the request of a generation to its end.", name, timings.whole_s
    )


def _gauge(name: str, meaning: str, values: Mapping[Any, float], labels: Sequence[str] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, meaning: str, values: Mapping[Any, float], labels: Sequence[str] = ()) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, meaning: str, model: str, histogram: Histogram) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, meaning, labels=("model",))
    so_far, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    family.add_metric((model,), buckets, histogram.total)
    return family


def _renamed(family: Metric) -> Metric:
    """The same figures as vLLM calls them."""
    renamed = Metric(_VLLM_NAMES[family.name], family.documentation, family.type)
    for sample in family.samples:
        suffix = sample.name.removeprefix(family.name)
        labels = {_VLLM_LABELS.get(label, label): value for label, value in sample.labels.items()}
        renamed.add_sample(renamed.name + suffix, labels, sample.value)
    return renamed
