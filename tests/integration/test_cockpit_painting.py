"""What a paint costs: only lines that changed are made and sent again."""

from __future__ import annotations

import pytest
from textual.geometry import Region
from textual.strip import Strip

from perstack_tui.state.lines import Line
from perstack_tui.widgets.paint import Frame
from perstack_tui.widgets.pane import Pane
from tests.fakes.gateway import busy_view
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio


class Counted(Pane):
    """Counts the lines that are made."""

    def __init__(self) -> None:
        super().__init__(id="counted")
        self.made: list[int] = []

    def plain_line(self, y: int) -> Strip:
        self.made.append(y)
        return super().plain_line(y)


def numbered(changed: int = -1) -> list[Line]:
    texts = (f"{row}{' new' if row == changed else ''}" for row in range(5))
    return [Line(((text, "text"),)) for text in texts]


async def test_only_what_changed_is_made_again() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        pane = Counted()
        await stage.app.main.mount(pane)
        await stage.settle()
        pane.show(numbered(), frame=Frame("a"))
        whole = Region(0, 0, pane.size.width, pane.size.height)
        pane.render_lines(whole)
        pane.made.clear()
        pane.show(numbered(), frame=Frame("a"))
        pane.render_lines(whole)
        assert pane.made == []
        pane.show(numbered(2), frame=Frame("a"))
        assert "2 new" in pane.render_lines(whole)[3].text
        assert pane.made == [3]
        pane.show(numbered(2), frame=Frame("b"))
        assert " b " in pane.render_lines(whole)[0].text
        assert pane.made == [3, 0, pane.size.height - 1]
