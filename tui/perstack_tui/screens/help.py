"""All keys, from the registry."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from perstack_tui.actions import help_sections
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.lines import BLANK, Line, line, note
from perstack_tui.state.wording import LOOKS
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane


class HelpSheet(Sheet[None]):
    """Scrolls; escape or `?` closes it."""

    def compose(self) -> ComposeResult:
        """One pane."""
        yield Pane(id="help")

    def on_mount(self) -> None:
        """Fill the pane."""
        pane = self.query_one(Pane)
        pane.focus()
        pane.show(help_lines(), frame=Frame("Keys", "", "j/k scroll · esc close"))

    def on_key(self, event: events.Key) -> None:
        """Scroll or close."""
        event.stop()
        pane = self.query_one(Pane)
        match event.key:
            case "escape" | "question_mark" | "q":
                self.dismiss(None)
            case "j" | "down":
                pane.scroll_lines(1)
            case "k" | "up":
                pane.scroll_lines(-1)
            case "pagedown" | "space":
                pane.scroll_lines(pane.inner_height)
            case "pageup":
                pane.scroll_lines(-pane.inner_height)
            case _:
                pass


def help_lines() -> list[Line]:
    """Return every action by group, then what the states mean."""
    lines: list[Line] = []
    for title, actions in help_sections():
        lines += [BLANK, line((title, "strong"))]
        lines += [
            line((f"  {action.shown:<7}", "accent"), (action.help, "text")) for action in actions
        ]
    lines += [BLANK, line(("States", "strong"))]
    lines += [
        line((f"  {look.glyph} {look.word:<6}", look.role), (_MEANINGS[state], "text"))
        for state, look in LOOKS.items()
    ]
    return [
        *lines,
        BLANK,
        note("  Nothing here takes the keyboard by itself: gates and questions"),
        note("  wait in the inbox. In a review, Enter and pasting decide nothing."),
    ]


_MEANINGS = {
    "gate": "waits for your approval",
    "asks": "waits for your answer",
    "stall": "nothing heard for two minutes; its process lives",
    "lost": "its process is gone; i goes on from the last checkpoint",
    "run": "at work",
    "waits": "waits for the runs it delegated to",
    "fail": "ended in error",
    "limit": "reached its step limit",
    "stop": "paused, or stopped; i goes on with what was stopped",
    "idle": "nothing runs",
    "done": "completed",
}
