"""What saves of `perstack.toml` changed, and an Expert's definition in full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.app import ComposeResult

from perstack.domain.ids import ExpertKey
from perstack.errors import PerstackError
from perstack.projection.views import RunView
from perstack_tui.deeds.items import why_not_act
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.gateway import Gateway, SavedDefinitions
from perstack_tui.ports.host import Host
from perstack_tui.ports.steering import Target
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.screens.sheet import Sheet
from perstack_tui.screens.travel_loading import told
from perstack_tui.state.definition_words import (
    ChangedItem,
    definition_lines,
    item_lines,
    item_title,
    items_of,
    keeping,
)
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.experts import selected_expert
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import count_of, short_id
from perstack_tui.text import flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_SCROLLS: Final = {"J": 1, "K": -1, "j": 1, "down": 1, "k": -1, "up": -1}

_LINE: Final = re.compile(r"\bline (\d+)")


def open_definitions_file(host: Host, line: int | None = None) -> None:
    """Open `perstack.toml` at a line, where it is wrong if it is, else at the Expert selected."""
    definitions = host.state.definitions
    if definitions.path is None:
        host.tell("there is no perstack.toml here")
        return
    wrong = _LINE.search(definitions.error or "")
    expert = selected_expert(host.state)
    if line is None and wrong is not None:
        line = int(wrong.group(1))
    if line is None and expert is not None:
        line = expert.line
    host.edit_file(definitions.path, line or 1)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which runs are to take which Expert, and the saves that were known as it was asked."""

    runs: tuple[RunView, ...]
    key: ExpertKey
    saves: tuple[SavedDefinitions, ...]


class DefinitionsSheet(Sheet[None]):
    """One changed Expert at a time; `T` has runs at work take what is defined now."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._deliberate = Deliberate(host, lambda why: self._tell(why, bad=True))
        self._pane = Pane(id="definitions")
        self._at = 0
        self._full = False
        self._asking: _Asked | None = None
        self._said: tuple[str, bool] = ("", False)

    def compose(self) -> ComposeResult:
        """What changed, what was said, the keys."""
        yield self._pane
        yield Bar(id="definitions-said")
        yield Bar(id="definitions-keys")

    def on_mount(self) -> None:
        """The pane has the keyboard."""
        self._deliberate.restart()
        self._pane.focus()

    @property
    def _items(self) -> Sequence[ChangedItem]:
        return items_of(self.host.state.definitions)

    @property
    def _item(self) -> ChangedItem | None:
        items = self._items
        return items[min(self._at, len(items) - 1)] if items else None

    @property
    def _at_work(self) -> tuple[RunView, ...]:
        item = self._item
        if item is None or item.diff is None or item.diff.change == "gone":
            return ()
        return tuple(keeping(self.host.state.index, item.save, item.diff))

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint what is known now; a further save comes first."""
        if not self.is_mounted:
            return
        self._drop_outdated()
        item, width = self._item, self._pane.inner_width
        lines = [*self._problem(width), *self._changes(item, width)]
        title = item_title(item) if item is not None else "What changed"
        valid = "✗ not valid" if self.host.state.definitions.error else "✓ valid"
        place = f" · {self._at + 1} of {len(self._items)}" if self._items else ""
        self._pane.show(lines, selected=self._pane.selected, frame=Frame(title, valid + place))
        self.query_one("#definitions-said", Bar).show(self._say())
        self.query_one("#definitions-keys", Bar).show(self._key_line())

    def _problem(self, width: int) -> list[Line]:
        definitions = self.host.state.definitions
        problem = definitions_problem(definitions)
        if not problem:
            return []
        lines = [line((text, "fail")) for text in wrap(f"✗ {problem}", width)]
        hint = definitions.error_hint or ""
        lines += [line((text, "text")) for text in wrap(hint, width)] if hint else []
        return [
            *lines,
            note("What was defined before stays in force; o opens the file there."),
            BLANK,
        ]

    def _changes(self, item: ChangedItem | None, width: int) -> list[Line]:
        if item is None:
            return [note("Nothing has changed since the cockpit was opened.")]
        return item_lines(item, self.host.state.index, width, full=self._full)

    def _say(self) -> Line:
        if self._asking:
            runs, name = self._asking.runs, flat(self._asking.key)
            names = ", ".join(
                f"{short_id(flat(run.job_id))} step {run.step_number}" for run in runs
            )
            asked = f" {names}: take {name} as defined now, from the next step on? "
            return line((asked, "strong"))
        text, bad = self._said
        return line((f" {text}", "fail" if bad else "done")) if text else Line(())

    def _key_line(self) -> Line:
        if self._asking:
            return _keys(("y", "yes"), ("esc", "leave it"))
        hints = [("⏎", "ok: new runs use it")] if self._item is not None else []
        at_work = self._at_work
        if at_work and why_not_act(self.host) is None:
            hints.append(("T", f"take it in {count_of(len(at_work), 'run')} at work"))
        hints += [("d", "short" if self._full else "full diff")] if self._item is not None else []
        hints += [("[ ]", "next")] if len(self._items) > 1 else []
        return _keys(*hints, ("o", "open the file"), ("esc", "close"))

    # --- keys -------------------------------------------------------------------------------

    def on_paste(self, event: events.Paste) -> None:
        """Pasting does nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Keys of the sheet, once the keyboard was quiet."""
        event.stop()
        event.prevent_default()
        if not self._deliberate.admits():
            return
        if self._asking and event.character == "y":
            self._deliberate.decide(self._take_asked)
        elif self._asking:
            self._asking = None
        else:
            self._said = ("", False)
            self._key(event)
        if self.is_mounted:
            self.refresh_view()

    def _key(self, event: events.Key) -> None:
        key = event.character if event.character and event.character.isprintable() else event.key
        match key:
            case "escape" | "enter" | "q" | "ctrl+r":
                self.dismiss(None)
            case "d":
                self._full = not self._full
            case "]" | "[":
                last = max(0, len(self._items) - 1)
                self._at = max(0, min(last, self._at + (1 if key == "]" else -1)))
                self._pane.scroll_lines(-len(self._pane.lines))
            case "T":
                self._ask()
            case "o" | "e":
                self._open_file()
            case _:
                self._scroll(key)

    def _scroll(self, key: str) -> None:
        page = max(1, self._pane.inner_height - 1)
        by = {**_SCROLLS, "pagedown": page, "pageup": -page}.get(key, 0)
        self._pane.scroll_lines(by)

    def _open_file(self) -> None:
        item = self._item
        experts = self.host.state.definitions.experts
        key = item.diff.key if item is not None and item.diff is not None else None
        line_of = next((one.line for one in experts if one.key == key), None)
        wrong = self.host.state.definitions.error
        open_definitions_file(self.host, None if wrong else line_of)

    # --- taking what is defined now ---------------------------------------------------------

    def _ask(self) -> None:
        refused, item = why_not_act(self.host), self._item
        chosen = [run for run in self._at_work if run.run_id == self._pane.selected]
        runs = tuple(chosen) or self._at_work
        if refused is not None or item is None or item.diff is None or not runs:
            self._said = (refused or "no run at work has the old one", True)
        else:
            self._asking = _Asked(runs, item.diff.key, self.host.state.definitions.saves)

    def _drop_outdated(self) -> None:
        """What was saved since it was asked is not what was read: ask anew."""
        if self._asking and self._asking.saves != self.host.state.definitions.saves:
            self._asking = None
            self._said = ("perstack.toml was saved again: read it, then press T anew", True)

    def _take_asked(self) -> None:
        self._drop_outdated()
        asked, self._asking = self._asking, None
        if asked is None or self._is_left:
            return
        for run in asked.runs:
            self._take(run, asked.key)
        self.refresh_view()

    def _take(self, run: RunView, key: ExpertKey) -> None:
        name = f"{short_id(flat(run.job_id))} {flat(key)}"

        async def take(gateway: Gateway) -> None:
            version = await gateway.steering.take_definition(Target(run.job_id, run.run_id), key)
            self._tell(f"{name} uses {flat(version)} from its next step on", bad=False)

        self.host.command(take, lambda error: self._refused(name, error))

    def _refused(self, name: str, error: PerstackError) -> None:
        self._tell(f"{name}: {told(error)}", bad=True)

    def _tell(self, text: str, *, bad: bool) -> None:
        self._said = (text, bad)
        if self.is_mounted:
            self.refresh_view()


class ExpertSheet(Sheet[None]):
    """An Expert's definition in full, as it is now."""

    def __init__(self, host: Host, key: ExpertKey) -> None:
        super().__init__(host)
        self._key = key
        self._pane = Pane(id="definition", measured=True)

    def compose(self) -> ComposeResult:
        """The definition and the keys."""
        yield self._pane
        yield Bar(id="definition-keys")

    def on_mount(self) -> None:
        """The pane has the keyboard."""
        self._pane.focus()

    def refresh_view(self) -> None:
        """Paint the definition as it is now."""
        if not self.is_mounted:
            return
        definitions = self.host.state.definitions
        found = next((one for one in definitions.experts if one.key == self._key), None)
        width = self._pane.inner_width
        lines = definition_lines(found, definitions, width) if found is not None else [_GONE]
        self._pane.show(lines, frame=Frame(f"Expert · {flat(self._key)}"))
        keys = _keys(("j/k", "scroll"), ("n", "start it"), ("e", "edit it"), ("esc", "close"))
        self.query_one("#definition-keys", Bar).show(keys)

    def on_key(self, event: events.Key) -> None:
        """Scroll, start, edit, close."""
        event.stop()
        event.prevent_default()
        page = max(1, self._pane.inner_height - 1)
        match event.key:
            case "escape" | "enter" | "q" | "h" | "left":
                self.dismiss(None)
            case "n":
                self.dismiss(None)
                self._start()
            case "e" | "o":
                self._edit()
            case "g" | "home":
                self._pane.move_to_end(last=False)
            case "G" | "shift+g" | "end":
                self._pane.move_to_end(last=True)
            case key:
                self._pane.scroll_lines(
                    {**_SCROLLS, "pagedown": page, "pageup": -page, "space": page}.get(key, 0)
                )
        if self.is_mounted:
            self.refresh_view()

    def _start(self) -> None:
        refused = why_not_act(self.host)
        if refused is None:
            self.host.open_sheet(NewRunSheet(self.host, self._key))
        else:
            self.host.tell(refused, "bad")

    def _edit(self) -> None:
        definitions = self.host.state.definitions
        found = next((one for one in definitions.experts if one.key == self._key), None)
        if definitions.path is not None and found is not None:
            self.host.edit_file(definitions.path, found.line or 1)


_GONE: Final = note("It is defined no more; runs at work keep their definition.")


def _keys(*hints: tuple[str, str]) -> Line:
    spans: list[Span] = []
    for key, word in hints:
        spans.append((f" {key}", "accent"))
        spans.append((f" {word} ", "muted"))
    return Line(tuple(spans))
