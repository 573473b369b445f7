"""What agents use, under the names that Prometheus knows it by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from perstack.domain.base import Model
from perstack.domain.resources import ResourceMetrics, ResourceSummary


class Distribution(Model):
    """Figures over samples; all 0 without any."""

    count: int = 0
    sum: int = 0
    min: int = 0
    max: int = 0
    avg: float = 0.0
    p50: int = 0
    p95: int = 0
    p99: int = 0


class Figures(Model):
    """Counters only grow; gauges are as of now; histograms are over the latest active agents."""

    counters: dict[str, int]
    gauges: dict[str, int]
    histograms: dict[str, Distribution]


def figures_of(summary: ResourceSummary, latest: Sequence[ResourceMetrics]) -> Figures:
    """Return the figures of agents; `latest` bounds what the histograms are made from."""
    return Figures(
        counters={
            "resource_exhaustion_warnings_total": summary.total_warnings,
            "resource_exhaustion_interventions_total": summary.total_interventions,
            "resource_exhaustion_terminations_total": summary.total_terminations,
        },
        gauges={"agents_paused_current": summary.paused_agents},
        histograms={
            "agent_files_accessed": distribution(one.files_accessed for one in latest),
            "agent_api_calls": distribution(one.api_calls_count for one in latest),
            "agent_tokens_consumed": distribution(one.tokens_consumed for one in latest),
        },
    )


def distribution(samples: Iterable[int]) -> Distribution:
    """Return figures over samples; a percentile is the least sample that so many are not above."""
    ordered = sorted(samples)
    if not ordered:
        return Distribution()
    count, total = len(ordered), sum(ordered)

    def percentile(share: float) -> int:
        return ordered[max(0, ceil(share * count) - 1)]

    return Distribution(
        count=count,
        sum=total,
        min=ordered[0],
        max=ordered[-1],
        avg=total / count,
        p50=percentile(0.50),
        p95=percentile(0.95),
        p99=percentile(0.99),
    )
