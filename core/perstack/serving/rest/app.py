"""The application: routes behind their guards."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, FastAPI

from perstack import __version__
from perstack.serving.rest.context import RestState
from perstack.serving.rest.errors import DECLARED, answer_errors
from perstack.serving.rest.guards import Bodies, Gate
from perstack.serving.rest.metrics import Measured
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
    root,
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


class _App(FastAPI):
    """FastAPI, whose description has no 422: what does not fit is answered with 400."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI description."""
        if self.openapi_schema is None:
            made = super().openapi()
            for path in made["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            for unused in ("HTTPValidationError", "ValidationError"):
                made.get("components", {}).get("schemas", {}).pop(unused, None)
            self.openapi_schema = made
        return self.openapi_schema


def create_app(state: RestState) -> FastAPI:
    """Return the application."""
    app = _App(
        title="Perstack",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=DECLARED,
    )
    app.state.rest = state
    answer_errors(app)
    # The last that is added is asked first.
    app.add_middleware(Bodies, rules=state.rules)
    app.add_middleware(Gate, rules=state.rules)
    app.add_middleware(Measured, metrics=state.metrics)
    api = APIRouter(prefix=API)
    for area in _AREAS:
        api.include_router(area.router)
    app.include_router(api)
    app.include_router(root.router)
    app.include_router(events.router)
    return app
