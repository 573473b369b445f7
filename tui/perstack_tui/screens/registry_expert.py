"""An Expert of the registry in full: its delegates are walked into, its versions looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual import events
from textual.app import ComposeResult

from perstack_tui.deeds.items import why_not_act
from perstack_tui.ports.host import Host
from perstack_tui.ports.registry import Card
from perstack_tui.screens.adding import Adding
from perstack_tui.screens.registry_deeds import key_line, run_it
from perstack_tui.screens.registry_loading import WalkLoading
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import Line, line, note
from perstack_tui.state.registry import Link, Walk
from perstack_tui.text import flat, wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_SCROLLS: Final = {"j": 1, "down": 1, "J": 1, "k": -1, "up": -1, "K": -1}


class RegistryExpertSheet(Sheet[bool]):
    """Tab chooses a delegate or a version, enter reads it, escape goes back the way one came.

    Gives True once a run was started from it.
    """

    def __init__(self, host: Host, key: str) -> None:
        super().__init__(host)
        self.walk = Walk()
        self.loader = WalkLoading(host, self.walk, self._changed)
        self._first = key
        self._adding = Adding(host, self._say)
        self._said = ""
        self._pane = Pane(id="registry-expert", measured=True)
        self._deeds: dict[str, Callable[[], None]] = {
            **dict.fromkeys(("escape", "h", "left", "backspace"), self._back),
            **dict.fromkeys(("enter", "l", "right"), self._follow),
            "tab": lambda: self._choose(1),
            "shift+tab": lambda: self._choose(-1),
            "n": self._run,
            "a": self._add,
            "u": self._adding.take_back,
            "y": self._copy,
            "r": self._again,
            "q": self._leave,
        }

    def compose(self) -> ComposeResult:
        """The Expert, what was said, the keys."""
        yield self._pane
        yield Bar(id="registry-expert-notice")
        yield Bar(id="registry-expert-keys")

    def on_mount(self) -> None:
        """Ask for it."""
        self._pane.focus()
        self._go(self._first)

    def on_unmount(self) -> None:
        """Ask nothing any more."""
        self.loader.close()

    def _changed(self) -> None:
        if self.is_mounted:
            self.refresh_view()

    def _say(self, why: str) -> None:
        """Say why something was not done; nothing, when only the keys are others now."""
        if self.can_paint:
            self._said = why
            self.refresh_view()
        elif why:
            self.host.tell(why, "bad")

    # --- painting ---------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """Paint what is known now."""
        if not self.is_mounted or not self.query("#registry-expert-keys"):
            return
        walk, width = self.walk, self._pane.inner_width
        shown = walk.card.expert.key if walk.card is not None else self._first
        lines = walk.lines(width) or self._waiting(width)
        steps = len(walk.way)
        frame = Frame(f"Registry · {flat(shown)}", f"{steps} deep" if steps > 1 else "")
        self._pane.show(lines, selected=walk.chosen, frame=frame)
        self.query_one("#registry-expert-notice", Bar).show(self._notice())
        self.query_one("#registry-expert-keys", Bar).show(self._key_line())

    def _waiting(self, width: int) -> list[Line]:
        walk = self.walk
        if not walk.problem:
            return [note(f"Asking the registry for {flat(walk.wanted)}…")]
        lines = [line((text, "strong")) for text in wrap(walk.problem, width)]
        return [*lines, *(note(text) for text in wrap(walk.hint, width) if walk.hint)]

    def _notice(self) -> Line:
        walk = self.walk
        if self._said:
            return line((f" ✗ {flat(self._said)}", "fail"))
        if walk.problem and walk.card is not None:
            hint = f" - {walk.hint}" if walk.hint else ""
            return line((f" ✗ {flat(walk.problem + hint)}", "fail"))
        if self.loader.busy and walk.wanted and walk.card is not None:
            return line((f" ● asking the registry for {flat(walk.wanted)}…", "run"))
        return line()

    def _key_line(self) -> Line:
        hints = [("j/k", "scroll")]
        if self.walk.links:
            hints.append(("tab", "choose"))
        if self.walk.chosen is not None:
            hints.append(("⏎", "read it"))
        if self.walk.card is not None and why_not_act(self.host) is None:
            added = self._adding.added
            hints += [("n", "run"), ("a", "add" if added else "add as delegate")]
            hints += [("u", "undo")] if added else []
        hints += [("y", "copy")] if self.walk.card is not None else [("r", "again")]
        return key_line(*hints, ("esc", "back" if len(self.walk.way) > 1 else "close"))

    # --- keys -------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Scroll, choose, read, run, add, go back."""
        event.stop()
        event.prevent_default()
        key = event.character if event.character and event.character.isprintable() else event.key
        self._said = ""
        self._adding.note_key()
        self._key(key)
        if self.is_mounted:
            self.refresh_view()

    def _key(self, key: str) -> None:
        page = max(1, self._pane.inner_height - 1)
        everything = len(self._pane.lines)
        scrolls = {**_SCROLLS, "pagedown": page, " ": page, "pageup": -page}
        scrolls |= {"g": -everything, "home": -everything, "G": everything, "end": everything}
        if (deed := self._deeds.get(key)) is not None:
            deed()
        else:
            self._pane.scroll_lines(scrolls.get(key, 0))

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Choose what was clicked."""
        event.stop()
        if isinstance(event.key, Link):
            self.walk.chosen = event.key
            self.refresh_view()

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Read what was double-clicked."""
        event.stop()
        if isinstance(event.key, Link):
            self.walk.chosen = event.key
            self._follow()

    def _choose(self, by: int) -> None:
        link = self.walk.step(by)
        if link is not None:
            # Shown at once, so that the pane scrolls to it.
            self._pane.show(self._pane.lines, selected=link)

    def _leave(self) -> None:
        self.dismiss(False)

    def _follow(self) -> None:
        if (link := self.walk.chosen) is not None:
            self._go(link.key, same=link.kind == "version")

    def _run(self) -> None:
        if self.walk.card is not None:
            run_it(self.host, self.walk.card.expert, self._run_is_there)

    def _run_is_there(self) -> None:
        self.dismiss(True)

    def _copy(self) -> None:
        if self.walk.card is not None:
            self.host.copy(self.walk.card.expert.key, "the key")

    def _add(self) -> None:
        if self.walk.card is not None:
            self._adding.add(self.walk.card.expert)

    # --- going about ------------------------------------------------------------------------

    def _go(self, key: str, *, same: bool = False) -> None:
        """Read an Expert; `same`: another version of the one that is shown, in its place."""

        def arrived(card: Card) -> None:
            self.walk.arrive(card, left_at=self._pane.top, instead=same)
            self._show(0)

        self.loader.read(key, arrived)

    def _show(self, top: int) -> None:
        if self.is_mounted:
            self.refresh_view()
            self._pane.scroll_lines(top - self._pane.top)

    def _again(self) -> None:
        if self.walk.wanted and not self.loader.busy:
            self._go(self.walk.wanted)

    def _back(self) -> None:
        if self.walk.wanted and self.walk.card is not None:
            # What was asked for may take long: the first escape gives that up.
            self.loader.drop()
            self.walk.problem = self.walk.hint = ""
        elif (before := self.walk.back()) is not None:
            self._show(before.top)
        else:
            self._leave()
