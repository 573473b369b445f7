"""Saying what is waited for, once that takes longer than somebody waits without wondering."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from perstack.cli.listeners import say
from perstack.projection.inert import inert

PATIENCE_S: Final = 1.0


@asynccontextmanager
async def said_if_late(told: str) -> AsyncGenerator[None]:
    """Say `told` on stderr if the body takes a while; what it raises comes in a group."""
    async with anyio.create_task_group() as group:
        group.start_soon(_say_late, told)
        yield
        group.cancel_scope.cancel()


async def _say_late(told: str) -> None:
    await anyio.sleep(PATIENCE_S)
    say(inert(told, newlines=False))
