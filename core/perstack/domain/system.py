"""How a workspace and this machine are: status, health and the configuration without secrets."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from perstack.domain.agents import AgentStatus
from perstack.domain.base import Model
from perstack.domain.moments import Moment
from perstack.domain.sessions import Session

Health = Literal["healthy", "degraded", "unhealthy"]


class TypeCounts(Model):
    """How many types of agents there are."""

    core: int
    custom: int
    total: int


class AgentFigures(Model):
    """How many agents there are; `active` ones are those that are idle or at work."""

    active: int
    by_status: dict[AgentStatus, int]
    registered: TypeCounts


class MemoryFigures(Model):
    """How much is remembered. `coverage` is written as `97.5%`; `entries` is `total`."""

    entries: int
    namespaces: tuple[str, ...]
    total: int
    indexed: int
    coverage: str
    vector_enabled: bool
    embedder: str | None = None


class TaskFigures(Model):
    """How many tasks wait, and how many are being worked on."""

    pending: int
    processing: int


class ProviderFigures(Model):
    """Which vendor is asked, and for which ones credentials were found."""

    default: str
    available: tuple[str, ...]


class SystemStatus(Model):
    """What the workspace holds at the moment. `session` is the active one that began last."""

    version: str
    session: Session | None
    agents: AgentFigures
    memory: MemoryFigures
    tasks: TaskFigures
    providers: ProviderFigures


class Finding(Model):
    """What one check of the workspace found."""

    status: Literal["ok", "warn", "error"]
    message: str


class WorkspaceChecks(Model):
    """The answers of the seed as yes or no, and what was found in each part."""

    database: bool
    vector_search_on: bool = Field(serialization_alias="vectorSearch")
    github: bool
    memory: Finding
    vector_search: Finding = Field(serialization_alias="vector_search")
    agents: Finding


class SystemHealth(Model):
    """Whether the workspace works: any error makes it unhealthy, any warning degraded."""

    healthy: bool
    status: Health
    checks: WorkspaceChecks


class SystemConfiguration(Model):
    """How the workspace is configured: chosen figures and words, never a secret."""

    model_config = ConfigDict(extra="allow")

    version: str
    model: str | None = None
    memory: dict[str, JsonValue]
    agents: dict[str, JsonValue]
    providers: dict[str, JsonValue]
    github: dict[str, JsonValue]
    plugins: dict[str, JsonValue]
    mcp: dict[str, JsonValue]
    hooks: dict[str, JsonValue]


class Check(Model):
    """What one check of this process and machine found."""

    status: Literal["pass", "warn", "fail"]
    message: str
    details: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class MachineChecks(Model):
    """One of each kind."""

    database: Check
    memory: Check
    providers: Check
    disk: Check
    system: Check


class HealthReport(Model):
    """Whether this process and its machine are well. `uptime` in seconds."""

    status: Health
    checks: MachineChecks
    timestamp: Moment
    uptime: float
    version: str


class Liveness(Model):
    """This process answers."""

    status: Literal["ok"] = "ok"
    timestamp: Moment


class Readiness(Model):
    """Whether work can begin; `reason` says why not."""

    status: Literal["ready", "not_ready"]
    reason: str | None = Field(default=None, exclude_if=lambda value: value is None)


def health_of(errors: int, warnings: int) -> Health:
    """Return what so many failed checks and warnings come to."""
    if errors:
        return "unhealthy"
    return "degraded" if warnings else "healthy"
