"""Which panes are on the screen and how large, for a terminal size and the active pane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PaneName = Literal["tree", "timeline", "agents", "inbox", "stream", "experts"]
PANES: Final[tuple[PaneName, ...]] = (
    "tree",
    "timeline",
    "agents",
    "inbox",
    "stream",
    "experts",
)
TITLES: Final[dict[PaneName, str]] = {
    "tree": "1 Tree",
    "timeline": "2 Timeline",
    "agents": "3 Agents",
    "inbox": "4 Inbox",
    "stream": "5 Stream",
    "experts": "6 Experts",
}
DESK_COLUMNS: Final = 100
WALL_COLUMNS: Final = 160
TIMELINE_ROWS: Final = 30
PEEK_ROWS: Final = 7


@dataclass(frozen=True, slots=True)
class Arrangement:
    """`heights` holds fixed rows, frame included; a visible pane without one takes the rest.

    `left_columns` is 0 where there is one column, the tabs.
    """

    visible: frozenset[PaneName]
    heights: dict[PaneName, int]
    left_columns: int

    @property
    def tabs(self) -> bool:
        """Whether one pane is shown at a time."""
        return self.left_columns == 0


def arrange(columns: int, rows: int, active: PaneName) -> Arrangement:
    """Return what is shown at this size while `active` has the focus."""
    if columns < DESK_COLUMNS:
        return _tabs(rows, active)
    body = max(4, rows - 4)
    heights: dict[PaneName, int] = {
        "inbox": max(6, body * 2 // 5),
        "agents": max(6, min(16, body // 3)),
    }
    visible: set[PaneName] = {"tree", "inbox", "agents", "stream", "timeline"}
    if rows >= TIMELINE_ROWS:
        heights["timeline"] = max(7, min(14, body // 4))
    else:
        visible.discard("stream" if active == "timeline" else "timeline")
    return Arrangement(frozenset(visible), heights, 50 if columns >= WALL_COLUMNS else 43)


def _tabs(rows: int, active: PaneName) -> Arrangement:
    """One pane; below a list, the stream of what is selected in it."""
    if active in ("stream", "timeline") or rows < 18:
        return Arrangement(frozenset({active}), {}, 0)
    return Arrangement(frozenset({active, "stream"}), {"stream": PEEK_ROWS}, 0)
