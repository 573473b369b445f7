"""What people and limits do to a run at work: stop, pause, resume, say something, judge drift."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.domain.ids import AgentId, ExpertKey, IdentityId, RunId, SessionId, TaskId
from perstack.domain.messages import UserMessage, text_of
from perstack.domain.steering_events import JudgeDrift, PauseRun, ResumeRun, SteerRun
from perstack.engine.plan import JobOutcome
from perstack.ports.desk import LIMITS, Carrier, DriftVerdict, Hold
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from tests.fakes.desk import FakeDesk
from tests.fakes.engine import FakeSkills, World, done, expert, says

pytestmark = pytest.mark.anyio

LEAD, CHILD = ExpertKey("lead"), ExpertKey("child")


def three_steps(request: ModelRequest, turn: int) -> Generation:
    """Look twice, then be done."""
    return says(f"turn {turn}", ("look", {})) if turn < 3 else says("the result")


def looking() -> FakeSkills:
    async def look(_: Mapping[str, JsonValue]) -> str:
        return "seen"

    return FakeSkills({"look": look})


def world(tmp_path: Path, desk: FakeDesk, **more: object) -> World:
    return World(tmp_path, three_steps, (expert("lead"),), skills=looking(), desk=desk, **more)  # type: ignore[arg-type]


def user_texts(request: ModelRequest) -> list[str]:
    return [text_of(m.contents) for m in request.messages if isinstance(m, UserMessage)]


async def test_what_is_said_to_a_run_is_read_with_its_next_generation(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def say_once(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            desk.helms[LEAD].steer("mind the gap", "ana@here")

    own.heard.on = say_once
    ended = await own.start()
    assert ended.outcome.text == "the result"
    assert "mind the gap" not in user_texts(own.model.requests[0])
    assert user_texts(own.model.requests[1])[-1] == "mind the gap"
    steered = [e.body for e in own.heard.events if isinstance(e.body, SteerRun)]
    assert [one.by for one in steered] == ["ana@here"]


async def test_what_was_said_is_still_there_after_a_fork_and_a_restart(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def say_then_stop(event: Event) -> None:
        if event.body.type == "callTools":
            desk.helms[LEAD].steer("mind the gap", "ana")
        if event.body.type == "steerRun":
            own.control.stop("user")

    own.heard.on = say_then_stop
    assert (await own.start()).outcome.ending == "stopped"
    again = world(tmp_path, FakeDesk())
    await again.go_on(Continuation())
    assert "mind the gap" in user_texts(again.model.requests[0])


async def test_a_paused_run_stands_at_the_boundary_until_somebody_resumes_it(
    tmp_path: Path,
) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)
    paused = anyio.Event()

    def pause(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            desk.helms[LEAD].pause("ana", "let me look")
        if isinstance(event.body, PauseRun):
            paused.set()

    own.heard.on = pause
    endings: list[JobOutcome] = []

    async def run() -> None:
        endings.append(await own.start())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await paused.wait()
            await anyio.wait_all_tasks_blocked()
            assert len(own.model.requests) == 1
            desk.helms[LEAD].resume("ben")
    assert endings[0].outcome.ending == "completed"
    told = [e.body for e in own.heard.events if isinstance(e.body, PauseRun | ResumeRun)]
    assert told == [PauseRun(by="ana", reason="let me look"), ResumeRun(by="ben")]


@pytest.mark.parametrize("first", ["ana", LIMITS])
async def test_the_limits_lift_their_own_pause_and_no_persons(tmp_path: Path, first: str) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)
    paused = anyio.Event()

    def pause(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            for by in (first, "ana", LIMITS):
                desk.helms[LEAD].pause(by)
        if isinstance(event.body, PauseRun):
            paused.set()

    own.heard.on = pause
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(own.start)
            await paused.wait()
            desk.helms[LEAD].resume(LIMITS)
            await anyio.wait_all_tasks_blocked()
            assert len(own.model.requests) == 1
            desk.helms[LEAD].resume("ben")
    told = [e.body for e in own.heard.events if isinstance(e.body, PauseRun | ResumeRun)]
    assert told == [PauseRun(by=first, reason=None), ResumeRun(by="ben")]


async def test_a_person_lifts_the_limits_pause_with_the_own(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def pause(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            desk.helms[LEAD].pause("ana")
            desk.helms[LEAD].pause(LIMITS, "maxApiCalls")
        if isinstance(event.body, PauseRun):
            desk.helms[LEAD].resume("ben")

    own.heard.on = pause
    assert (await own.start()).outcome.ending == "completed"


async def test_a_paused_run_can_be_stopped_and_goes_on_later_without_the_pause(
    tmp_path: Path,
) -> None:
    desk = FakeDesk()
    own = world(tmp_path, desk)

    def pause_then_stop(event: Event) -> None:
        if event.body.type == "callTools":
            desk.helms[LEAD].pause("ana")
        if isinstance(event.body, PauseRun):
            desk.helms[LEAD].stop("ben")

    own.heard.on = pause_then_stop
    assert (await own.start()).outcome.ending == "stopped"
    suspended = [e.body for e in own.heard.events if e.body.type == "suspendRun"]
    assert [(one.reason, one.by) for one in suspended] == [("user", "ben")]
    again = world(tmp_path, FakeDesk())
    assert (await again.go_on(Continuation())).outcome.ending == "completed"


async def test_with_no_wait_a_paused_run_is_left_at_its_checkpoint(tmp_path: Path) -> None:
    desk = FakeDesk(holding=lambda _: Hold("pause", "maxApiCalls"))
    own = world(tmp_path, desk, wait_at_gates=False)
    ended = await own.start()
    assert ended.outcome.ending == "awaiting"
    assert own.model.requests == []


async def test_the_resource_limits_pause_a_run_and_stop_one(tmp_path: Path) -> None:
    steps = 0

    def stop_at_the_third(_: RunId) -> Hold | None:
        nonlocal steps
        steps += 1
        return Hold("stop", "maxApiCalls") if steps == 3 else None

    own = world(tmp_path, FakeDesk(holding=stop_at_the_third))
    ended = await own.start()
    assert ended.outcome.ending == "stopped"
    assert len(own.model.requests) == 2
    by = [e.body.by for e in own.heard.events if e.body.type == "suspendRun"]
    assert by == ["resource limits: maxApiCalls"]


# ------------------------------------------------------------------------ delegations


def delegating(request: ModelRequest, turn: int) -> Generation:
    if request.expert_key == LEAD:
        return says("", ("child", {"query": "do it"})) if turn == 1 else says("all done")
    return says("", ("look", {})) if turn == 1 else says("child is done")


def team(tmp_path: Path, desk: FakeDesk, **more: object) -> World:
    experts = (expert("lead", "child"), expert("child"))
    return World(tmp_path, delegating, experts, skills=looking(), desk=desk, **more)  # type: ignore[arg-type]


async def test_stopping_a_delegated_run_fails_that_delegation_alone(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = team(tmp_path, desk)

    def stop_child(event: Event) -> None:
        if event.expert_key == CHILD and event.body.type == "startGeneration":
            desk.helms[CHILD].stop("ana")

    own.heard.on = stop_child
    ended = await own.start()
    assert ended.outcome.text == "all done"
    assert own.heard.results()[-1] == ("child", "Delegation failed: stopped by ana", True)


async def test_pausing_a_run_pauses_what_it_has_delegated(tmp_path: Path) -> None:
    desk = FakeDesk()
    own = team(tmp_path, desk)
    pauses: list[str] = []

    def on(event: Event) -> None:
        if event.expert_key == CHILD and event.body.type == "callTools":
            desk.helms[LEAD].pause("ana")
        if isinstance(event.body, PauseRun):
            pauses.append(event.expert_key)
            desk.helms[LEAD].resume("ana")

    own.heard.on = on
    assert (await own.start()).outcome.text == "all done"
    assert pauses == ["child"]


async def test_the_desk_hears_who_every_run_is_and_when_it_is_let_go(tmp_path: Path) -> None:
    desk = FakeDesk()
    carrier = Carrier(session_id=SessionId("s1"), identity_id=IdentityId("i1"))
    own = team(tmp_path, desk, carrier=carrier)
    ended = await own.start("the query")
    lead, child = desk.cards
    assert (lead.query, lead.parent_run_id, lead.carrier) == ("the query", None, carrier)
    assert (child.query, child.parent_run_id) == ("do it", lead.run_id)
    assert child.carrier == Carrier(session_id=SessionId("s1"))
    assert desk.gone == [child.run_id, lead.run_id]
    settings = {one.run_id: one for one in await own.history.list_runs(ended.job_id)}
    assert settings[lead.run_id].identity_id == "i1"
    assert settings[child.run_id].identity_id is None


async def test_a_job_stays_the_work_of_its_agent_whoever_has_it_go_on(tmp_path: Path) -> None:
    carrier = Carrier(AgentId("a1"), SessionId("s1"), IdentityId("i1"))
    own = team(tmp_path, FakeDesk(), carrier=carrier)
    own.heard.on = lambda event: (
        own.control.stop("user") if event.body.type == "stopRunByDelegate" else None
    )
    assert (await own.start()).outcome.ending == "stopped"
    desk = FakeDesk()
    assert (await team(tmp_path, desk).go_on(Continuation())).outcome.text == "all done"
    assert desk.cards[0].carrier == carrier
    assert desk.cards[1].carrier == Carrier(session_id=SessionId("s1"))
    assert desk.cards[0].run_id in desk.lifted


async def test_a_delegation_that_repeats_its_ancestor_is_refused(tmp_path: Path) -> None:
    verdict = DriftVerdict("prevented", 0.99, TaskId("t1"), 1)
    own = team(tmp_path, FakeDesk(judging=lambda _: verdict))
    assert (await own.start()).outcome.text == "all done"
    tool, text, failed = own.heard.results()[0]
    assert (tool, failed) == ("child", True)
    assert text.startswith("Delegation refused: it repeats a task")
    assert [card.expert_key for card in own.desk.cards] == [LEAD]  # type: ignore[attr-defined]


async def test_a_delegation_that_could_not_be_compared_is_refused_as_just_that(
    tmp_path: Path,
) -> None:
    verdict = DriftVerdict("prevented", 0.0, reason="the embedder is too slow")
    own = team(tmp_path, FakeDesk(judging=lambda _: verdict))
    await own.start()
    text = own.heard.results()[0][1]
    assert "could not be compared" in text
    assert "the embedder is too slow" in text


async def test_a_warned_delegation_is_judged_once_and_begins(tmp_path: Path) -> None:
    asked: list[str] = []

    def judge(query: str) -> DriftVerdict:
        asked.append(query)
        return DriftVerdict("warned", 0.9, TaskId("t1"), 1)

    own = team(tmp_path, FakeDesk(judging=judge))
    assert (await own.start()).outcome.text == "all done"
    assert asked == ["do it"]
    judged = [e.body for e in own.heard.events if isinstance(e.body, JudgeDrift)]
    assert [(one.action, one.task_id) for one in judged] == [("warned", "t1")]


async def test_what_is_said_as_the_expert_declares_itself_done_is_still_read(
    tmp_path: Path,
) -> None:
    desk = FakeDesk()
    own = World(
        tmp_path,
        lambda _, turn: done("finished") if turn == 1 else says("finished after all"),
        (expert("lead"),),
        desk=desk,
    )

    def say(event: Event) -> None:
        if event.body.type == "attemptCompletion":
            desk.helms[LEAD].steer("one more thing", "ana")

    own.heard.on = say
    ended = await own.start()
    assert ended.outcome.text == "finished after all"
    assert user_texts(own.model.requests[1])[-1] == "one more thing"


class SlowJudge(FakeDesk):
    """Never comes to a verdict, and says once it was asked."""

    def __init__(self) -> None:
        super().__init__(judging=lambda _: DriftVerdict("allowed", 0.0))
        self.asked = anyio.Event()

    async def judge(self, parent: RunId, agent_type: ExpertKey, query: str) -> DriftVerdict:
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_stop_waits_for_no_verdict_and_nothing_unjudged_begins(tmp_path: Path) -> None:
    slow = SlowJudge()
    own = team(tmp_path, slow)
    endings: list[JobOutcome] = []

    async def run() -> None:
        endings.append(await own.start())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await slow.asked.wait()
            own.control.stop("user")
    assert endings[0].outcome.ending == "stopped"
    assert not [e for e in own.heard.events if e.body.type in ("callDelegate", "judgeDrift")]
    judged: list[str] = []

    def allow(query: str) -> DriftVerdict:
        judged.append(query)
        return DriftVerdict("allowed", 0.0)

    again = team(tmp_path, FakeDesk(judging=allow))
    assert (await again.go_on(Continuation())).outcome.text == "all done"
    assert judged == ["do it"]
