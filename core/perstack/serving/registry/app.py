"""The application: the registry's routes behind their guards."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI

from perstack import __version__
from perstack.ports.system import SystemClock, Uuids
from perstack.services.registry.access import RegistryAccess
from perstack.services.registry.publishing import RegistryPublishing
from perstack.services.registry.shelf import RegistryShelf
from perstack.serving.http.guards import Bodies, Gate
from perstack.serving.http.rules import Rules
from perstack.serving.http.unexpected import Unexpected
from perstack.serving.registry.answers import ANSWERS, answer_errors
from perstack.serving.registry.asking import RegistryState
from perstack.serving.registry.keys_first import KeysFirst
from perstack.serving.registry.routes import ANSWER_S, router
from perstack.wiring import Tables

# A definition is at most 1 MiB; in JSON in ASCII it may take more.
BODY_BYTES: Final = 3 * 1024 * 1024


def access_over(tables: Tables) -> RegistryAccess:
    """Return the organisations and keys of the registry that is in these tables."""
    return RegistryAccess(tables.stores, clock=SystemClock(), ids=Uuids())


def state_over(tables: Tables, *, private: bool = False) -> RegistryState:
    """Return what an application works with over these tables."""
    return RegistryState(
        access_over(tables),
        RegistryShelf(tables.stores),
        RegistryPublishing(tables.stores, clock=SystemClock(), ids=Uuids()),
        private=private,
    )


def create_app(state: RegistryState, rules: Rules) -> FastAPI:
    """Return the application. It describes itself nowhere: its API is Perstack's."""
    app = FastAPI(
        title="Perstack registry",
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.registry = state
    answer_errors(app)
    # The last that is added is asked first.
    app.add_middleware(Bodies, rules=rules, answers=ANSWERS)
    app.add_middleware(KeysFirst, rules=rules, within_s=ANSWER_S)
    app.add_middleware(Unexpected, answer_for=ANSWERS.answer_for)
    app.add_middleware(Gate, rules=rules, answers=ANSWERS)
    app.include_router(router)
    return app
