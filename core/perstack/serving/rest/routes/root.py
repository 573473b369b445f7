"""What stands at the root: what this is, and the figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from starlette.requests import HTTPConnection

from perstack import __version__
from perstack.domain.base import Model
from perstack.serving.rest.context import Services, needs, state_of
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.metrics import CONTENT_TYPE, exposition

router = APIRouter(tags=["root"])


class About(Model):
    """What this server is, and where its areas are."""

    name: str
    version: str
    endpoints: dict[str, str]


_AREAS = (
    "auth",
    "agents",
    "identities",
    "memory",
    "tasks",
    "sessions",
    "workflows",
    "review-loops",
    "projects",
    "specs",
    "consensus",
    "filesystem",
    "system",
    "jobs",
    "experts",
)


@router.get("/api/v1")
async def about() -> Envelope[About]:
    """Tell what this server is. Needs no token."""
    endpoints = {area: f"/api/v1/{area}" for area in _AREAS}
    return ok(About(name="Perstack API", version=__version__, endpoints=endpoints))


async def _may_scrape(connection: HTTPConnection) -> None:
    if not state_of(connection).rules.open_metrics:
        await needs("system", "read")(connection)


@router.get(
    "/metrics",
    dependencies=[Depends(_may_scrape)],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, services: Services) -> Response:
    """Give the figures in Prometheus' text format."""
    state = state_of(request)
    figures = await exposition(services, state.jobs.count, state.metrics)
    return Response(figures, headers={"Content-Type": CONTENT_TYPE})
