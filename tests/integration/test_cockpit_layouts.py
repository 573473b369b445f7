"""The cockpit over all sizes: nothing raises, nothing is lost."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from perstack.domain.ids import CheckpointId
from perstack.projection.views import WorkspaceView
from perstack_tui.ports.gateway import AgentsUpdate
from perstack_tui.state.layout import PANES, PaneName
from perstack_tui.state.roster import AgentKey
from perstack_tui.widgets.pane import Pane
from tests.fakes.gateway import Said, busy_view
from tests.fakes.stage import Stage
from tests.fakes.wide import agent, everything_view, long_job

pytestmark = pytest.mark.anyio

SIZES = [
    (120, 40), (80, 24), (200, 60), (39, 7), (1, 1), (60, 10), (100, 12), (400, 120), (99, 29),
    (100, 30), (159, 29), (160, 30), (40, 8), (39, 50), (300, 7), (160, 12), (2, 90), (101, 13),
    (80, 18), (80, 19), (200, 11), (33, 3), (250, 25), (120, 29), (10, 2), (140, 80), (79, 40),
    (180, 45), (64, 14), (120, 40),
]  # fmt: skip


async def resized(stage: Stage, size: tuple[int, int]) -> None:
    await stage.pilot.resize_terminal(*size)
    await stage.settle()


def problems(stage: Stage, active: PaneName, size: tuple[int, int]) -> list[str]:
    """What was lost at this size."""
    app = stage.app
    found: list[str] = []
    focused = app.screen.focused
    if focused is None or focused.id != active:
        found.append(f"focus is on {focused!r}")
    pane = app.main.panes[active]
    room = pane.size.height > (2 if pane.framed else 0) and pane.inner_width > 0
    if size[1] >= 2 and not room:
        found.append(f"{active} has {pane.size}")
    shown = [pane.line_at(pane.line_in(row)).key for row in range(pane.inner_height)]
    if room and pane.selected is not None and pane.selected not in shown:
        found.append(f"{pane.selected} is out of view")
    for widget in app.screen.query(Pane):
        found += [
            f"{widget.id} line {y} is not as wide as the pane"
            for y in range(widget.size.height)
            if widget.render_line(y).cell_length != widget.size.width
        ]
    return [f"{size} {active}: {what}" for what in found]


async def test_thirty_sizes_lose_neither_focus_nor_selection() -> None:
    stage = Stage(everything_view())
    lost: list[str] = []
    async with stage.play():
        panes: tuple[tuple[str, PaneName], ...] = (("3", "agents"), ("4", "inbox"))
        for key, active in panes:
            await stage.press(key, "j", "j")
            state = stage.app.state
            chosen = (state.run_id, state.item_key)
            for size in SIZES if active == "agents" else SIZES[::5]:
                await resized(stage, size)
                lost += problems(stage, active, size)
                assert (state.run_id, state.item_key) == chosen
    assert lost == []


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_hundreds_of_sizes_keep_every_pane_whole() -> None:
    pick = random.Random(5)
    stage = Stage(everything_view())
    lost: list[str] = []
    async with stage.play():
        for number, active in enumerate(PANES, start=1):
            await stage.press(str(number), "j")
            for _ in range(40):
                size = (pick.randint(1, 400), pick.randint(1, 120))
                await resized(stage, size)
                lost += problems(stage, active, size)
            await resized(stage, (120, 40))
    assert lost == []


async def test_place_in_a_stream_outlives_a_resize() -> None:
    stage = Stage(busy_view())
    stage.fold.said = {
        run.run_id: Said(text="\n\n".join(f"line {number} of it" for number in range(200)))
        for run in busy_view().jobs[0].runs
    }
    async with stage.play():
        await stage.press("5", "g", "pagedown", "pagedown")
        first = stage.text_of("#stream").splitlines()[1].strip("┃ ")
        assert not stage.app.main.panes["stream"].following
        for size in ((200, 60), (80, 24), (120, 40)):
            await resized(stage, size)
            assert not stage.app.main.panes["stream"].following
        assert first
        assert first in stage.text_of("#stream")


async def test_zoom_is_remembered_for_each_class_of_size() -> None:
    stage = Stage(everything_view())
    async with stage.play():
        await stage.press("3", "plus", "plus")
        assert stage.app.main.panes["agents"].size.width == 120
        await resized(stage, (200, 60))
        assert stage.app.main.panes["tree"].display
        await resized(stage, (120, 40))
        assert not stage.app.main.panes["tree"].display
        await stage.press("underscore", "underscore")
        assert stage.app.main.panes["tree"].display


async def test_message_is_told_on_the_smallest_screens() -> None:
    stage = Stage(everything_view())
    async with stage.play(size=(60, 10)):
        stage.app.tell("something happened")
        await stage.settle()
        assert "something happened" in stage.text_of("#footer")
        await resized(stage, (39, 5))
        stage.app.tell("something else")
        await stage.settle()
        assert "something else" in stage.text_of("#header")


async def test_most_urgent_item_is_above_the_crumbs_on_a_narrow_screen() -> None:
    stage = Stage(everything_view())
    async with stage.play(size=(80, 24)):
        await stage.press("3")
        notice, crumbs = (stage.app.main.query_one(name) for name in ("#notice", "#crumbs"))
        assert notice.region.y + 1 == crumbs.region.y
        assert "deploy docs to prod" in stage.text_of("#notice")
        await resized(stage, (120, 40))
        assert crumbs.region.y == 1


async def test_idle_agent_can_be_chosen_and_left_again() -> None:
    stage = Stage(everything_view())
    async with stage.play():
        stage.gateway.say(AgentsUpdate((agent("otto"),)))
        await stage.until(lambda: bool(stage.app.state.agents_on_record))
        await stage.settle()
        await stage.press("3", "G")
        assert stage.app.state.agent_key == AgentKey(agent("otto").id)
        assert "otto" in stage.text_of("#agents")
        await stage.press("k")
        assert stage.app.state.row is None


async def test_five_thousand_checkpoints_open_and_move_quickly_enough_to_be_built_lazily() -> None:
    made = long_job(5_000)
    stage = Stage(WorkspaceView((made,), caught_up=True))
    async with stage.play(size=(200, 60), here=()):
        await stage.press("2")
        for _ in range(3):
            await stage.press("h")
        assert stage.app.state.point == CheckpointId(made.runs[0].points[-4].checkpoint_id)
        assert "5000 checkpoints" in stage.text_of("#timeline")


async def test_widgets_are_as_few_on_a_wall_as_anywhere() -> None:
    stage = Stage(replace(everything_view()))
    async with stage.play(size=(200, 60)):
        assert len(stage.app.screen.query("*")) <= 24
