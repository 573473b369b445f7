"""The stream of the selected run: what of it is painted, opened, followed and read back."""

from __future__ import annotations

from collections.abc import Sequence

from perstack.domain.ids import RunId
from perstack.errors import PerstackError
from perstack.projection.views import EntryView, RunView
from perstack_tui.deeds.items import open_item
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.state.branches import speaking
from perstack_tui.state.entry_lines import EntryKey
from perstack_tui.state.past import CHUNK
from perstack_tui.state.stream import (
    StreamLines,
    Window,
    stream_badge,
    stream_foot,
    stream_title,
)
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.stream_pane import StreamPane


class StreamView:
    """Paints the pane of the stream and does what is done in it."""

    def __init__(self, host: Host) -> None:
        self.pane = StreamPane(id="stream")
        self.lines = StreamLines()
        self._host = host
        self._run_id: RunId | None = None
        self._leader_id: RunId | None = None
        self._seen = 0

    def paint(self) -> None:
        """Paint what is known now."""
        state, pane = self._host.state, self.pane
        leader = state.run
        run = self._shown(leader)
        run_id = None if run is None else run.run_id
        selected = pane.selected if run_id == self._run_id else None
        if run_id != self._run_id:
            self._run_id, pane.following = run_id, True
        lines = self.lines
        lines.reading = not state.index.view.caught_up
        lines.needle = state.filters.get("stream", "")
        lines.build(
            run,
            None if run_id is None else self._host.live_text(run_id),
            pane.inner_width,
            whole=run_id in state.whole,
            wraps=state.wrap,
            times=state.show_times,
            opened=frozenset(state.opened.get(run_id, ())) if run_id is not None else frozenset(),
            window=Window(pane.top, max(1, pane.inner_height), pane.following),
        )
        if pane.following:
            self._seen = lines.entry_count
        foot = stream_foot(run, following=pane.following, new=lines.entry_count - self._seen)
        frame = Frame(stream_title(run, leader), stream_badge(run), "", foot)
        pane.show(lines, selected=selected, frame=frame)
        if run is not None:
            self._read_back(run)

    def find(self, needle: str) -> list[int]:
        """Return the lines that hold `needle`, from top to bottom."""
        return self.lines.find(needle)

    # --- following --------------------------------------------------------------------------

    def _shown(self, leader: RunView | None) -> RunView | None:
        state = self._host.state
        if leader is None or leader.run_id != self._leader_id:
            self._leader_id = None if leader is None else leader.run_id
            state.follow_branches = False
        if leader is None or not state.follow_branches:
            return leader
        return speaking(state.index, leader, self._run_id)

    def follow(self) -> None:
        """Follow the end, or stay; on a run that delegated, follow whichever branch speaks."""
        state, pane = self._host.state, self.pane
        if state.follow_branches:
            state.follow_branches = False
            self._host.tell("following the run itself")
        elif pane.following and state.run is not None and state.run.children:
            state.follow_branches = True
            self._host.tell("following whichever branch speaks")
        else:
            pane.following = not pane.following
        if pane.following:
            pane.move_to_end(last=True)

    # --- opening ----------------------------------------------------------------------------

    @property
    def chosen(self) -> EntryView | None:
        """The entry that is chosen, where it is in memory."""
        key = self.pane.selected
        return self.lines.entry(key.number) if isinstance(key, EntryKey) else None

    def open(self) -> None:
        """Open what is chosen; with nothing chosen show all of the run, or the short form again."""
        state, key = self._host.state, self.pane.selected
        if self._run_id is None:
            return
        entry = self.chosen
        if entry is None or not isinstance(key, EntryKey):
            state.whole ^= {self._run_id}
        elif not self._leads_elsewhere(entry):
            opened = state.opened.setdefault(self._run_id, set())
            opened ^= {key.number}

    def _leads_elsewhere(self, entry: EntryView) -> bool:
        """Go to the run that was delegated to, or open what waits for a person."""
        state = self._host.state
        child = entry.call.child if entry.call is not None else None
        if entry.kind == "delegate" and child is not None and child in state.index.runs:
            state.select(child)
            return True
        if entry.kind in ("gate", "question") and entry.status == "waiting":
            item = next((one for one in state.pending if one.run_id == self._run_id), None)
            if item is not None:
                open_item(self._host, item)
                return True
        return False

    def close(self) -> bool:
        """Choose nothing any more; say whether something was chosen."""
        if self.pane.selected is None:
            return False
        self.pane.show(self.lines, selected=None)
        return True

    # --- reading back -----------------------------------------------------------------------

    def _read_back(self, run: RunView) -> None:
        past, first = self.lines.past, self.lines.past.ask()
        if first is None:
            return

        async def read(gateway: Gateway) -> None:
            found: Sequence[EntryView] = await gateway.read_entries(
                run.job_id, run.run_id, first, CHUNK
            )
            past.take(first, found)

        def failed(error: PerstackError) -> None:
            self._host.tell(f"what came before cannot be read back: {error.message}", "bad")

        self._host.command(read, failed)
