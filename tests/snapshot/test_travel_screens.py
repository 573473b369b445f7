"""What travelling in time and hot reload look like."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from perstack.domain.ids import CheckpointId, JobId, RunId
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.ports.travel import Moment
from tests.fakes.gateway import busy_view, definitions
from tests.fakes.stage import Stage
from tests.integration.test_cockpit_definitions import AFTER, BEFORE, saved
from tests.snapshot.test_cockpit_screens import Compare

SIZES = [(80, 24), (120, 40)]
WRITER = RunId("run-writer")


def same(
    compare: Compare,
    stage: Stage,
    size: tuple[int, int],
    *keys: str,
    defined: DefinitionsUpdate | None = None,
    travels: bool = True,
) -> bool:
    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, defined or definitions(), ("job-8f3a",))
        stage.app.state.select(WRITER)
        if travels:
            moment = Moment(JobId("job-8f3a"), WRITER, CheckpointId("writer-4"))
            stage.app.state.mark_a = Moment(JobId("job-8f3a"), WRITER, CheckpointId("writer-2"))
            stage.app.travel_to(moment)
            await stage.until(lambda: bool(stage.app.screen.query("#travel-keys")))
            await stage.settle()
        await stage.press(*keys)
        await stage.settle()

    return compare(stage.app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "mono"])
def test_moment_with_its_messages(snap_compare: Compare, size: tuple[int, int], theme: str) -> None:
    assert same(snap_compare, Stage(busy_view(), theme=theme), size)


@pytest.mark.parametrize("size", SIZES)
def test_files_compared_with_a(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(busy_view()), size, "c", "tab")


def test_cost_of_a_moment(snap_compare: Compare) -> None:
    assert same(snap_compare, Stage(busy_view()), (120, 40), "tab", "tab")


@pytest.mark.parametrize("key", ["W", "R", "F"])
def test_what_would_happen(snap_compare: Compare, key: str) -> None:
    assert same(snap_compare, Stage(busy_view()), (100, 30), key)


@pytest.mark.parametrize("size", SIZES)
def test_what_a_save_changed(snap_compare: Compare, size: tuple[int, int]) -> None:
    stage = Stage(busy_view())
    defined = saved(BEFORE, AFTER)
    assert same(snap_compare, stage, size, "ctrl+r", defined=defined, travels=False)


def test_definition_in_full(snap_compare: Compare) -> None:
    stage = Stage(busy_view())
    defined = saved(BEFORE, AFTER)
    assert same(snap_compare, stage, (120, 40), "6", "j", "enter", defined=defined, travels=False)
