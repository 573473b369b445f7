"""Doing work with the gateway, asking for trust where it is needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from perstack.config.untrusted import UntrustedError
from perstack.errors import PerstackError
from perstack_tui.screens.trust import TrustSheet

if TYPE_CHECKING:
    from perstack_tui.app import Cockpit
    from perstack_tui.ports.gateway import Gateway


class Commands:
    """Does work beside the screen; what fails is told."""

    def __init__(self, app: Cockpit) -> None:
        self._app = app

    def do(
        self,
        work: Callable[[Gateway], Awaitable[None]],
        failed: Callable[[PerstackError], None] | None,
    ) -> None:
        """Do `work`; an error is told to `failed`, or to the user."""
        app, gateway = self._app, self._app.gateway
        if gateway is None:
            (failed or app.report)(PerstackError("the runtime is still being opened"))
            return

        async def run() -> None:
            try:
                await work(gateway)
            except UntrustedError as error:
                self._ask_for_trust(error, lambda: app.command(work, failed))
            except PerstackError as error:
                (failed or app.report)(error)
            finally:
                app.request_paint()

        app.beside(run, "commands")

    def _ask_for_trust(self, error: UntrustedError, again: Callable[[], None]) -> None:
        app = self._app

        async def accept(gateway: Gateway) -> None:
            await gateway.accept(error.demands)
            again()

        def answered(accepted: bool | None) -> None:
            if accepted:
                app.command(accept)
            else:
                app.tell("nothing was started", "bad")

        app.open_sheet(TrustSheet(app, error), answered)
