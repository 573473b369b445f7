"""What a workspace holds, whether it works, and how it is configured, never with a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from pydantic import JsonValue

from perstack.config.builtin import CORE_TYPES
from perstack.config.provider_keys import credentialed, has_credentials
from perstack.domain.agents import AgentStatus, AgentType
from perstack.domain.memory import Caller, MemoryStats, NamespaceCount
from perstack.domain.settings import Settings
from perstack.domain.system import (
    AgentFigures,
    Finding,
    MemoryFigures,
    ProviderFigures,
    SystemHealth,
    SystemStatus,
    TaskFigures,
    TypeCounts,
    WorkspaceChecks,
    health_of,
)
from perstack.domain.tasks import QueueStatus, TaskCounts
from perstack.errors import PerstackError
from perstack.ports.stores import Stores
from perstack.ports.tasks import TaskFilter
from perstack.projection.program_phrases import model_of_settings
from perstack.services.handle import Handle

_ACTIVE: Final[tuple[AgentStatus, ...]] = ("idle", "running")
_OLLAMA: Final = "http://localhost:11434"


class AgentCounts(Protocol):
    """The table of agents, with those that are lost marked."""

    async def count_by_status(self) -> dict[AgentStatus, int]:
        """Return how many agents have each status."""
        ...


class TypeList(Protocol):
    """The types of agents that there are."""

    def list(self) -> Sequence[AgentType]:
        """Return them all."""
        ...


class MemoryCounts(Protocol):
    """Memory, as it is counted."""

    async def stats(self, caller: Caller) -> MemoryStats:
        """Return how many entries there are, and how many are indexed."""
        ...

    async def namespaces(self, caller: Caller) -> list[NamespaceCount]:
        """Return the namespaces with how many entries each has."""
        ...


class SystemService:
    """Status, health and configuration as front doors show them.

    `settings` may be set anew at any time. `env` is looked at for credentials alone, and `redact`
    takes its secrets out of every text of the configuration.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        agents: AgentCounts,
        types: TypeList,
        memory: MemoryCounts,
        settings: Settings,
        env: Mapping[str, str],
        redact: Callable[[str], str],
        version: str,
    ) -> None:
        self._stores = stores
        self._agents = agents
        self._types = types
        self._memory = memory
        self.settings = settings
        self._env = env
        self._redact = redact
        self._version = version

    async def status(self, caller: Caller) -> SystemStatus:
        """Return what there is, of memory as much as the caller may see.

        Raises:
            StorageError: the database cannot be read.
        """
        tasks, queue = await self._tasks()
        by_status = await self._agents.count_by_status()
        return SystemStatus(
            version=self._version,
            session=await self._stores.ask(lambda stores: stores.sessions.active()),
            agents=AgentFigures(
                active=sum(by_status.get(one, 0) for one in _ACTIVE),
                by_status=by_status,
                registered=self._type_counts(),
            ),
            memory=await self._memory_figures(caller),
            tasks=TaskFigures(
                pending=tasks.pending, processing=max(tasks.running, queue.processing)
            ),
            providers=ProviderFigures(
                default=self.settings.provider.name, available=credentialed(self._env)
            ),
        )

    async def health(self, caller: Caller) -> SystemHealth:
        """Return whether the parts of the workspace work; what fails is in it, never raised."""
        database = await self._database_answers()
        memory, vectors = await self._memory_findings(caller)
        agents = await self._agent_finding()
        found = [one.status for one in (memory, vectors, agents)]
        errors = found.count("error") + (0 if database else 1)
        status = health_of(errors, found.count("warn"))
        return SystemHealth(
            healthy=status == "healthy",
            status=status,
            checks=WorkspaceChecks(
                database=database,
                vector_search_on=self._vectors_on and vectors.status == "ok",
                github=self.settings.coordination.github.enabled,
                memory=memory,
                vector_search=vectors,
                agents=agents,
            ),
        )

    def config(self) -> dict[str, JsonValue]:
        """Return the configuration: chosen figures and words, no key, token, header or address.

        The address of an Ollama server is kept, without what may be a password in it.
        """
        told = _told(self.settings, self._env, self._version)
        return {name: _clean(value, self._redact) for name, value in told.items()}

    # ------------------------------------------------------------- internals

    @property
    def _vectors_on(self) -> bool:
        return self.settings.coordination.memory.vector_search.enabled

    async def _tasks(self) -> tuple[TaskCounts, QueueStatus]:
        counts = await self._stores.ask(lambda stores: stores.tasks.count(TaskFilter()))
        return counts, await self._stores.ask(lambda stores: stores.task_queue.status())

    def _type_counts(self) -> TypeCounts:
        types = self._types.list()
        core = sum(one.type in CORE_TYPES for one in types)
        return TypeCounts(core=core, custom=len(types) - core, total=len(types))

    async def _memory_figures(self, caller: Caller) -> MemoryFigures:
        stats = await self._memory.stats(caller)
        spaces = await self._memory.namespaces(caller)
        return MemoryFigures(
            entries=stats.total,
            namespaces=tuple(one.namespace for one in spaces),
            total=stats.total,
            indexed=stats.indexed,
            coverage=f"{stats.coverage:g}%",
            vector_enabled=self._vectors_on,
            embedder=stats.embedder,
        )

    async def _database_answers(self) -> bool:
        try:
            await self._stores.ask(lambda stores: stores.version())
        except PerstackError:
            return False
        return True

    async def _memory_findings(self, caller: Caller) -> tuple[Finding, Finding]:
        try:
            stats = await self._memory.stats(caller)
        except PerstackError as error:
            failed = Finding(status="error", message=error.message)
            return failed, failed
        stored = Finding(status="ok", message=f"{stats.total:,} entries stored")
        if not self._vectors_on:
            return stored, Finding(status="ok", message="Disabled (using FTS only)")
        if stats.warning is not None:
            return stored, Finding(status="warn", message=self._redact(stats.warning))
        if stats.total and not stats.indexed:
            return stored, Finding(status="warn", message="Enabled but no entries indexed")
        indexed = f"{stats.indexed:,}/{stats.total:,} entries indexed"
        return stored, Finding(status="ok", message=indexed)

    async def _agent_finding(self) -> Finding:
        try:
            by_status = await self._agents.count_by_status()
        except PerstackError as error:
            return Finding(status="error", message=error.message)
        active = sum(by_status.get(one, 0) for one in _ACTIVE)
        message = f"{self._type_counts().total} types, {active} active"
        return Finding(status="ok", message=message)


def _told(settings: Settings, env: Mapping[str, str], version: str) -> dict[str, JsonValue]:
    """Return what may be told. Tables that hold texts of the user's are named key by key."""
    area = settings.coordination
    provider: dict[str, JsonValue] = {"configured": has_credentials(settings.provider.name, env)}
    if settings.provider.name == "ollama":
        provider["baseUrl"] = _plain_url(settings.provider.base_url or _OLLAMA)
    return {
        "version": version,
        "model": model_of_settings(settings)[0],
        "runtime": settings.runtime.name,
        "memory": {
            "defaultNamespace": area.memory.default_namespace,
            "vectorSearch": {
                "enabled": area.memory.vector_search.enabled,
                "provider": area.memory.vector_search.provider,
                "model": area.memory.vector_search.model,
            },
        },
        "agents": area.agents.model_dump(mode="json", by_alias=True),
        "providers": {
            "default": settings.provider.name,
            **{name: {"configured": True} for name in credentialed(env)},
            settings.provider.name: provider,
        },
        "github": {"enabled": area.github.enabled, "useGhCli": area.github.use_gh_cli},
        "plugins": {"enabled": area.plugins.enabled, "directory": area.plugins.directory},
        "mcp": {"transport": "stdio"},
        "hooks": area.hooks.model_dump(mode="json", by_alias=True),
        "slack": {"enabled": area.slack.enabled, "configured": bool(area.slack.webhook_url)},
        "driftDetection": area.drift.model_dump(mode="json", by_alias=True),
        "resourceExhaustion": area.resources.model_dump(mode="json", by_alias=True),
        "smartDispatcher": area.dispatcher.model_dump(mode="json", by_alias=True),
        "consensus": {
            "enabled": settings.consensus.enabled,
            "requireForRiskLevels": list(settings.consensus.require_for_risk_levels),
            "reviewerStrategy": settings.consensus.reviewer_strategy,
            "timeout": settings.consensus.timeout,
            "maxDepth": settings.consensus.max_depth,
            "autoReject": settings.consensus.auto_reject,
        },
    }


def _plain_url(url: str) -> str:
    """Return an address without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    place = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{place}:{port}" if port else place, parts.path, "", ""))


def _clean(value: JsonValue, redact: Callable[[str], str]) -> JsonValue:
    match value:
        case str():
            return redact(value)
        case list():
            return [_clean(one, redact) for one in value]
        case dict():
            return {name: _clean(one, redact) for name, one in value.items()}
        case _:
            return value
