"""All keys as lines: those of the pane one is in first; then what the states mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from perstack.projection.views import ScreenState
from perstack_tui.actions import BY_ID, Action, help_sections
from perstack_tui.state.filters import found_in
from perstack_tui.state.keymap import Keymap
from perstack_tui.state.layout import PaneName
from perstack_tui.state.lines import BLANK, Line, Span, line, note
from perstack_tui.state.wording import LOOKS
from perstack_tui.text import cell, wrap

_KEYS_WIDTH: Final = 9
_TITLES: Final[dict[PaneName, str]] = {
    "tree": "In the delegation tree",
    "timeline": "In the timeline",
    "agents": "In the agents",
    "inbox": "In the inbox",
    "stream": "In the stream",
    "experts": "In the Experts",
}
_HERE: Final[dict[PaneName, tuple[tuple[str, str], ...]]] = {
    "tree": (
        ("open", "Fold a job, or read the run"),
        ("left", "Close the job"),
        ("right", "Open the job"),
        ("mark", "Mark the run"),
        ("filter", "Filter: words, !word, ~letters"),
        ("stop", "Stop the run, and what it delegated"),
        ("reply", "Answer, steer or follow up"),
    ),
    "timeline": (
        ("left", "The checkpoint before"),
        ("right", "The checkpoint after"),
        ("lane_up", "The lane above"),
        ("lane_down", "The lane below"),
        ("open", "Travel to the checkpoint"),
        ("diff", "What its step changed"),
        ("mark_moment", "Remember it as A"),
        ("compare", "Compare A with it"),
    ),
    "agents": (
        ("open", "Read the run"),
        ("sort", "Sort: then the letter of a column"),
        ("filter", "Filter: words, !word, ~letters"),
        ("mark", "Mark the run"),
        ("cost", "Cost alone, or with what it delegated"),
        ("stop", "Stop the run, or those marked"),
        ("reply", "Answer, steer or follow up"),
    ),
    "inbox": (
        ("open", "Review the gate, answer the question"),
        ("approve", "Approve: low risk at once, else in the review"),
        ("reject", "Reject, with a note"),
        ("undo", "Take back what is still held"),
        ("mark", "Mark; several are decided at once"),
        ("next_item", "The next item"),
        ("filter", "Filter: high, ask, words"),
    ),
    "stream": (
        ("up", "Scroll; it stays where you read"),
        ("last", "To the end, and follow it"),
        ("follow", "Follow the end, or stay"),
        ("open", "Show all of it, and short again"),
        ("filter", "Search"),
        ("next_match", "The next match, while something is searched"),
        ("previous_match", "The match before"),
        ("wrap", "Wrap long lines, or cut them"),
        ("times", "Times, or none"),
    ),
    "experts": (
        ("open", "Show the definition"),
        ("new_run", "Start the Expert"),
        ("edit", "Edit its definition"),
        ("definitions", "What the last save changed"),
    ),
}
MEANINGS: Final[dict[ScreenState, str]] = {
    "gate": "waits for your approval",
    "asks": "waits for your answer",
    "stall": "nothing heard for two minutes; its process lives",
    "lost": "its process is gone; i goes on from the last checkpoint",
    "run": "at work",
    "waits": "waits for the runs it delegated to",
    "fail": "ended in error",
    "limit": "reached its step limit or a budget",
    "stop": "paused, or stopped; i goes on with what was stopped",
    "idle": "nothing runs",
    "done": "completed",
}
_CLOSING: Final = (
    "Nothing here takes the keyboard by itself: gates and questions wait in the inbox.",
    "In a review, Enter and pasting decide nothing.",
    "Keys are set in cockpit.toml, under [keys] by the names on the right.",
    "They count as soon as the file is saved.",
)


def help_lines(keymap: Keymap, pane: PaneName, needle: str = "", width: int = 74) -> Sequence[Line]:
    """Return the keys that match `needle`, and the states."""
    lines: list[Line] = [*_problems(keymap, width)] if not needle else []
    here = [
        _key_line(keymap, BY_ID[name], words, width)
        for name, words in _HERE[pane]
        if found_in(f"{words} {name} {keymap.shown(name)}", needle)
    ]
    lines += _section(_TITLES[pane], here)
    for title, actions in help_sections():
        found = [
            _key_line(keymap, action, action.help, width)
            for action in actions
            if found_in(
                f"{action.help} {action.label} {action.id} {keymap.shown(action.id)}", needle
            )
        ]
        lines += _section(title, found)
    states = [
        line((f"  {look.glyph} {look.word:<6}", look.role), (MEANINGS[state], "text"))
        for state, look in LOOKS.items()
        if found_in(f"{look.word} {MEANINGS[state]} state", needle)
    ]
    lines += _section("States", states)
    if not needle:
        lines += [
            BLANK,
            *(note(f"  {row}") for words in _CLOSING for row in wrap(words, width - 4)),
        ]
    return lines or [BLANK, note("No key is described like that.")]


def _section(title: str, lines: Sequence[Line]) -> list[Line]:
    return [BLANK, line((title, "strong")), *lines] if lines else []


def _key_line(keymap: Keymap, action: Action, words: str, width: int) -> Line:
    keys = keymap.shown(action.id) or "-"
    right: tuple[Span, ...] = ((f" {action.id}", "muted"),) if width >= 60 else ()
    return Line(((f"  {cell(keys, _KEYS_WIDTH)} ", "accent"), (words, "text")), right)


def _problems(keymap: Keymap, width: int) -> Sequence[Line]:
    if not keymap.problems:
        return ()
    rows = [row for problem in keymap.problems for row in wrap(f"✗ {problem}", width - 4)]
    return (BLANK, line(("Keys that do not work as set", "fail")), *(note(f"  {r}") for r in rows))
