"""Every sheet, opened over text that attacks the terminal, the toolkit and the columns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import JsonValue
from textual.widget import Widget

from perstack.config.definition_diff import DefinitionDiff, ExpertDiff, FieldChange
from perstack.config.untrusted import Demand, UntrustedError
from perstack.domain.consensus import ProposedSubtask
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, RunId, SubtaskId
from perstack.domain.usage import NO_COST, NO_USAGE
from perstack.errors import ConflictError
from perstack.projection.views import CallView, EntryView, InboxView, WorkspaceView
from perstack_tui.ports.gateway import DefinitionsUpdate, ExpertSummary, SavedDefinitions, Trouble
from perstack_tui.ports.records import Column
from perstack_tui.ports.records import Field as Detail
from perstack_tui.ports.steering import ModelChoice, Target
from perstack_tui.ports.travel import FileView, MessageView, Moment, MomentView, RestorePlan
from perstack_tui.screens.main import MainScreen
from perstack_tui.state.inbox import ItemKey
from tests.fakes.consensus import make_question
from tests.fakes.gateway import NOW, decided, gate, job, points, question, run, subtask
from tests.fakes.hostile import PIECES, assert_aligned, assert_inert, texts
from tests.fakes.records import DELETE, row_of
from tests.fakes.stage import Stage
from tests.fakes.steering import FakeSteering

pytestmark = pytest.mark.anyio

RUN, JOB = RunId("run-bad"), JobId("bad")
HERE = Moment(JOB, RUN, CheckpointId("bad-2"))
FORM_CHARS = 300  # Of a form; longer ones are refused before they get here.
ALL = " ".join(PIECES) + "long" * 100
SIZES = ((80, 24), (120, 40), (40, 10))


@dataclass(frozen=True, slots=True)
class Attack:
    """All that a cockpit is told, with `text` wherever somebody else wrote something."""

    text: str

    @property
    def view(self) -> WorkspaceView:
        text = self.text
        called = CallView(text, text, text, text, text)
        kinds = ("query", "reasoning", "text", "tool", "delegate", "question", "gate", "error")
        entries = tuple(
            EntryView(kind, text, f"{text}\n{text}", timestamp=NOW, call=called) for kind in kinds
        )
        bad = replace(
            run("bad", "run", kinds="sdsg", entries=entries, doing=text, query=text, job=JOB),
            expert_key=ExpertKey(text or "bad"),
            model=text,
            points=tuple(
                replace(point, label=text, files=(text,))
                for point in points("bad", "sds", start=NOW)
            ),
        )
        only = replace(job(JOB, (bad,)), expert_key=ExpertKey(text or "bad"), host=text)
        return WorkspaceView((only,), self.inbox, caught_up=True)

    @property
    def inbox(self) -> InboxView:
        text = self.text
        made = gate("gate-1", run_name="bad", job_name=JOB, subtasks=self.subtasks)
        tame = gate("gate-2", run_name="bad", job_name=JOB, subtasks=self.subtasks, risk="medium")
        gates = tuple(
            one.model_copy(update={"reason": text, "expert_key": ExpertKey(text or "bad")})
            for one in (made, tame)
        )
        short = text[:FORM_CHARS]
        properties: dict[str, JsonValue] = {
            "name": {"type": "string", "title": short, "description": short},
            "region": {"type": "string", "oneOf": [{"const": "eu", "title": short}]},
        }
        schema: dict[str, JsonValue] = {"type": "object", "properties": properties}
        form = make_question("form-1", schema=schema, message=text, created_at=NOW)
        form = form.model_copy(update={"job_id": JOB, "run_id": RUN, "expert_key": text or "bad"})
        asked = replace(
            question("q1", text, choices=(text, "b"), run_name="bad", job_name=JOB),
            expert_key=ExpertKey(text or "bad"),
            tool_name=text,
            args=text,
        )
        over = decided("gate-0", "rejected", text, who=text or "you")
        return InboxView((*gates, form), (asked,), (over,))

    @property
    def subtasks(self) -> tuple[ProposedSubtask, ...]:
        made = subtask("s1", self.text or "x", "medium", agent=self.text or "bad")
        return (made, made.model_copy(update={"id": SubtaskId("s2"), "tool_name": self.text}))

    @property
    def definitions(self) -> DefinitionsUpdate:
        text = self.text
        key = ExpertKey(text or "bad")
        change = FieldChange(
            text, text, text, (text,), (text,), (f"+{text}", f"-{text}"), 1, 1, (text,)
        )
        diff = DefinitionDiff((change,), (ExpertDiff(key, "changed", text, text, (change,)),))
        return DefinitionsUpdate(
            path=Path("/w/x/perstack\x1b.toml"),
            experts=(
                ExpertSummary(
                    key, text, text, (key,), (text,), instruction=text, fields=(change,), line=1
                ),
            ),
            model=text,
            provider_name=text,
            changes=(text,),
            warnings=(text,),
            loaded_at=NOW,
            saves=(SavedDefinitions(NOW, diff),),
        )

    def moment(self, moment: Moment, step: int) -> MomentView:
        text = self.text
        kinds = ("instruction", "user", "assistant", "tool")
        messages = tuple(
            MessageView(f"m{at}-{step}", kind, text, f"{text}\n{text}", is_error=at == 3)
            for at, kind in enumerate(kinds)
        )
        files = (FileView(text, 3, f"d{step}"), FileView(f"{text}2", 10, None, text))
        return MomentView(moment, step, NOW, messages, NO_USAGE, NO_COST, 0.3, files)

    def arm(self, stage: Stage) -> None:
        """Have every part of the gateway say it."""
        text, gateway = self.text, stage.gateway
        for step in (1, 2, 3):
            at = replace(HERE, checkpoint_id=CheckpointId(f"bad-{step}"))
            gateway.travel.moments[at.checkpoint_id] = self.moment(at, step)
        gateway.travel.files = {text: f"{text}\n{text}"}
        gateway.travel.plan = RestorePlan((text,), (text,), (text,), (text,))
        gateway.travel.why_not = text
        gateway.steering = HostileSteering(text, gateway.record)
        gateway.records.columns = (Column(text, 12), Column(text, 0), Column(text, 6, right=True))
        row = row_of("row-1", ((text, "fail"), (text, "text"), (text, "muted")), DELETE)
        gateway.records.put("tasks", [row])
        gateway.records.put("memory", [])
        gateway.records.details_of["row-1"] = (Detail(text, text), Detail("b", f"{text}\n{text}"))


class HostileSteering(FakeSteering):
    """Knows models by hostile names."""

    def __init__(self, text: str, record: Callable[..., None]) -> None:
        super().__init__(record)
        self._text = text

    async def models(self, target: Target) -> list[ModelChoice]:
        return [ModelChoice(self._text, self._text), ModelChoice("b", self._text)]


# ------------------------------------------------------------------ how each sheet is opened

Opening = Callable[[Stage], Awaitable[None]]


def by_keys(*keys: str) -> Opening:
    async def opening(stage: Stage) -> None:
        await stage.press(*keys)

    return opening


def item(kind: str, name: str, *keys: str) -> Opening:
    async def opening(stage: Stage) -> None:
        items = [one.key for one in stage.app.state.items]
        stage.app.state.select_item(
            next(key for key in items if (key.kind, key.id) == (kind, name))
        )
        await stage.press("4", *keys)

    return opening


async def several(stage: Stage) -> None:
    stage.app.state.marks |= {ItemKey("gate", "gate-1"), ItemKey("gate", "gate-2")}
    await stage.press("4", "a")


def travel(*keys: str) -> Opening:
    async def opening(stage: Stage) -> None:
        stage.app.travel_to(HERE)
        await stage.press(*keys)

    return opening


def records(kind: str, *keys: str) -> Opening:
    async def opening(stage: Stage) -> None:
        stage.app.open_records("tasks" if kind == "tasks" else "memory")
        await stage.press(*keys)

    return opening


async def untrusted(stage: Stage) -> None:
    text = stage.app.state.definitions.model
    stage.gateway.refuse = UntrustedError(Path("p.toml"), (Demand("command", text),))
    await stage.press("n", "g", "enter")


SHEETS: dict[str, Sequence[Opening]] = {
    "review": (item("gate", "gate-1", "enter"), by_keys("j", "J"), by_keys("a", "e")),
    "review of what was decided": (item("decided", "gate-0", "enter"),),
    "bulk": (several, by_keys("j")),
    "answer": (item("ask", "q1", "enter"), by_keys("down"), by_keys("ctrl+o")),
    "form": (item("input", "form-1", "enter"), by_keys("x", "enter"), by_keys("enter")),
    "new run": (by_keys("n"), by_keys("down")),
    "trust": (untrusted,),
    "palette": (by_keys("ctrl+p"), by_keys("g", "o"), by_keys("down")),
    "where to go": (by_keys("colon", "j", "o", "b", "space", "tab"),),
    "filter": (by_keys("3", "slash", "x"),),
    "jump": (by_keys("semicolon"),),
    "copy": (by_keys("y"),),
    "help": (by_keys("question_mark"), by_keys("pagedown")),
    "themes": (by_keys("ctrl+t"), by_keys("j")),
    "definitions": (by_keys("ctrl+r"), by_keys("j"), by_keys("enter")),
    "expert": (by_keys("6", "enter"), by_keys("j")),
    "travel": (travel(), by_keys("tab"), by_keys("tab"), by_keys("d"), by_keys("m", "h", "c")),
    "resuming": (travel("R"),),
    "forking": (travel("F"),),
    "restoring": (travel("W"),),
    "records": (records("tasks"), by_keys("enter"), by_keys("D")),
    "records without any": (records("memory"), by_keys("slash", "x")),
    "stop": (by_keys("1", "x"),),
    "budget": (by_keys("1", "b"),),
    "model": (by_keys("1", "M"), by_keys("down")),
    "new definition": (by_keys("1", "T"),),
    "say": (by_keys("1", "i"),),
    "stream in full": (by_keys("5", "g", "enter"), by_keys("slash", "x")),
    "quit": (by_keys("q"),),
}


def assert_painted(stage: Stage, name: str, seen: set[tuple[str, int]]) -> None:
    """Whatever is on the screen is inert, and as wide as its place."""
    for widget in stage.app.screen.query(Widget):
        if widget.children or not widget.display or not widget.size:
            continue
        for strip in widget.render_lines(widget.size.region):
            painted = (strip.text, widget.size.width)
            if painted in seen:
                continue
            seen.add(painted)
            try:
                assert_inert(strip.text)
                assert_aligned(strip.text, widget.size.width)
            except AssertionError as problem:
                raise AssertionError(f"{name}, #{widget.id}: {problem}") from problem


async def open_all(stage: Stage, attack: Attack) -> None:
    """Open each sheet, look at it, and go back to the main screen."""
    seen: set[tuple[str, int]] = set()
    for name, openings in SHEETS.items():
        for opening in openings:
            await opening(stage)
            assert_painted(stage, name, seen)
        await leave(stage)
    stage.gateway.say(Trouble(attack.text, attack.text))
    await stage.settle()
    stage.gateway.refuse = ConflictError(attack.text, hint=attack.text)
    await stage.press("1", "z")
    assert_painted(stage, "what was refused", seen)


async def leave(stage: Stage) -> None:
    for _ in range(8):
        if isinstance(stage.app.screen, MainScreen) and not stage.app.main.prompt.display:
            break
        await stage.press("escape")
    assert isinstance(stage.app.screen, MainScreen)
    stage.app.state.marks = set()


async def attacked(text: str, size: tuple[int, int]) -> None:
    attack = Attack(text)
    stage = Stage(attack.view)
    attack.arm(stage)
    async with stage.play(size=size, defined=attack.definitions, here=(JOB,)):
        await open_all(stage, attack)


async def test_every_sheet_paints_the_worst_inert_and_in_its_columns() -> None:
    await attacked(ALL, SIZES[0])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts)
async def test_every_sheet_paints_any_text_inert_and_in_its_columns(
    size: tuple[int, int], text: str
) -> None:
    await attacked(text, size)
