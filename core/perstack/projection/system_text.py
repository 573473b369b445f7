"""What a folder holds, as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from perstack.config.load import LoadedConfig
from perstack.domain.system import SystemHealth, SystemStatus
from perstack.projection.inert import inert
from perstack.projection.log_header import moment

_LABEL_WIDTH: Final = 14
_SHOWN: Final = 5


def status_lines(
    told: SystemStatus, health: SystemHealth, config: LoadedConfig | None
) -> Iterator[str]:
    """Return a line for each part; what is not well has its own words at the end."""
    yield _field("Perstack", told.version)
    yield _field("Definitions", _definitions(config))
    yield _field("Session", _session(told))
    yield _field("Agents", _agents(told))
    yield _field("Tasks", f"{told.tasks.pending:,} pending, {told.tasks.processing:,} processing")
    yield _field("Memory", _memory(told))
    yield _field("Provider", _provider(told))
    if config is not None and (runtime := config.settings.runtime.name) != "perstack":
        yield _field("Runtime", f"{runtime}; perstack runtimes tells whether it is ready")
    yield _field("GitHub", "enabled" if health.checks.github else "disabled")
    yield _field("Health", health.status)
    checks = health.checks
    for finding in (checks.memory, checks.vector_search, checks.agents):
        if finding.status != "ok":
            yield _field("", f"{finding.status}: {finding.message}")


def _definitions(config: LoadedConfig | None) -> str:
    if config is None:
        return "the built-in Experts alone: no perstack.toml that can be used"
    count = len(config.experts)
    return f"{config.shown_source}, {count} Expert{'' if count == 1 else 's'}"


def _session(told: SystemStatus) -> str:
    session = told.session
    return "none active" if session is None else f"{session.id}, since {moment(session.started_at)}"


def _agents(told: SystemStatus) -> str:
    agents = told.agents
    by_status = ", ".join(
        f"{count} {status}" for status, count in agents.by_status.items() if count
    )
    types = f"{agents.registered.core} types built in, {agents.registered.custom} of your own"
    return f"{agents.active} active{f' ({by_status})' if by_status else ''}; {types}"


def _memory(told: SystemStatus) -> str:
    memory = told.memory
    some = ", ".join(memory.namespaces[:_SHOWN])
    more = len(memory.namespaces) - _SHOWN
    where = f" in {some}{f' and {more} more' if more > 0 else ''}" if some else ""
    vectors = f"; {memory.coverage} with vectors" if memory.vector_enabled else "; words alone"
    return f"{memory.total:,} entr{'y' if memory.total == 1 else 'ies'}{where}{vectors}"


def _provider(told: SystemStatus) -> str:
    providers = told.providers
    have = ", ".join(providers.available) or "none"
    return f"{providers.default}; credentials found for: {have}"


def _field(label: str, value: str) -> str:
    return f"{label.ljust(_LABEL_WIDTH)}{inert(value, newlines=False)}".rstrip()
