"""What the travel screen shows, loaded when it is shown and kept for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final

import anyio.to_thread

from perstack.errors import PerstackError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.travel import Comparison, FileView, MessageView, Moment, MomentView
from perstack_tui.screens.latest import Kept, Latest
from perstack_tui.state.lines import Line, note
from perstack_tui.state.travel import Travelling, spoken
from perstack_tui.state.travel_lines import (
    LONG_TEXT,
    cost_detail,
    diff_detail,
    message_detail,
    text_detail,
)
from perstack_tui.text import flat

KEPT_MOMENTS: Final = 8
KEPT_DETAILS: Final = 16


def told(error: PerstackError) -> str:
    """Return an error in a line, with what helps."""
    return flat(error.message + (f" - {error.hint}" if error.hint else ""))


class Loading:
    """Fills in a `Travelling`; `changed` is called when there is something new to paint."""

    def __init__(self, host: Host, state: Travelling, changed: Callable[[], None]) -> None:
        self._host = host
        self._state = state
        self._changed = changed
        self._moments = Latest(host, self._settled)
        self._details = Latest(host, changed)
        self._views: Kept[MomentView] = Kept(KEPT_MOMENTS)
        self._comparisons: Kept[Comparison] = Kept(KEPT_MOMENTS)
        self._lines: Kept[Sequence[Line]] = Kept(KEPT_DETAILS)
        self._wanted_detail: Hashable = None

    def look(self) -> None:
        """Show the moment, and its comparison when there is one; loads what is not kept."""
        state = self._state
        base = state.base(self._host.state.index)
        state.problem = ""
        view = self._views.get(state.moment)
        comparison = self._comparisons.get((base, state.moment)) if base is not None else None
        if view is not None and (base is None or comparison is not None):
            self._moments.drop()
            state.view, state.comparison, state.busy = view, comparison, ""
            self._changed()
            return
        state.busy = f"loading {spoken(self._host.state.index, state.moment)}"
        self._moments.want(lambda gateway: self._load(gateway, state.moment, base), self._failed)

    def drop(self) -> None:
        """Load nothing any more: the screen is being left."""
        self._moments.drop()
        self._details.drop()

    async def _load(self, gateway: Gateway, moment: Moment, base: Moment | None) -> None:
        if self._views.get(moment) is None:
            self._views.put(moment, await gateway.travel.look(moment))
        if base is not None and self._comparisons.get((base, moment)) is None:
            compared = await gateway.travel.compare(base, moment)
            self._comparisons.put((base, moment), compared)
        state = self._state
        if state.moment == moment:
            state.view = self._views.get(moment)
            state.comparison = self._comparisons.get((base, moment))
            state.busy = ""

    def _failed(self, error: PerstackError) -> None:
        state = self._state
        state.view = state.comparison = None
        state.problem, state.busy = told(error), ""

    def _settled(self) -> None:
        self._changed()

    # --- details ----------------------------------------------------------------------------

    def detail(self, width: int) -> Sequence[Line]:
        """Return what is selected, in full; what takes time is loaded, and said to be."""
        state = self._state
        if state.tab == "cost":
            return cost_detail(state)
        if state.view is None:
            return (note(""),)
        if state.tab == "messages":
            return self._message(state.selected_message(), width)
        return self._file(width)

    def _message(self, message: MessageView | None, width: int) -> Sequence[Line]:
        if message is None:
            return ()
        key = ("message", message.id, hash(message.text), width)
        kept = self._lines.get(key)
        if kept is None and len(message.text) <= LONG_TEXT:
            kept = message_detail(message, width)
            self._lines.put(key, kept)
        if kept is not None:
            return kept

        async def wrapped(gateway: Gateway) -> None:
            made = await anyio.to_thread.run_sync(message_detail, message, width)
            self._lines.put(key, made)

        return self._load_detail(key, wrapped)

    def _file(self, width: int) -> Sequence[Line]:
        state = self._state
        file = state.selected_file()
        if file is None or state.view is None:
            return ()
        if isinstance(file, FileView):
            if file.digest is None:
                return (note(f"Only listed, not stored: {flat(file.why or 'no reason is known')}"),)
            return self._file_text(state.view.moment, file.path, width)
        if state.comparison is None:
            return ()
        return self._file_diff(state.comparison, file.path, width)

    def _file_text(self, moment: Moment, path: str, width: int) -> Sequence[Line]:
        async def load(gateway: Gateway) -> None:
            text = await gateway.travel.file_text(moment, path)
            made = await anyio.to_thread.run_sync(text_detail, text, width)
            self._lines.put(key, made)

        key = ("file", moment, path, width)
        return self._lines.get(key) or self._load_detail(key, load)

    def _file_diff(self, found: Comparison, path: str, width: int) -> Sequence[Line]:
        async def load(gateway: Gateway) -> None:
            lines = await gateway.travel.file_diff(found.before, found.after, path)
            made = await anyio.to_thread.run_sync(diff_detail, lines, width)
            self._lines.put(key, made)

        key = ("diff", found.before, found.after, path, width)
        return self._lines.get(key) or self._load_detail(key, load)

    def _load_detail(
        self, key: Hashable, work: Callable[[Gateway], Awaitable[None]]
    ) -> Sequence[Line]:
        """Load it unless it is under way; what went wrong is what is shown then."""

        def failed(error: PerstackError) -> None:
            self._lines.put(key, (Line(((f"✗ {told(error)}", "fail"),)),))

        if self._wanted_detail != key or not self._details.busy:
            self._wanted_detail = key
            self._details.want(work, failed)
        return (note("Loading…"),)
