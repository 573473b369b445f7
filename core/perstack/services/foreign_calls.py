"""Calling what others wrote (hooks, plugins): not on the event loop, and bounded in time."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from threading import Thread

import anyio
import anyio.from_thread
import anyio.lowlevel


class ForeignExitError(Exception):
    """What others wrote called `sys.exit`: that ends their part and not the program."""


async def call_foreign(
    work: Callable[[], Awaitable[object] | object], *, within_s: float
) -> object:
    """Return what `work` gives: a coroutine is awaited, any other function called in a thread.

    A thread that does not end in time is left to itself: nothing can end it.

    Raises:
        TimeoutError: it took longer than `within_s` seconds.
        ForeignExitError: it called `sys.exit`.
        Exception: whatever `work` raises.
    """
    try:
        with anyio.fail_after(within_s):
            given = work() if inspect.iscoroutinefunction(work) else await _in_thread(work)
            return await given if inspect.isawaitable(given) else given
    except SystemExit as error:
        raise ForeignExitError(f"SystemExit: {error}") from error


async def _in_thread(work: Callable[[], object]) -> object:
    # At its end a program waits for the threads of the event loop; for one of our own that is a
    # daemon it does not, so that a function which never returns keeps no program from ending.
    done = anyio.Event()
    given: list[object] = []
    failures: list[BaseException] = []
    token = anyio.lowlevel.current_token()
    context = copy_context()

    def call() -> None:
        try:
            given.append(context.run(work))
        except BaseException as error:  # noqa: BLE001 - goes to whoever asked, below
            failures.append(error)
        with suppress(RuntimeError):  # the program has ended meanwhile
            anyio.from_thread.run_sync(done.set, token=token)

    Thread(target=call, name="foreign code", daemon=True).start()
    await done.wait()
    if failures:
        raise failures[0]
    return given[0]
