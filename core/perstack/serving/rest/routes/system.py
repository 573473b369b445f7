"""/api/v1/system: how the server, its workspace and its machine are."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends
from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from perstack.domain.base import Model
from perstack.domain.resources import ResourceReport
from perstack.domain.system import (
    AgentFigures,
    HealthReport,
    Liveness,
    MemoryFigures,
    ProviderFigures,
    Readiness,
    SystemHealth,
    TaskFigures,
)
from perstack.errors import PerstackError
from perstack.ports.system import SystemClock
from perstack.services.resource_figures import Figures
from perstack.serving.rest.context import Principal, Served, Services, needs, state_of
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.routes.sessions import SessionView, session_view

router = APIRouter(prefix="/system", tags=["system"])
NOT_READY: Final = "The database cannot be used; health/detailed says more"
READS = Depends(needs("system", "read"))


class WorkFigures(TaskFigures):
    """How many tasks wait, how many of them in the queue, and how many are being worked on."""

    queued: int


class SessionFigures(Model):
    """How many sessions are active."""

    active: int


class ServerStatus(Model):
    """What the workspace holds at the moment. `uptime` of the server, in seconds."""

    version: str
    uptime: float
    session: SessionView | None
    agents: AgentFigures
    memory: MemoryFigures
    tasks: WorkFigures
    sessions: SessionFigures
    providers: ProviderFigures


class SystemMetrics(Figures):
    """Figures under their Prometheus names, and how much of what there is."""

    uptime: float
    agents: AgentFigures
    memory: MemoryFigures
    tasks: WorkFigures
    sessions: SessionFigures


@router.get("/status")
async def status(services: Services, principal: Principal = READS) -> Envelope[ServerStatus]:
    """Return what the workspace holds."""
    return ok(await _status(services, principal))


@router.get("/health")
async def health(services: Services, principal: Principal = READS) -> Envelope[SystemHealth]:
    """Return whether the parts of the workspace work."""
    return ok(await services.coordination.system.health(principal.caller))


@router.get("/health/detailed", dependencies=[READS])
async def detailed_health(services: Services) -> Envelope[HealthReport]:
    """Return whether the server, its database and its machine are well."""
    return ok(await services.coordination.health.check())


@router.get("/health/live")
async def live() -> Envelope[Liveness]:
    """Return that the server answers. Nobody need be signed in."""
    return ok(Liveness(timestamp=SystemClock().now_ms()))


@router.get("/health/ready", responses={503: {"model": Readiness}})
async def ready(request: Request, response: Response) -> Readiness:
    """Return, without an envelope, whether work can begin. Nobody need be signed in."""
    try:
        async with state_of(request).backend.use() as services:
            found = await services.coordination.health.readiness()
    except PerstackError:
        found = Readiness(status="not_ready")
    if found.status == "ready":
        return found
    response.status_code = 503
    # Whoever asks need not be signed in: no path, no address.
    return Readiness(status="not_ready", reason=NOT_READY)


@router.get("/config", dependencies=[READS])
async def config(services: Services) -> Envelope[dict[str, JsonValue]]:
    """Return the configuration without any secret."""
    return ok(services.coordination.system.config())


@router.get("/metrics")
async def metrics(services: Services, principal: Principal = READS) -> Envelope[SystemMetrics]:
    """Return figures over all agents, and how much there is."""
    figures = await services.coordination.resources.metrics()
    told = await _status(services, principal)
    return ok(
        SystemMetrics(
            **dict(figures),
            uptime=told.uptime,
            agents=told.agents,
            memory=told.memory,
            tasks=told.tasks,
            sessions=told.sessions,
        )
    )


@router.get("/resources", dependencies=[READS])
async def resources(services: Services) -> Envelope[ResourceReport]:
    """Return the limits of agents, and how much of them is used."""
    return ok(await services.coordination.resources.report())


async def _status(services: Served, principal: Principal) -> ServerStatus:
    core = services.coordination
    found = await core.system.status(principal.caller)
    queue = await core.queue.status()
    tasks = WorkFigures(
        pending=found.tasks.pending, processing=found.tasks.processing, queued=queue.queued
    )
    return ServerStatus(
        version=found.version,
        uptime=core.health.uptime(),
        session=None if found.session is None else session_view(found.session),
        agents=found.agents,
        memory=found.memory,
        tasks=tasks,
        sessions=SessionFigures(active=await core.sessions.count(status="active")),
        providers=found.providers,
    )
