"""What is shown while a registry is asked for something that is to be started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from perstack.domain.ids import ExpertKey
from perstack.errors import RegistryError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.definitions import is_here
from perstack_tui.state.lines import Line, line, note
from perstack_tui.text import flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class AskingSheet(Sheet[None]):
    """Escape gives it up; it closes by itself once there is an answer, and stays for a failure."""

    def __init__(self, host: Host, expert: ExpertKey) -> None:
        super().__init__(host)
        self.scope = anyio.CancelScope()
        self._expert = expert
        self._error: RegistryError | None = None
        self._pane = Pane(id="asking-pane")

    def compose(self) -> ComposeResult:
        """What is asked for, and how to stop that."""
        with Vertical(id="asking"):
            yield self._pane
            yield Bar(id="asking-keys")

    def on_mount(self) -> None:
        """Take the keyboard."""
        self._pane.focus()

    def refresh_view(self) -> None:
        """Paint it."""
        if not self.is_mounted or not self.query("#asking-keys"):
            return
        error = self._error
        width = self._pane.inner_width
        self._pane.show(self._lines(width), frame=Frame("Registry"))
        keys = "start nothing" if error is None else "close: nothing was started"
        self.query_one("#asking-keys", Bar).show(line((" esc", "accent"), (f" {keys}", "muted")))

    def _lines(self, width: int) -> list[Line]:
        error = self._error
        if error is None:
            text = f"Asking the registry for {flat(self._expert)} and what it delegates to…"
            lines = [line((part, "text")) for part in wrap(text, width)]
            return [*lines, note("It takes a minute at most.")]
        lines = [line((part, "strong")) for part in wrap(f"✗ {error.message}", width)]
        return [*lines, *(note(part) for part in wrap(error.hint or "", width) if error.hint)]

    def fail(self, error: RegistryError) -> None:
        """Say why nothing was started, until the user has read it."""
        self._error = error
        self.refresh_view()

    def on_key(self, event: events.Key) -> None:
        """Give it up."""
        event.stop()
        event.prevent_default()
        if self._error is not None and event.key in ("escape", "enter", "q"):
            self.dismiss(None)
        elif self._error is None and event.key == "escape":
            self.scope.cancel()
        elif self._error is not None:
            self._pane.scroll_lines({"j": 1, "down": 1, "k": -1, "up": -1}.get(event.key, 0))


def begin(host: Host, expert: ExpertKey, work: Callable[[Gateway], Awaitable[None]]) -> None:
    """Do `work`, which starts `expert`; for one of the registry, say so meanwhile."""
    if is_here(host.state.definitions, expert):
        host.command(work)
        return

    async def asked(gateway: Gateway) -> None:
        sheet = AskingSheet(host, expert)
        host.open_sheet(sheet)
        try:
            with sheet.scope:
                await work(gateway)
        except RegistryError as error:
            sheet.fail(error)
            return
        except Exception:
            sheet.dismiss(None)
            raise
        sheet.dismiss(None)
        if sheet.scope.cancelled_caught:
            host.tell("nothing was started")

    host.command(asked)
