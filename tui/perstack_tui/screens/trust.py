"""What a configuration that was found asks for, shown whole before any of it happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from anyio import to_thread
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from perstack.config.untrusted import Demand, UntrustedError
from perstack_tui.deliberate import Deliberate
from perstack_tui.ports.host import Host
from perstack_tui.ports.registry import UntrustedExpertsError
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.state.reading import Reading
from perstack_tui.state.wording import count_of
from perstack_tui.text import wrap
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_AT_ONCE = 50_000
_FOUND = (
    "It was found in this folder, not named by you, and asks for more than its Experts' "
    "own tools. It would:"
)
_FETCHED = "These come from others. This is all that they are, and what starting one would do:"


class TrustSheet(Sheet[bool]):
    """Gives True for accepting. Nothing is accepted before its last line was on the screen."""

    def __init__(self, host: Host, error: UntrustedError) -> None:
        super().__init__(host)
        self._demands = error.demands
        self._cards: Mapping[Demand, Sequence[str]] = (
            error.cards if isinstance(error, UntrustedExpertsError) else {}
        )
        self._fetched = any(demand.kind == "expert" for demand in error.demands)
        self._deliberate = Deliberate(host, self._refused)
        self._reading = Reading()
        self._error = ""
        self._made: tuple[int, list[Line]] | None = None
        self._preparing = 0
        self._pane = Pane(id="trust", measured=True)

    def compose(self) -> ComposeResult:
        """The list, and what the keys do."""
        with Vertical(id="trust-sheet"):
            yield self._pane
            yield Bar(id="trust-keys")

    def on_mount(self) -> None:
        """Take the keyboard."""
        self._deliberate.restart()
        self._pane.focus()

    def refresh_view(self) -> None:
        """Paint the list as wide as it may be."""
        if self.is_mounted:
            self._pane.show(self._lines(), frame=Frame(self._title))
            self._paint_keys()
            # What counts as seen is what is painted, not what was merely scrolled past.
            self.call_after_refresh(self._note_read)

    def on_paste(self, event: events.Paste) -> None:
        """Pasting accepts nothing, nor do keys that come right behind it."""
        event.stop()
        self._deliberate.restart()

    def on_key(self, event: events.Key) -> None:
        """Scroll, accept or leave. Enter accepts nothing."""
        event.stop()
        event.prevent_default()
        if not self._deliberate.admits():
            return
        self._error = ""
        if (by := self._scrolls(event.key)) is not None:
            self._pane.scroll_lines(by)
        elif event.key == "escape":
            self.dismiss(False)
        elif event.character in ("a", "y"):
            self._deliberate.decide(self._accept)
        else:
            # A key that means nothing here is text that was meant for somewhere else.
            self._deliberate.restart()
        self.refresh_view()

    def _scrolls(self, key: str) -> int | None:
        """Return by how many lines a key scrolls, None for one that does not."""
        page, everything = max(1, self._pane.inner_height - 1), len(self._pane.lines)
        steps = dict.fromkeys(("j", "down"), 1) | dict.fromkeys(("k", "up"), -1)
        steps |= {"pagedown": page, "space": page, "pageup": -page}
        steps |= dict.fromkeys(("G", "shift+g", "end"), everything)
        steps |= dict.fromkeys(("g", "home"), -everything)
        return steps.get(key)

    def _accept(self) -> None:
        if self._is_read:
            self.dismiss(True)
        else:
            # Whoever presses what cannot be done is not looking: the next key waits, too.
            self._deliberate.restart()
            self._refused(f"read it to its end first{self._left}, with ↓ or page down")

    def _refused(self, why: str) -> None:
        self._error = why
        self.refresh_view()

    @property
    def _is_read(self) -> bool:
        return "all" in self._reading.read

    @property
    def _left(self) -> str:
        """How many lines were not on the screen yet, behind a colon; nothing before any was."""
        left = self._reading.left("all")
        return f": {count_of(left, 'more line')}" if left else ""

    def _note_read(self) -> None:
        pane = self._pane
        if self.is_mounted and self._made is not None and pane.inner_height > 0:
            seen = range(pane.top, pane.top + pane.inner_height)
            self._reading.saw("all", pane.inner_width, len(pane.lines), seen)
            self._paint_keys()

    def _paint_keys(self) -> None:
        bar = self.query_one("#trust-keys", Bar)
        if self._error:
            bar.show(line((f" ✗ {self._error}", "fail")))
            return
        to_come = f"accept, once read to the end{self._left}"
        accept = f" {'accept and go on' if self._is_read else to_come}  "
        bar.show(
            line(
                (" y" if self._fetched else " a", "accent" if self._is_read else "muted"),
                (accept, "muted"),
                ("↑↓", "accent"),
                (" read  ", "muted"),
                ("esc", "accent"),
                (" start nothing", "muted"),
            )
        )

    @property
    def _title(self) -> str:
        return "Run Experts of the registry?" if self._fetched else "Trust this perstack.toml?"

    def _lines(self) -> list[Line]:
        """Return all of it, wrapped once for a width."""
        width = max(10, self._pane.inner_width - 2)
        if self._made is not None and self._made[0] == width:
            return self._made[1]
        if sum(len(said) for card in self._cards.values() for said in card) > _AT_ONCE:
            self._prepare(width)
            return [BLANK, note(" Laying it out: it is long.")]
        self._made = (width, self._wrapped(width))
        return self._made[1]

    def _prepare(self, width: int) -> None:
        """Wrap in a thread what would hold the screen up."""
        if self._preparing == width:
            return
        self._preparing, self._made = width, None

        async def prepare() -> None:
            lines = await to_thread.run_sync(self._wrapped, width, abandon_on_cancel=True)
            self._made, self._preparing = (width, lines), 0
            self.refresh_view()

        self.run_worker(prepare, group="trust", exclusive=True)

    def _wrapped(self, width: int) -> list[Line]:
        own = [demand for demand in self._demands if demand.kind != "expert"]
        fetched = [demand for demand in self._demands if demand.kind == "expert"]
        lines: list[Line] = []
        for intro, demands in ((_FOUND, own), (_FETCHED, fetched)):
            if demands:
                lines += [
                    BLANK,
                    *(line((f" {text}", "text")) for text in wrap(intro, width)),
                    BLANK,
                ]
                lines += [each for demand in demands for each in self._demand(demand, width)]
        closing = "Accepted once; asked again when one of these changes."
        return [*lines, BLANK, *(line((f" {text}", "muted")) for text in wrap(closing, width))]

    def _demand(self, demand: Demand, width: int) -> Iterator[Line]:
        first, *others = wrap(demand.text, width - 2) or [""]
        yield line((" • ", "accent"), (first, "strong"))
        yield from (line((f"   {text}", "strong")) for text in others)
        card = self._cards.get(demand, ())
        for said in card:
            yield from (line((f"     {text}", "text")) for text in wrap(said, width - 5))
        if card:
            yield BLANK
