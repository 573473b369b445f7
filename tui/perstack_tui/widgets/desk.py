"""The part of the screen that holds the panes, each where the arrangement says."""

from __future__ import annotations

from collections.abc import Mapping

from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from perstack_tui.state.layout import Arrangement, PaneName, arrange
from perstack_tui.widgets.pane import Pane


class _Placed(Layout):
    """Puts panes where the desk's arrangement wants them: no styles, no fractions to resolve."""

    name = "placed"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        """Return the panes' regions in a body of `size`."""
        places = self._desk.arrangement.places(size.width, size.height)
        return [
            WidgetPlacement(
                Region(*places[name]), NULL_OFFSET, NULL_SPACING, pane, fixed=False, overlay=False
            )
            for name, pane in self._desk.panes.items()
            if pane in children and name in places
        ]


class Desk(Widget):
    """Holds the panes; `show` takes an arrangement. Hidden panes have no region."""

    def __init__(self, panes: Mapping[PaneName, Pane]) -> None:
        super().__init__(*panes.values(), id="body")
        self.panes = panes
        self.arrangement = arrange(80, 24, "tree")
        self._default_layout = _Placed(self)

    def show(self, arrangement: Arrangement) -> None:
        """Place the panes as `arrangement` says."""
        if arrangement == self.arrangement:
            return
        self.arrangement = arrangement
        visible = arrangement.visible
        for name, pane in self.panes.items():
            pane.display = name in visible
            pane.framed = arrangement.framed
        self.refresh(layout=True)
