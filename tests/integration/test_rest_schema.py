"""Wild requests over the OpenAPI description: nothing breaks, nothing undeclared comes back."""

# The library leaves type arguments of its own out.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeArgument=false

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final
from unittest import SkipTest

import anyio
import pytest
import schemathesis.openapi
import uvicorn
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from perstack.serving.rest.rules import Rules
from tests.fakes.rest_door import rest_door

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SLOW: Final = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
# It never ends.
STREAM: Final = "/events"
# A vendor or a tool server that is not there, and a server that is busy: not our mistake.
BLAMELESS: Final = frozenset({502, 503})


@asynccontextmanager
async def listening(workspace: Path) -> AsyncGenerator[str]:
    """The application over HTTP, quick enough not to be slowed down; gives its address."""
    rules = Rules(per_s=1e6, burst=1_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with rest_door(workspace, rules=rules) as door, anyio.create_task_group() as group:
            config = uvicorn.Config(
                door.app,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws="none",
                timeout_graceful_shutdown=1,
            )
            server = uvicorn.Server(config)
            group.start_soon(server.serve, [listener])
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


@contextmanager
def served(workspace: Path) -> Generator[str]:
    """As `listening`, in a loop of another thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(listening(workspace)) as base,
    ):
        yield base


def hunt(base: str, *, every: int, examples: int) -> tuple[int, list[str]]:
    """Send wild requests to each operation that is the nth; return how many, and what broke."""
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json")
    asked, broken = 0, list[str]()
    found = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    for operation in found[::every]:
        if operation.path == STREAM:
            continue
        asked += 1
        for mode in GenerationMode:
            try:
                bombard(base, operation.as_strategy(mode), examples)
            except (Unsatisfiable, SkipTest):
                # What takes nothing cannot be asked wrongly.
                continue
            except BaseExceptionGroup as error:
                broken += [f"{operation.label}: {str(one)[:600]}" for one in error.exceptions]
            except Exception as error:  # noqa: BLE001  every operation is asked
                broken.append(f"{operation.label}: {str(error)[:600]}")
    return asked, broken


def bombard(base: str, cases: SearchStrategy[Case], examples: int) -> None:
    """Send requests, and look at what is answered."""

    @given(case=cases)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=SLOW,
    )
    def send(case: Case) -> None:
        answered = case.call(base_url=base, timeout=20)
        if answered.status_code not in BLAMELESS:
            case.validate_response(answered, checks=CHECKS)

    send()


@pytest.mark.timeout(120)
def test_wild_requests_to_some_operations_break_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as base:
        asked, broken = hunt(base, every=15, examples=2)
    assert asked > 5
    assert broken == []


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_wild_requests_to_every_operation_break_nothing(tmp_path: Path) -> None:
    with served(tmp_path) as base:
        asked, broken = hunt(base, every=1, examples=30)
    assert asked > 20
    assert broken == []
