"""How the cockpit ends: asked for, by a signal, or because its terminal is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

import anyio
from textual.worker import WorkerError

from perstack.errors import PerstackError
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack_tui.app import Cockpit
    from perstack_tui.ports.gateway import Gateway

LEAVE_S: Final = 10.0
SIGNAL_LEAVE_S: Final = 1.5
CLEANUP_S: Final = 0.4
LAST_RESORT_S: Final = 4.0
HANGUP_CODE: Final = 129


class Leaving:
    """Leaves once, in bounded time; `begun` says that nothing may be started any more."""

    def __init__(self, app: Cockpit) -> None:
        self.begun = self.detaching = False
        self._app = app

    def leave(self, code: int, within_s: float) -> None:
        """Stop what runs here at a step boundary, close everything, end with `code`."""
        if self.begun:
            return
        app = self._app
        app.opening.end_after(code, within_s + LAST_RESORT_S)
        app.tell("stopping at the next step…" if app.state.local_jobs else "leaving…")
        app.refresh_screens()
        self.begun = True
        app.run_worker(self._leave(code, within_s), group="leaving")

    async def _leave(self, code: int, within_s: float) -> None:
        """Close the gateway while its updates are still taken: what it runs, runs inside them."""
        app = self._app
        message: str | None = None
        await app.remembering.write()
        try:
            with anyio.move_on_after(within_s):
                if app.gateway is not None:
                    # Whoever leaves on purpose meant it; whatever else ends this leaves it open.
                    message = await app.holding.flush(app.gateway) if code == 0 else None
                    await app.gateway.aclose()
        except PerstackError as error:
            code, message = code or error.exit_code, flat(error.message)
        if app.updates is not None:
            app.updates.cancel()
            with anyio.move_on_after(CLEANUP_S), suppress(WorkerError):
                await app.updates.wait()
        app.exit(return_code=code, message=message)

    def detach(self) -> None:
        """Hand over what runs here, then leave; meanwhile nothing of it is handed over again."""
        app = self._app
        jobs = sorted(app.state.local_jobs)

        async def detach(gateway: Gateway) -> None:
            self.detaching = True
            try:
                await gateway.detach(jobs)
            finally:
                self.detaching = False
            self.leave(0, LEAVE_S)

        app.tell("detaching…")
        app.command(detach)


class FromThreads:
    """Runs work of the terminal's threads in the loop in which it was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()

    def run(self, work: Callable[[], object]) -> None:
        """Have `work` done soon."""
        with suppress(RuntimeError):  # The loop has ended: so has what there was to do.
            # Textual's timers find the app through the context; a thread has one of its own.
            self._loop.call_soon_threadsafe(work, context=self._context)
