"""How the cockpit ends: asked for, by a signal, or because its terminal is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from signal import SIGINT
from typing import TYPE_CHECKING, Final

import anyio
from textual.worker import WorkerError

from perstack.errors import PerstackError
from perstack_tui.screens.quit import DETACH, SEND, STOP, TAKE_BACK, quit_sheet
from perstack_tui.state.wording import count_of
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack_tui.app import Cockpit
    from perstack_tui.ports.gateway import Gateway

TWICE_S: Final = 1.5
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
        self._interrupted = self._aside = -TWICE_S

    def ask(self) -> None:
        """Leave, asking first when runs of this process would be affected."""
        app = self._app
        if not (app.state.local_jobs or app.state.held):
            self.leave(0, LEAVE_S)
        elif not self.detaching:
            app.open_sheet(quit_sheet(app), self._quit_chosen)

    def _quit_chosen(self, key: str | None) -> None:
        if key == TAKE_BACK:
            while self._app.holding.undo():
                pass
        if key in (STOP, SEND, TAKE_BACK):
            self.leave(0, LEAVE_S)
        elif key == DETACH:
            self.detach()

    def step_aside(self) -> None:
        """Stop this process for the shell; with runs at work here only when pressed again."""
        app = self._app
        count, now = len(app.state.local_jobs), app.monotonic()
        if count and now - self._aside > TWICE_S:
            self._aside = now
            app.tell(f"ctrl+z again: {count} at work here stand still until fg; q detaches them")
        else:
            app.action_suspend_process()

    def interrupt(self) -> None:
        """Warn at the first, leave at the second within 1.5 s."""
        app, now = self._app, self._app.monotonic()
        if now - self._interrupted <= TWICE_S:
            self.leave(130, LEAVE_S)
            return
        self._interrupted = now
        count = len(app.state.local_jobs)
        what = f"stops {count} at work here at the next step and " if count else ""
        held = sum(len(one.choices) for one in app.state.held)
        what += f"drops {count_of(held, 'held decision')} and " if held else ""
        app.tell(f"ctrl+c again {what}quits")

    def signalled(self, number: int, code: int) -> None:
        """Leave, unless `ctrl+c` was pressed in the editor that has the terminal."""
        if not (self._app.editing and number == SIGINT):
            self.leave(code, SIGNAL_LEAVE_S)

    def leave(self, code: int, within_s: float) -> None:
        """Stop what runs here at a step boundary, close everything, end with `code`."""
        if self.begun:
            return
        app = self._app
        app.opening.end_after(code, within_s + LAST_RESORT_S)
        app.tell("stopping at the next step…" if app.state.local_jobs else "leaving…")
        app.refresh_screens()
        self.begun = True
        app.let_updates_pass()
        app.run_worker(self._leave(code, within_s), group="leaving")

    async def _leave(self, code: int, within_s: float) -> None:
        """Close the gateway while its updates are still taken: what it runs, runs inside them."""
        app = self._app
        # Whoever leaves on purpose meant what is held; whatever else ends this leaves it open.
        message = None if code in (0, HANGUP_CODE) else app.lost()
        await app.remembering.write()
        try:
            with anyio.move_on_after(within_s):
                if app.gateway is not None:
                    if code == 0:
                        message = await app.holding.flush(app.gateway)
                    await app.gateway.aclose()
        except PerstackError as error:
            code, message = code or error.exit_code, flat(error.message)
        if app.updates is not None:
            app.updates.cancel()
            with anyio.move_on_after(CLEANUP_S), suppress(WorkerError):
                await app.updates.wait()
        app.exit(return_code=code, message=message or None)

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
