"""Every action of the main screen, once: its keys, its words, its place in footer and palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["move", "work", "decide", "view", "program"]


@dataclass(frozen=True, slots=True)
class Action:
    """`keys` in Textual's names, comma separated; `shown` is how a person reads them.

    `footer` orders the footer's hints, 0 leaves the action out of it.
    """

    id: str
    keys: str
    shown: str
    label: str
    help: str
    group: Group
    footer: int = 0
    palette: bool = True


GROUP_TITLES: Final[dict[Group, str]] = {
    "move": "Move",
    "work": "Work",
    "decide": "Decide and answer",
    "view": "Look",
    "program": "Program",
}

ACTIONS: Final[tuple[Action, ...]] = (
    Action("pane_tree", "1", "1", "Tree", "Delegation tree: who works for whom", "move"),
    Action("pane_timeline", "2", "2", "Timeline", "Checkpoints of the job, a lane a run", "move"),
    Action("pane_agents", "3", "3", "Agents", "Every run of every process in this folder", "move"),
    Action("pane_inbox", "4", "4", "Inbox", "What waits for you, what was decided", "move"),
    Action("pane_stream", "5", "5", "Stream", "What the selected run says and does", "move"),
    Action("next_pane", "tab", "tab", "Next pane", "Go to the next pane", "move", palette=False),
    Action(
        "previous_pane",
        "shift+tab",
        "⇧tab",
        "Previous pane",
        "Go to the previous pane",
        "move",
        palette=False,
    ),
    Action("down", "j,down", "j ↓", "Down", "Next line", "move", palette=False),
    Action("up", "k,up", "k ↑", "Up", "Previous line", "move", palette=False),
    Action(
        "page_down", "pagedown,ctrl+d", "pgdn", "Page down", "A page down", "move", palette=False
    ),
    Action("page_up", "pageup,ctrl+u", "pgup", "Page up", "A page up", "move", palette=False),
    Action("first", "g,home", "g", "First", "First line", "move", palette=False),
    Action(
        "last",
        "G,shift+g,end",
        "G",
        "Last",
        "Last line; in the stream: follow",
        "move",
        palette=False,
    ),
    Action(
        "left", "h,left", "h ←", "Back", "Close a job; earlier checkpoint", "move", palette=False
    ),
    Action(
        "right", "l,right", "l →", "Forward", "Open a job; later checkpoint", "move", palette=False
    ),
    Action(
        "open",
        "enter",
        "⏎",
        "open",
        "Open: review, answer, fold, read; in the stream: show all of it",
        "move",
        2,
        palette=False,
    ),
    Action(
        "back",
        "escape",
        "esc",
        "Back",
        "Leave what is open; clear the filter",
        "move",
        palette=False,
    ),
    Action("new_run", "n", "n", "new", "Start an Expert on a task", "work", 3),
    Action(
        "reply",
        "i",
        "i",
        "reply",
        "Answer, follow up, or go on with a job that nothing runs",
        "work",
        4,
    ),
    Action("stop", "x", "x", "stop", "Stop the selected job (asks first)", "work", 7),
    Action("approve", "a", "a", "approve", "Review what waits for approval", "decide", 5),
    Action("reject", "r", "r", "reject", "Review what waits, to reject it", "decide", 6),
    Action("follow", "f", "f", "follow", "Follow the end of the stream, or stay", "view", 8),
    Action("filter", "slash", "/", "filter", "Filter the agents: words, !word excludes", "view", 9),
    Action("theme", "t", "t", "Theme", "Next theme: dark, light, mono", "view"),
    Action("help", "question_mark", "?", "help", "All keys", "program", 11),
    Action(
        "palette", "ctrl+p", "^p", "palette", "Find an action by name", "program", 10, palette=False
    ),
    Action("quit", "q", "q", "quit", "Leave; asks when runs would be affected", "program", 12),
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
    return name in ("open", "quit") or BY_ID[name].group in ("work", "decide")


def footer_actions() -> list[Action]:
    """Return the footer's actions in order."""
    return sorted((action for action in ACTIONS if action.footer), key=lambda action: action.footer)


def help_sections() -> list[tuple[str, list[Action]]]:
    """Return all actions by group."""
    return [
        (title, [action for action in ACTIONS if action.group == group])
        for group, title in GROUP_TITLES.items()
    ]
