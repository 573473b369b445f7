"""Work that is only done for as long as whoever asked is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from starlette.requests import Request

from perstack.engine.groups import unwrapped
from perstack.errors import ConflictError

T = TypeVar("T")


async def while_wanted(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work; it is cancelled when the client goes away.

    Raises:
        ConflictError: the client went away; nobody reads it.
        PerstackError: as `work`.
    """
    done: list[T] = []
    with unwrapped():
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, request, group.cancel_scope, name="rest:client")
            done.append(await work())
            group.cancel_scope.cancel()
    if not done:
        raise ConflictError("the client went away")
    return done[0]


async def _cancel_when_gone(request: Request, scope: anyio.CancelScope) -> None:
    """Wait until the client has gone: its body has been read by then."""
    while True:
        if (await request.receive())["type"] == "http.disconnect":
            scope.cancel()
            return
