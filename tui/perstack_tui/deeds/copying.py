"""The copy menu."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio

from perstack.projection.views import RunView
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.state.menu import Letter, Menu
from perstack_tui.state.shell import gate_form, run_form, run_json
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack_tui.screens.main import MainScreen


class Copying:
    """What of the selection can be put on the clipboard."""

    def __init__(self, screen: MainScreen, host: Host) -> None:
        self._screen = screen
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {"copy": Deed(self._ask, self._why_not)}

    def _why_not(self) -> str | None:
        return None if self._letters() else "nothing is selected to copy"

    def _ask(self) -> None:
        self._screen.keys.ask(Menu("copy", tuple(self._letters())))

    def _letters(self) -> Sequence[Letter]:
        found: list[Letter] = []
        text = self._text()
        state, run = self._host.state, self._host.state.run
        item = state.item if self._screen.active == "inbox" else None
        if text:
            found.append(Letter("t", "text", partial(self._host.copy, text, "the text")))
        if item is not None and item.gate is not None:
            form = gate_form(item.gate)
            found.append(
                Letter("i", "id", partial(self._host.copy, item.gate.id, "the checkpoint's id"))
            )
            found.append(
                Letter("s", "shell command", partial(self._host.copy, form, "the command"))
            )
        if run is None:
            return found
        found += [
            Letter("r", "run id", partial(self._host.copy, run.run_id, "the run's id")),
            Letter("j", "job id", partial(self._host.copy, run.job_id, "the job's id")),
            Letter("J", "JSON", partial(self._json, run)),
        ]
        if item is None or item.gate is None:
            form = run_form(run, state.job)
            found.append(
                Letter("s", "shell command", partial(self._host.copy, form, "the command"))
            )
        return found

    def _text(self) -> str:
        """Return the selected line, else what is visible of the pane."""
        pane = self._screen.panes[self._screen.active]
        shown = [pane.line_at(pane.line_in(row)) for row in range(pane.inner_height)]
        chosen = [line for line in shown if line.key == pane.selected]
        lines = chosen if pane.selected is not None and chosen else shown
        rows = ("".join(text for text, _ in (*line.left, *line.right)) for line in lines)
        return "\n".join(flat(row).rstrip() for row in rows).strip()

    def _json(self, run: RunView) -> None:
        async def copy(gateway: Gateway) -> None:
            text = await anyio.to_thread.run_sync(run_json, run)
            self._host.copy(text, "the run as JSON")

        self._host.command(copy)
