"""Which panes are on the screen and where, for a terminal size, the active pane and its zoom.

Five classes of size: `line` and `list` for what is left of a screen, `tabs` with one pane and a
peek at the stream, `desk` with two columns, `wall` with everything. Pure: a screen asks, places
its panes as told, and asks again when it is resized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

PaneName = Literal["tree", "timeline", "agents", "inbox", "stream", "experts"]
BarName = Literal["header", "tabs", "crumbs", "notice", "footer"]
SizeClass = Literal["line", "list", "tabs", "desk", "wall"]
Zoom = Literal["normal", "half", "full"]

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
ZOOMS: Final[tuple[Zoom, ...]] = ("normal", "half", "full")
LINE_COLUMNS: Final = 40
LINE_ROWS: Final = 8
LIST_ROWS: Final = 12
DESK_COLUMNS: Final = 100
WALL_COLUMNS: Final = 160
TIMELINE_ROWS: Final = 30
PEEK_ROWS: Final = 7
_LEAST_ROWS: Final = 4
_DESK_LEFT: Final = 43
_WALL_LEFT: Final = 52
_BARS: Final[dict[SizeClass, tuple[BarName, ...]]] = {
    "line": ("header",),
    "list": ("footer",),
    "tabs": ("header", "tabs", "notice", "crumbs", "footer"),
    "desk": ("header", "crumbs", "notice", "footer"),
    "wall": ("header", "crumbs", "notice", "footer"),
}


class Place(NamedTuple):
    """A rectangle in cells, counted from the body's top left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What is shown; `places` says where."""

    size: SizeClass
    active: PaneName
    zoom: Zoom
    peek: bool
    timeline: bool
    body: tuple[int, int]

    @property
    def tabs(self) -> bool:
        """Whether one pane is shown at a time."""
        return self.size in ("line", "list", "tabs")

    @property
    def framed(self) -> bool:
        """Whether panes have borders: on a screen of a few lines they would leave nothing."""
        return self.size != "line"

    @property
    def bars(self) -> tuple[BarName, ...]:
        """The single lines around the panes, from top to bottom."""
        return _BARS[self.size]

    @property
    def visible(self) -> frozenset[PaneName]:
        """The panes that are shown."""
        return frozenset(self.places(*self.body))

    def places(self, width: int, height: int) -> dict[PaneName, Place]:
        """Return where each visible pane is in a body of this size; nothing overlaps.

        The active pane is always among them, even where it has no cell.
        """
        whole = Place(0, 0, max(0, width), max(0, height))
        if self.zoom == "full":
            return {self.active: whole}
        if self.tabs:
            return self._tabs(whole)
        if self.zoom == "half":
            return self._half(whole)
        return self._wall(whole) if self.size == "wall" else self._desk(whole)

    def _tabs(self, whole: Place) -> dict[PaneName, Place]:
        below = whole.height // 2 if self.zoom == "half" else PEEK_ROWS
        alone = self.active == "stream" or (self.active == "timeline" and self.zoom == "normal")
        if alone or not self.peek or self.size != "tabs" or whole.height < PEEK_ROWS + 6:
            return {self.active: whole}
        return _stacked(whole, {self.active: whole.height - below, "stream": below}, self.active)

    def _half(self, whole: Place) -> dict[PaneName, Place]:
        beside: PaneName = "agents" if self.active == "stream" else "stream"
        half = whole.width // 2
        if self.active == "timeline":
            rows = whole.height // 2
            return _stacked(whole, {"stream": whole.height - rows, "timeline": rows}, "timeline")
        first, second = whole._replace(width=half), whole._replace(x=half, width=whole.width - half)
        if self.active == "stream":
            return {beside: first, self.active: second}
        return {self.active: first, beside: second}

    def _desk(self, whole: Place) -> dict[PaneName, Place]:
        left = whole._replace(width=_DESK_LEFT)
        right = whole._replace(x=_DESK_LEFT, width=whole.width - _DESK_LEFT)
        body = whole.height
        top: PaneName = "experts" if self.active == "experts" else "tree"
        inbox = max(6, body * 2 // 5)
        agents = max(6, min(16, body // 3))
        lanes = max(7, min(14, body // 4)) if self.timeline else 0
        rows: dict[PaneName, int] = {"agents": agents}
        rows[self._stream_or_timeline()] = body - agents - lanes
        if lanes:
            rows["timeline"] = lanes
        placed = _stacked(left, {top: body - inbox, "inbox": inbox}, self.active)
        return placed | _stacked(right, rows, self.active)

    def _wall(self, whole: Place) -> dict[PaneName, Place]:
        lanes = max(7, min(16, whole.height // 5)) if self.timeline else 0
        top = whole._replace(height=whole.height - lanes)
        left = top._replace(width=_WALL_LEFT)
        right = top._replace(x=_WALL_LEFT, width=top.width - _WALL_LEFT)
        agents = max(6, min(18, top.height // 3))
        inbox = max(44, min(64, right.width * 2 // 5))
        experts = max(6, min(16, top.height // 3))
        upper = right._replace(height=right.height - agents)
        if upper.height < _LEAST_ROWS:
            return self._desk(whole)
        placed = _stacked(left, {"tree": top.height - experts, "experts": experts}, self.active)
        placed[self._stream_or_timeline()] = upper._replace(width=upper.width - inbox)
        placed["inbox"] = upper._replace(x=upper.x + upper.width - inbox, width=inbox)
        placed["agents"] = right._replace(y=upper.height, height=agents)
        if lanes:
            placed["timeline"] = whole._replace(y=top.height, height=lanes)
        return placed

    def _stream_or_timeline(self) -> PaneName:
        """Return which of them has the stream's place: too few rows make the timeline a tab."""
        return "timeline" if self.active == "timeline" and not self.timeline else "stream"


def size_class(columns: int, rows: int) -> SizeClass:
    """Return the class of a terminal's size."""
    if columns < LINE_COLUMNS or rows < LINE_ROWS:
        return "line"
    if rows < LIST_ROWS:
        return "list"
    if columns < DESK_COLUMNS:
        return "tabs"
    return "desk" if columns < WALL_COLUMNS else "wall"


def arrange(
    columns: int, rows: int, active: PaneName, *, zoom: Zoom = "normal", peek: bool = True
) -> Arrangement:
    """Return what is shown at this size while `active` has the focus."""
    size = size_class(columns, rows)
    body = (columns, max(0, rows - len(_BARS[size])))
    return Arrangement(size, active, zoom, peek, rows >= TIMELINE_ROWS, body)


def zoomed(zoom: Zoom, by: int) -> Zoom:
    """Return the zoom `by` levels in (or out, below 0); it stops at the ends."""
    return ZOOMS[max(0, min(len(ZOOMS) - 1, ZOOMS.index(zoom) + by))]


def _stacked(
    column: Place, rows: Mapping[PaneName, int], active: PaneName
) -> dict[PaneName, Place]:
    """Return the panes below each other; where not all fit, those before the active one go."""
    names = _that_fit(list(rows), column.height, active)
    if len(names) == 1:
        return {names[0]: column}
    heights = {name: max(_LEAST_ROWS, rows[name]) for name in names}
    while (over := sum(heights.values()) - column.height) > 0:
        tallest = max(names, key=lambda name: heights[name])
        heights[tallest] -= min(over, heights[tallest] - _LEAST_ROWS)
    heights[active if active in names else names[0]] += -over
    placed: dict[PaneName, Place] = {}
    y = column.y
    for name in names:
        placed[name] = column._replace(y=y, height=heights[name])
        y += heights[name]
    return placed


def _that_fit(names: Sequence[PaneName], height: int, active: PaneName) -> list[PaneName]:
    kept = list(names)
    while len(kept) > 1 and len(kept) * _LEAST_ROWS > height:
        kept.remove(next(name for name in reversed(kept) if name != active))
    return kept
