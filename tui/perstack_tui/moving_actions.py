"""What an action of the main screen is, and those that only go about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Group = Literal["move", "work", "decide", "time", "view", "program"]


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


MOVING: Final[tuple[Action, ...]] = (
    Action(
        "pane_tree", "1", "1", "Tree", "Delegation tree: who works for whom; again: zoom", "move"
    ),
    Action(
        "pane_timeline",
        "2",
        "2",
        "Timeline",
        "Checkpoints of the job, a lane a run; again: zoom",
        "move",
    ),
    Action(
        "pane_agents",
        "3",
        "3",
        "Agents",
        "Every run of every process in this folder; again: zoom",
        "move",
    ),
    Action(
        "pane_inbox", "4", "4", "Inbox", "What waits for you, what was decided; again: zoom", "move"
    ),
    Action(
        "pane_stream",
        "5",
        "5",
        "Stream",
        "What the selected run says and does; again: zoom",
        "move",
    ),
    Action("pane_experts", "6", "6", "Experts", "What perstack.toml defines; again: zoom", "move"),
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
    Action(
        "detail_down",
        "J,shift+j",
        "J",
        "Scroll the detail",
        "Scroll the stream down; the list keeps the focus",
        "move",
        palette=False,
    ),
    Action(
        "detail_up",
        "K,shift+k",
        "K",
        "Scroll the detail",
        "Scroll the stream up; the list keeps the focus",
        "move",
        palette=False,
    ),
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
        "lane_up",
        "H,shift+h",
        "H",
        "Lane above",
        "The lane above; the checkpoint nearest in time",
        "move",
        palette=False,
    ),
    Action(
        "lane_down",
        "L,shift+l",
        "L",
        "Lane below",
        "The lane below; the checkpoint nearest in time",
        "move",
        palette=False,
    ),
    Action(
        "open",
        "enter",
        "⏎",
        "open",
        "Open: review, answer, fold, read, travel; in the stream: show all of it",
        "move",
        2,
        palette=False,
    ),
    Action(
        "back",
        "escape",
        "esc",
        "Back",
        "Leave what is open; clear marks, then the filter",
        "move",
        palette=False,
    ),
    Action(
        "goto",
        "colon",
        ":",
        "go to",
        "Go to by name: :agents run, :job 8f3a, :expert writer, :tasks",
        "move",
        10,
    ),
    Action(
        "jump",
        "semicolon",
        ";",
        "Jump",
        "A letter on every line and pane; press it to go there",
        "move",
    ),
    Action("last_view", "minus", "-", "Last view", "Where you were before", "move"),
    Action(
        "history_back", "left_curly_bracket", "{", "Earlier view", "Back through the views", "move"
    ),
    Action(
        "history_forward",
        "right_curly_bracket",
        "}",
        "Later view",
        "Forward through the views",
        "move",
    ),
    Action(
        "next_item",
        "right_square_bracket",
        "]",
        "Next item",
        "Next inbox item, file or changed Expert",
        "move",
        palette=False,
    ),
    Action(
        "previous_item",
        "left_square_bracket",
        "[",
        "Previous item",
        "Previous inbox item, file or changed Expert",
        "move",
        palette=False,
    ),
    Action(
        "next_match",
        "",
        "n",
        "Next match",
        "The next match, while the stream is searched",
        "move",
        palette=False,
    ),
    Action(
        "previous_match",
        "N,shift+n",
        "N",
        "Previous match",
        "The match before",
        "move",
        palette=False,
    ),
)
