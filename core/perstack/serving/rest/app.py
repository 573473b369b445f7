"""The application: routes behind their guards."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI

from perstack import __version__
from perstack.serving.rest.context import RestState
from perstack.serving.rest.routes import agents

API: str = "/api/v1"


def create_app(state: RestState) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Perstack", version=__version__, docs_url=None, redoc_url=None)
    app.state.rest = state
    api = APIRouter(prefix=API)
    for area in (agents,):
        api.include_router(area.router)
    app.include_router(api)
    return app
