"""Choosing a theme: it is worn as one moves, kept on enter, and put back on escape."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.app import ComposeResult

from perstack_tui.ports.host import Host
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.state.wording import LOOKS
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane

_ABOUT: Final = {
    "dark": "the usual one",
    "light": "for a light room",
    "high-contrast": "7:1 at least",
    "deuteranopia": "blue, yellow, orange",
    "terminal": "the terminal's colours",
    "mono": "no colour at all",
}


class ThemeSheet(Sheet[None]):
    """The list at the edge, so that the screen behind it shows what each looks like."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._before = host.theme_name

    def compose(self) -> ComposeResult:
        """One pane."""
        yield Pane(id="themes")

    def on_mount(self) -> None:
        """Show the themes, the one that is worn selected."""
        self.query_one(Pane).focus()
        self.refresh_view()

    def refresh_view(self) -> None:
        """Show the themes there are now."""
        self.query_one(Pane).show(
            theme_lines(self.host.theme_names, self._before),
            selected=self.host.theme_name,
            frame=Frame("Theme", "", "j/k try · ⏎ keep · esc back"),
        )

    def on_key(self, event: events.Key) -> None:
        """Try, keep or go back."""
        event.stop()
        event.prevent_default()
        names = self.host.theme_names
        worn = self.host.theme_name
        at = names.index(worn) if worn in names else 0
        match event.key:
            case "escape" | "q":
                self.host.try_theme(self._before if self._before in names else names[0])
                self.dismiss(None)
            case "enter":
                self.host.set_theme(worn)
                self.dismiss(None)
            case "j" | "down" | "ctrl+t":
                self._try(names[(at + 1) % len(names)])
            case "k" | "up":
                self._try(names[at - 1])
            case "g" | "home":
                self._try(names[0])
            case "G" | "end":
                self._try(names[-1])
            case _:
                pass

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        """Try what was clicked."""
        event.stop()
        if isinstance(event.key, str):
            self._try(event.key)

    def _try(self, name: str) -> None:
        if name in self.host.theme_names:
            self.host.try_theme(name)
        self.refresh_view()


def theme_lines(names: tuple[str, ...], before: str) -> list[Line]:
    """Return a line a theme, then what the states and texts look like in the one worn."""
    lines = [
        line(
            (f" {name:<16}", "strong" if name == before else "text"),
            (_ABOUT.get(name, "yours"), "muted"),
            key=name,
        )
        for name in names
    ]
    lines += [BLANK, note(" What it looks like")]
    for look in LOOKS.values():
        lines.append(line((f"  {look.glyph} {look.word:<8}", look.role)))
    return [
        *lines,
        line(("  a heading  ", "heading"), ("code  ", "code"), ("link", "link")),
        line(("  + added  ", "added"), ("- removed  ", "removed"), ("found", "match")),
        line(("  ", "text"), (" SCRIPTED MODEL ", "warn-chip"), (" ", "text"), (" tab ", "chip")),
    ]
