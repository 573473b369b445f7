"""Figures for Prometheus: those of requests as they are answered, the rest when they are asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perstack.domain.agents import AgentStatus
from perstack.domain.memory import Caller
from perstack.ports.tasks import TaskFilter
from perstack.services.resource_figures import Distribution
from perstack.serving.backend import Served

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNMATCHED: Final = "(none)"
_GONE: Final = 499
"""Nothing was answered: the client had gone."""
_STREAM: Final = "/events"
_API: Final = "/api/v1"
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HELP: Final = {
    "resource_exhaustion_warnings_total": "Times that an agent came near one of its limits",
    "resource_exhaustion_interventions_total": "Times that an agent reached one of its limits",
    "resource_exhaustion_terminations_total": "Agents that were ended over their limits",
    "agents_paused_current": "Agents that are paused over their limits",
    "agent_files_accessed": "Files that the latest active agents touched",
    "agent_api_calls": "Model calls of the latest active agents",
    "agent_tokens_consumed": "Tokens of the latest active agents",
}


class HttpMetrics:
    """What is counted as requests are answered, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "http_requests",
            "Requests answered",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time to the end of an answer; event streams are left out",
            ("method", "path"),
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._streams = Gauge(
            "event_stream_clients", "Clients that follow /events", registry=self.registry
        )
        self._sockets = Gauge("websocket_clients", "Clients of /ws", registry=self.registry)

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request."""
        method = str(scope["method"])
        shown = method if method in _KNOWN_METHODS else "OTHER"
        path = _template(scope)
        self._requests.labels(shown, path, str(status)).inc()
        if path != _STREAM:
            self._seconds.labels(shown, path).observe(seconds)

    def gauge_of(self, scope: Scope) -> Gauge | None:
        """Return what counts those that stay."""
        if scope["type"] == "websocket":
            return self._sockets
        return self._streams if scope["path"] == _STREAM else None


class Measured:
    """Counts what the application answers."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and count."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        status, began = _GONE, time.perf_counter()
        gauge = self._metrics.gauge_of(scope)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if gauge is not None:
            gauge.inc()
        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = 500 if status == _GONE else status
            raise
        finally:
            if gauge is not None:
                gauge.dec()
            if scope["type"] == "http":
                self._metrics.answered(scope, status, time.perf_counter() - began)


async def exposition(served: Served, at_work: int, metrics: HttpMetrics) -> bytes:
    """Return all figures as Prometheus reads them. `at_work` is how many jobs run in the server.

    Raises:
        StorageError: the tables cannot be read.
    """
    found = _Found([*await _of_workspace(served), *await _of_resources(served)])
    found.families.append(_gauge("jobs_at_work", "Jobs that this server drives", at_work))
    registry = CollectorRegistry()
    registry.register(found)
    return generate_latest(metrics.registry) + generate_latest(registry)


class _Found(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


async def _of_workspace(served: Served) -> list[Metric]:
    of = served.coordination
    stores = served.runtime.tables.stores
    by_status: dict[AgentStatus, int] = await of.agents.roll.count_by_status()
    tasks = await stores.ask(lambda each: each.tasks.count(TaskFilter()))
    queue = await stores.ask(lambda each: each.task_queue.status())
    memory = await of.memory.index.stats(Caller(name="metrics"))
    agents = GaugeMetricFamily("agents_by_status", "Agents by status", labels=["status"])
    for status, count in by_status.items():
        agents.add_metric([status], count)
    states = GaugeMetricFamily("tasks_by_status", "Tasks by status", labels=["status"])
    counted = {
        "pending": tasks.pending,
        "running": tasks.running,
        "completed": tasks.completed,
        "failed": tasks.failed,
    }
    for status, count in counted.items():
        states.add_metric([status], count)
    return [
        agents,
        states,
        _gauge("tasks_queued_current", "Tasks that wait in the queue", queue.queued),
        _gauge("memory_entries_current", "Entries of memory", memory.total),
        _gauge("memory_entries_indexed_current", "Entries with a vector", memory.indexed),
    ]


async def _of_resources(served: Served) -> list[Metric]:
    figures = await served.coordination.resources.metrics()
    counters = [
        CounterMetricFamily(name.removesuffix("_total"), _HELP.get(name, name), value=value)
        for name, value in figures.counters.items()
    ]
    gauges = [_gauge(name, _HELP.get(name, name), value) for name, value in figures.gauges.items()]
    spread = [_summary(name, one) for name, one in figures.histograms.items()]
    return [*counters, *gauges, *spread]


def _summary(name: str, spread: Distribution) -> Metric:
    """Return a distribution as a histogram whose bounds are its percentiles."""
    bounds: dict[float, int] = {}
    for bound, share in ((spread.p50, 0.50), (spread.p95, 0.95), (spread.p99, 0.99)):
        bounds[float(bound)] = round(spread.count * share)
    buckets: Sequence[tuple[str, float]] = [
        *((str(bound), float(count)) for bound, count in sorted(bounds.items())),
        ("+Inf", float(spread.count)),
    ]
    return HistogramMetricFamily(
        name, _HELP.get(name, name), buckets=buckets, sum_value=float(spread.sum)
    )


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)


def _template(scope: Scope) -> str:
    """Return the path as the route has it: what clients make up must not become figures."""
    path = getattr(scope.get("route"), "path", None)
    if not isinstance(path, str):
        return _UNMATCHED
    # Routes of an included router do not know the prefix that they were included with.
    within = str(scope["path"]).startswith(_API) and not path.startswith(_API)
    return f"{_API}{path}" if within else path
