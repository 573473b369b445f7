"""Calling what others wrote (hooks, plugins): not on the event loop, and bounded in time."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import anyio
from anyio import to_thread


async def call_foreign(
    work: Callable[[], Awaitable[object] | object], *, within_s: float
) -> object:
    """Return what `work` gives: a coroutine is awaited, any other function called in a thread.

    A thread that does not end in time is left to itself: nothing can end it.

    Raises:
        TimeoutError: it took longer than `within_s` seconds.
        Exception: whatever `work` raises.
    """
    with anyio.fail_after(within_s):
        if inspect.iscoroutinefunction(work):
            given = work()
        else:
            given = await to_thread.run_sync(work, abandon_on_cancel=True)
        return await given if inspect.isawaitable(given) else given
