"""Several keys in one burst: what closes a sheet is all that they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.ids import ConsensusId, JobId, RunId
from perstack.projection.views import InboxView, WorkspaceView
from perstack_tui.screens.answer import AnswerSheet
from perstack_tui.screens.confirm import ConfirmSheet
from perstack_tui.screens.form import DECLINE, FormSheet
from perstack_tui.screens.help import HelpSheet
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.new_run import NewRunSheet
from perstack_tui.screens.review import ReviewSheet
from perstack_tui.screens.trust import TrustSheet
from tests.fakes.consensus import make_question
from tests.fakes.gateway import NOW, busy_view, gate, job, question, run, running_job
from tests.fakes.stage import Stage

pytestmark = pytest.mark.anyio

BEHIND = ("n", "a", "r", "i", "x", "q", "enter", "question_mark")


@dataclass(frozen=True)
class Opened:
    """A sheet, how it is opened, and every key that it takes."""

    kind: type[object]
    open: Callable[[Stage], Awaitable[None]]
    keys: tuple[str, ...]
    inbox: InboxView = field(default_factory=InboxView)


def server_question() -> ConsensusCheckpoint:
    made = make_question(
        ConsensusId("input-1"), message="Go on?", created_at=NOW, expires_at=NOW + 252_000
    )
    return made.model_copy(
        update={
            "job_id": JobId("job-8f3a"),
            "run_id": RunId("run-writer"),
            "expert_key": "writer",
        }
    )


def by(*keys: str) -> Callable[[Stage], Awaitable[None]]:
    async def press(stage: Stage) -> None:
        await stage.press(*keys)

    return press


async def new_run(stage: Stage) -> None:
    await stage.press("n")
    await stage.write("go")


async def trust(stage: Stage) -> None:
    await stage.press("n")
    await stage.write("go")
    demand = Demand("command", "start npx -y server-files")
    stage.gateway.refuse = UntrustedError(Path("perstack.toml"), (demand,))
    await stage.press("enter")


MOVES = ("j", "k", "up", "down", "pageup", "pagedown")
SHEETS = {
    "quit": Opened(ConfirmSheet, by("q"), ("s", "d", "escape", "enter")),
    "stop": Opened(ConfirmSheet, by("x"), ("s", "n", "escape", "enter")),
    "help": Opened(HelpSheet, by("question_mark"), ("question_mark", "q", "escape", *MOVES)),
    "new run": Opened(NewRunSheet, new_run, ("enter", "escape", "up", "down", "a")),
    "trust": Opened(TrustSheet, trust, ("a", "escape", "enter", *MOVES)),
    "review": Opened(
        ReviewSheet,
        by("4", "a"),
        ("a", "r", "e", "tab", "space", "escape", "enter", *MOVES),
        InboxView(pending=(gate("gate-1", run_name="writer"), gate("gate-2", run_name="devops"))),
    ),
    "answer": Opened(
        AnswerSheet,
        by("4", "enter", "1"),
        ("enter", "escape", "tab", "1", "up"),
        InboxView(questions=(question(run_name="writer", job_name="job-8f3a"),)),
    ),
    "form": Opened(
        FormSheet,
        by("4", "enter"),
        ("enter", "escape", "up", "down", "shift+tab", "1", DECLINE),
        InboxView(pending=(server_question(),)),
    ),
}
LEAVING = {("quit", "s"), ("quit", "d")}


def stage_for(name: str) -> Stage:
    return Stage(WorkspaceView((running_job(),), SHEETS[name].inbox, caught_up=True))


async def press_at_once(stage: Stage, name: str, keys: Sequence[str]) -> None:
    """Open the sheet, press the keys in one burst, and see that one thing happened at most."""
    wanted = SHEETS[name]
    await wanted.open(stage)
    sheet, calls = stage.app.screen, len(stage.gateway.calls)
    assert isinstance(sheet, wanted.kind)
    await stage.burst(*keys)
    made = len(stage.gateway.calls) - calls
    assert made <= (2 if name == "trust" else 1), keys  # Accepting is a command of its own.
    screens = stage.app.screen_stack
    assert all(screen is sheet or isinstance(screen, MainScreen) for screen in screens), keys
    for _ in range(4):
        if not isinstance(stage.app.screen, MainScreen):
            await stage.press("escape")
    assert isinstance(stage.app.screen, MainScreen)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("times", [2, 3])
@pytest.mark.parametrize("name", SHEETS)
async def test_key_pressed_several_times_at_once_does_one_thing(name: str, times: int) -> None:
    stage = stage_for(name)
    async with stage.play():
        for key in SHEETS[name].keys:
            if (name, key) not in LEAVING:
                await press_at_once(stage, name, [key] * times)


CLOSING: list[tuple[str, str, list[str]]] = [
    ("quit", "escape", []),
    ("stop", "escape", []),
    ("help", "q", []),
    ("help", "question_mark", []),
    ("help", "escape", []),
    ("new run", "enter", ["start"]),
    ("new run", "escape", []),
    ("trust", "escape", []),
    ("review", "escape", []),
    ("answer", "escape", []),
    ("form", "escape", []),
]
DECIDING: list[tuple[str, str, list[str]]] = [
    ("quit", "s", []),
    ("quit", "d", ["detach"]),
    ("stop", "s", ["stop"]),
    ("stop", "n", ["stop"]),
    ("trust", "a", ["accept", "start"]),
    ("answer", "enter", ["answer"]),
]


@pytest.mark.parametrize(("name", "key", "made"), DECIDING)
async def test_key_that_decides_counts_alone_and_what_is_typed_behind_it_does_nothing(
    name: str, key: str, made: list[str]
) -> None:
    stage = stage_for(name)
    async with stage.play():
        await SHEETS[name].open(stage)
        await stage.burst(key, key)
        await stage.burst("x", key)
        assert stage.gateway.calls == []
        assert isinstance(stage.app.screen, SHEETS[name].kind)
        await stage.press(key)
        if stage.app.return_code is None:
            await stage.press("n", "a", "r", "i", "x", "q", after=0.05)
            assert isinstance(stage.app.screen, (MainScreen, SHEETS[name].kind))
    assert [call[0] for call in stage.gateway.calls] == made
    assert (stage.app.return_code == 0) == (name == "quit")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("name", "key", "made"), CLOSING)
async def test_what_is_typed_behind_the_closing_key_does_nothing_below(
    name: str, key: str, made: list[str]
) -> None:
    stage = stage_for(name)
    async with stage.play():
        await SHEETS[name].open(stage)
        await stage.burst(key, *BEHIND)
        assert [call[0] for call in stage.gateway.calls] == made
        assert isinstance(stage.app.screen, MainScreen)


async def test_text_typed_behind_enter_is_no_part_of_what_enter_sent() -> None:
    stage = stage_for("new run")
    async with stage.play():
        await new_run(stage)
        await stage.burst("enter", "n", "n")
        assert [call[2] for call in stage.gateway.calls] == ["go"]


async def test_sheet_closed_below_another_goes_when_it_comes_up() -> None:
    stage = Stage(busy_view())
    async with stage.play():
        await stage.press("question_mark")
        below = stage.app.screen
        assert isinstance(below, HelpSheet)
        above = HelpSheet(stage.app)
        stage.app.open_sheet(above)
        await stage.settle()
        below.dismiss(None)
        await stage.settle()
        assert stage.app.screen is above
        await stage.press("escape")
        assert isinstance(stage.app.screen, MainScreen)


async def test_keys_that_only_look_count_at_once_after_a_sheet() -> None:
    stage = Stage(WorkspaceView((running_job(), job("job-2", (run("other", job="job-2"),)))))
    async with stage.play():
        await stage.press("question_mark")
        await stage.press("escape", "3", after=0.0)
        assert stage.app.main.active == "agents"
