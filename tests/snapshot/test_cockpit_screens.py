"""What the cockpit looks like, at both sizes, with the clock standing still."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest
from textual.pilot import Pilot

from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.ids import RunId
from perstack.projection.views import WorkspaceView
from perstack_tui.app import Cockpit
from tests.fakes.gateway import Said, busy_view, definitions, failed_view, running_view
from tests.fakes.stage import Stage

SIZES = [(80, 24), (120, 40)]
IDLE = WorkspaceView(caught_up=True)


class Compare(Protocol):
    """`snap_compare`, typed."""

    def __call__(
        self,
        app: Cockpit,
        *,
        terminal_size: tuple[int, int],
        run_before: Callable[[Pilot[int]], Awaitable[None]],
    ) -> bool: ...


def same(
    compare: Compare,
    stage: Stage,
    size: tuple[int, int],
    *keys: str,
    provider: str = "anthropic",
    here: tuple[str, ...] = ("job-8f3a",),
    changes: tuple[str, ...] = (),
) -> bool:
    """Drive the cockpit to where it is to be looked at, and look."""

    async def before(pilot: Pilot[int]) -> None:
        await stage.join(pilot, definitions(provider=provider, changes=changes), here)
        await stage.press(*keys)

    return compare(stage.app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_idle_workspace(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(IDLE), size, here=())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_running_scripted(snap_compare: Compare, size: tuple[int, int], theme: str) -> None:
    stage = Stage(running_view(), theme=theme)
    stage.fold.said[RunId("run-writer")] = Said("Themes first.", "I will now write the file")
    changes = ("writer changed", "reviewer new")
    assert same(snap_compare, stage, size, provider="scripted", changes=changes)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "light", "mono"])
def test_busy_workspace_with_a_child_selected(
    snap_compare: Compare, size: tuple[int, int], theme: str
) -> None:
    assert same(snap_compare, Stage(busy_view(), theme=theme), size, "j", "j", "j", "j")


@pytest.mark.parametrize("pane", ["2", "3", "4", "5"])
def test_each_tab_of_the_narrow_screen(snap_compare: Compare, pane: str) -> None:
    assert same(snap_compare, Stage(busy_view()), (80, 24), pane)


def test_wide_screen(snap_compare: Compare) -> None:
    assert same(snap_compare, Stage(busy_view()), (200, 60), "3")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pending_consensus_in_review(
    snap_compare: Compare, size: tuple[int, int], theme: str
) -> None:
    assert same(snap_compare, Stage(busy_view(), theme=theme), size, "4", "enter", "j", "space")


@pytest.mark.parametrize("size", SIZES)
def test_question(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(busy_view()), size, "4", "j", "enter")


@pytest.mark.parametrize("size", SIZES)
def test_failed_run(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(failed_view()), size, "5", here=())


@pytest.mark.parametrize("size", SIZES)
def test_quit_dialog(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert same(snap_compare, Stage(busy_view()), size, "q")


def test_new_run(snap_compare: Compare) -> None:
    assert same(snap_compare, Stage(busy_view()), (80, 24), "n", "down")


@pytest.mark.parametrize("size", SIZES)
def test_trust_is_asked_for(snap_compare: Compare, size: tuple[int, int]) -> None:
    stage = Stage(busy_view())
    demands = (
        Demand("command", "start npx -y @modelcontextprotocol/server-filesystem . with FILES_KEY"),
        Demand("address", "send your anthropic key to https://gateway.example/v1"),
    )
    stage.gateway.refuse = UntrustedError(Path("perstack.toml"), demands)
    assert same(snap_compare, stage, size, "n", "g", "o", "enter")


def test_help(snap_compare: Compare) -> None:
    assert same(snap_compare, Stage(busy_view()), (120, 40), "question_mark")
