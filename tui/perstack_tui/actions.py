"""Every action of the main screen, once: its keys, its words, its place in footer and palette."""

from __future__ import annotations

from typing import Final

from perstack_tui.moving_actions import MOVING, Action, Group

__all__ = ["ACTIONS", "BY_ID", "GROUP_TITLES", "Action", "Group"]

GROUP_TITLES: Final[dict[Group, str]] = {
    "move": "Move",
    "work": "Work",
    "decide": "Decide and answer",
    "time": "Travel in time",
    "view": "Look",
    "program": "Program",
}

ACTIONS: Final[tuple[Action, ...]] = (
    *MOVING,
    Action(
        "new_run",
        "n",
        "n",
        "new",
        "Start an Expert on a task; while something is searched: next match",
        "work",
        3,
    ),
    Action(
        "compare_runtimes",
        "",
        "",
        "Compare runtimes",
        "Have one task done on several runtimes and models, side by side",
        "work",
    ),
    Action(
        "registry",
        "E,shift+e",
        "E",
        "Registry",
        "Experts of the registry: search, read, run, add one as a delegate",
        "work",
    ),
    Action(
        "reply",
        "i",
        "i",
        "reply",
        "Answer, say something to a run at work, or follow up on a job",
        "work",
        4,
    ),
    Action(
        "edit",
        "e",
        "e",
        "Edit",
        "In $EDITOR: an Expert's definition, the file that an entry of the stream names",
        "work",
    ),
    Action(
        "stop",
        "x",
        "x",
        "stop",
        "Stop the selected run, or those marked (asks; names what stops)",
        "work",
        9,
    ),
    Action(
        "pause",
        "z",
        "z",
        "Pause or resume",
        "Have the run wait before its next step, or go on",
        "work",
        8,
    ),
    Action("retry", "full_stop", ".", "Retry", "Have a failed delegate done again", "work", 7),
    Action(
        "model",
        "M,shift+m",
        "M",
        "Change the model",
        "Another model from the run's next step on",
        "work",
        13,
    ),
    Action(
        "take",
        "T,shift+t",
        "T",
        "Take the new definition",
        "The run uses its Expert as defined now, from its next step on",
        "work",
        12,
    ),
    Action(
        "budget",
        "b",
        "b",
        "Raise the budget",
        "More steps, tokens, money or time for the job",
        "work",
        14,
    ),
    Action(
        "approve",
        "a",
        "a",
        "approve",
        "Approve: low risk from the list, else in the review",
        "decide",
        5,
    ),
    Action("reject", "r", "r", "reject", "Reject, with a note", "decide", 6),
    Action("undo", "u", "u", "Undo", "Take back a decision that is still held", "decide"),
    Action(
        "mark",
        "space",
        "space",
        "Mark",
        "Mark the line; several can be stopped or decided at once",
        "decide",
        palette=False,
    ),
    Action(
        "mark_range",
        "v",
        "v",
        "Mark a range",
        "Mark from here to where you press it again",
        "decide",
        palette=False,
    ),
    Action(
        "mark_all",
        "asterisk",
        "*",
        "Mark all",
        "Mark all that the filter shows",
        "decide",
        palette=False,
    ),
    Action("diff", "d", "d", "Diff", "What the step changed: messages and files", "time"),
    Action("mark_moment", "m", "m", "Mark A", "Remember this checkpoint as A", "time"),
    Action("compare", "c", "c", "Compare", "Compare A with this checkpoint, of any job", "time"),
    Action(
        "resume_here",
        "R,shift+r",
        "R",
        "Resume here",
        "Go on with the job from this checkpoint (later ones stay)",
        "time",
    ),
    Action(
        "fork_here",
        "F,shift+f",
        "F",
        "Fork here",
        "A new job from this checkpoint, files and all",
        "time",
    ),
    Action(
        "restore_files",
        "W,shift+w",
        "W",
        "Restore files",
        "Only the files, as they were at this checkpoint",
        "time",
    ),
    Action("follow", "f", "f", "follow", "Follow the end of the stream, or stay", "view", 10),
    Action(
        "filter",
        "slash",
        "/",
        "filter",
        "Filter the pane: words, !word excludes, ~letters fuzzily; in the stream: search",
        "view",
        11,
    ),
    Action("peek", "p", "p", "Peek", "Show or hide the stream's last lines below a list", "view"),
    Action("wrap", "w", "w", "Wrap", "Wrap long lines of tools, or cut them", "view"),
    Action("times", "t", "t", "Times", "Show times in the stream, or not", "view"),
    Action(
        "cost",
        "dollar_sign",
        "$",
        "Cost",
        "Cost of each run alone, or with what it delegated",
        "view",
    ),
    Action("sort", "s", "s", "Sort", "Sort the agents: then a column's letter", "view"),
    Action("zoom_in", "plus", "+", "Zoom in", "The pane at half, then full size", "view"),
    Action("zoom_out", "underscore", "_", "Zoom out", "The pane smaller again", "view"),
    Action(
        "definitions",
        "ctrl+r",
        "^r",
        "What changed",
        "What the last save of perstack.toml changed",
        "view",
    ),
    Action("copy", "y", "y", "Copy", "Copy text, id, JSON or the shell command", "view"),
    Action(
        "open_path",
        "o",
        "o",
        "Open",
        "Open the file that an entry names, at its line, in $EDITOR; copy its link",
        "view",
    ),
    Action("theme", "ctrl+t", "^t", "Theme", "Choose a theme, seen as you move", "view"),
    Action("repaint", "ctrl+l", "^l", "Repaint", "Paint everything anew", "view", palette=False),
    Action(
        "mouse",
        "",
        "",
        "Mouse on or off",
        "Give the mouse back to the terminal, or take it",
        "view",
    ),
    Action("svg", "", "", "Save a picture", "Save the screen as SVG; secrets are left out", "view"),
    Action(
        "settings",
        "",
        "",
        "Settings",
        "Edit cockpit.toml: theme, borders, mouse, keys; saved changes count at once",
        "view",
    ),
    Action("help", "question_mark", "?", "help", "All keys", "program", 16),
    Action(
        "palette", "ctrl+p", "^p", "palette", "Find an action by name", "program", 15, palette=False
    ),
    Action("quit", "q", "q", "quit", "Leave; asks when runs would be affected", "program", 17),
    Action(
        "suspend",
        "ctrl+z",
        "^z",
        "To the shell",
        "Stand still and go to the shell; fg comes back",
        "program",
    ),
    Action(
        "interrupt",
        "ctrl+c",
        "^c",
        "Quit now",
        "Twice within 1.5 s: stop what runs here and leave",
        "program",
        palette=False,
    ),
)
BY_ID: Final = {action.id: action for action in ACTIONS}


def is_deed(name: str) -> bool:
    """Say whether the action does something, or leads to it; looking about and help do not."""
    return name in ("open", "quit") or BY_ID[name].group in ("work", "decide", "time")


def footer_actions() -> list[Action]:
    """Return the footer's actions in order."""
    return sorted((action for action in ACTIONS if action.footer), key=lambda action: action.footer)


def help_sections() -> list[tuple[str, list[Action]]]:
    """Return all actions by group."""
    return [
        (title, [action for action in ACTIONS if action.group == group])
        for group, title in GROUP_TITLES.items()
    ]
