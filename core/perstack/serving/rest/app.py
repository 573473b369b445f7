"""The application: routes behind their guards."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI

from perstack import __version__
from perstack.serving.rest.context import RestState
from perstack.serving.rest.routes import (
    agents,
    auth,
    consensus,
    events,
    experts,
    filesystem,
    identities,
    jobs,
    memory,
    projects,
    review_loops,
    sessions,
    specs,
    system,
    tasks,
    workflows,
)

API: Final = "/api/v1"
_AREAS: Final = (
    agents,
    auth,
    identities,
    memory,
    tasks,
    sessions,
    workflows,
    review_loops,
    projects,
    specs,
    consensus,
    filesystem,
    system,
    jobs,
    experts,
)


def create_app(state: RestState) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Perstack", version=__version__, docs_url=None, redoc_url=None)
    app.state.rest = state
    api = APIRouter(prefix=API)
    for area in _AREAS:
        api.include_router(area.router)
    app.include_router(api)
    app.include_router(events.router)
    return app
