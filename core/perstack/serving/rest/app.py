"""The application: routes behind their guards."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import anyio
import anyio.to_thread
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

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
DESCRIPTION: Final = "/openapi.json"
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


class _Description:
    """The OpenAPI description as it is sent: made once, when it is first asked for.

    Making it takes seconds. Anybody may ask, so that others are answered meanwhile.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._making = anyio.Lock()
        self._json: bytes | None = None

    async def answer(self, request: Request) -> Response:
        """Send it."""
        async with self._making:
            if self._json is None:
                self._json = await anyio.to_thread.run_sync(self._made)
        return Response(self._json, media_type="application/json")

    def _made(self) -> bytes:
        return json.dumps(self._app.openapi(), separators=(",", ":")).encode()


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """Return all routes. They know no application, and making them takes a third of a second."""
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, responses=DECLARED)
    # Each by itself: a router around them all would have every route made once more.
    for area in _AREAS:
        made.include_router(area.router, prefix=API)
    made.include_router(root.router)
    made.include_router(events.router)
    return tuple(made.router.routes)


def create_app(state: RestState) -> FastAPI:
    """Return the application."""
    app = _App(
        title="Perstack",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.rest = state
    answer_errors(app)
    # The last that is added is asked first.
    app.add_middleware(Bodies, rules=state.rules)
    app.add_middleware(Gate, rules=state.rules)
    app.add_middleware(Measured, metrics=state.metrics)
    app.router.routes += _routes()
    app.add_route(DESCRIPTION, _Description(app).answer, include_in_schema=False)
    return app
