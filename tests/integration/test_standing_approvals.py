"""Approving an exact tool call for the rest of a job: what it covers, and taking it back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue
from typer.testing import CliRunner

from perstack.cli.consensus import consensus_app
from perstack.domain.consensus import ConsensusCheckpoint, call_digest
from perstack.domain.events import Event
from perstack.domain.expert import BASE_SKILL, BaseSkill, McpStdioSkill
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, StandingId, SubtaskId
from perstack.domain.settings import ExecSettings, RiskLevel, Settings
from perstack.domain.standing import ExactCall, StandingApproval, canonical, definition_digest
from perstack.errors import ConflictError, DeniedError, NotFoundError, UsageError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle
from perstack.services.standing import StandingApprovals
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.consensus import NOW_MS, SetClock, make_checkpoint
from tests.fakes.desk import FakeDesk
from tests.fakes.engine import FakeGate, FakeSkills, World, decided, done, expert, says

pytestmark = pytest.mark.anyio

K1 = ConsensusId("k1")
ARGS: dict[str, JsonValue] = {"path": "x.txt", "force": True}


# ------------------------------------------------------------------ what a run makes of it


class Disk:
    """Remembers what was wiped, and asks the model's part of the story."""

    def __init__(self, *turns: Mapping[str, JsonValue]) -> None:
        self.wiped: list[JsonValue] = []
        self._turns = turns

    async def wipe(self, args: Mapping[str, JsonValue]) -> str:
        self.wiped.append(dict(args))
        return "wiped"

    def story(self, request: ModelRequest, turn: int) -> Generation:
        if turn > len(self._turns):
            return done("end")
        return says("", ("wipe", dict(self._turns[turn - 1])))


def world(path: Path, disk: Disk, gate: FakeGate) -> World:
    skills = FakeSkills({"wipe": disk.wipe}, gated=frozenset({"wipe"}))
    return World(path, disk.story, (expert("lead"),), skills=skills, gate=gate, wait_at_gates=False)


def standing(job_id: str, **args: JsonValue) -> StandingApproval:
    return StandingApproval(
        id=StandingId("k1-s1"),
        job_id=JobId(job_id),
        expert_key=ExpertKey("lead"),
        skill_name=BASE_SKILL,
        skill_digest=definition_digest(BaseSkill(), Settings()),
        tool_name="wipe",
        arguments=canonical(args),
        consensus_id=K1,
        approved_by="ana@pi",
        approved_at=NOW_MS,
    )


def approve_newest(gate: FakeGate) -> ConsensusCheckpoint:
    newest = list(gate.proposed.values())[-1]
    gate.proposed[newest.id] = decided(newest, approved=True)
    return newest


async def test_the_same_call_passes_and_the_history_says_who_let_it(tmp_path: Path) -> None:
    disk, gate = Disk({"disk": "scratch"}, {"disk": "scratch"}), FakeGate()
    ran = world(tmp_path, disk, gate)
    waiting = await ran.start()
    first = approve_newest(gate)
    gate.standing.append(standing(waiting.job_id, disk="scratch"))
    ended = await ran.go_on(Continuation(job_id=waiting.job_id))
    assert ended.outcome.text == "end"
    assert disk.wiped == [{"disk": "scratch"}] * 2
    assert list(gate.proposed) == [first.id]
    events = b"".join(
        path.read_bytes() for path in (tmp_path / "perstack/jobs").rglob("events.jsonl")
    )
    assert b'"standingId":"k1-s1"' in events
    assert b'"decidedBy":"ana@pi"' in events


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"disk": "scratch", "force": True}, "an argument more"),
        ({"disk": "Scratch"}, "another value"),
        ({"disk": ["scratch"]}, "another shape"),
    ],
)
async def test_anything_but_exactly_the_same_call_waits(
    tmp_path: Path, given: Mapping[str, JsonValue], why: str
) -> None:
    disk, gate = Disk({"disk": "scratch"}), FakeGate()
    ran = world(tmp_path, disk, gate)
    job_id = JobId("job-one")
    gate.standing.append(standing(job_id, **given))
    await ran.start(job_id=job_id)
    assert len(gate.proposed) == 1, why
    assert disk.wiped == []


async def test_another_job_and_what_was_taken_back_and_high_risk_wait(tmp_path: Path) -> None:
    taken_back = standing("job-2", disk="scratch").model_copy(
        update={"revoked_by": "bo@pi", "revoked_at": NOW_MS}
    )
    risky = standing("job-3", disk="delete production")
    cases = [
        ("job-1", "scratch", standing("job-other", disk="scratch")),
        ("job-2", "scratch", taken_back),
        ("job-3", "delete production", risky),
    ]
    for job_id, name, given in cases:
        disk, gate = Disk({"disk": name}), FakeGate(standing=[given])
        (tmp_path / job_id).mkdir()
        await world(tmp_path / job_id, disk, gate).start(job_id=JobId(job_id))
        assert len(gate.proposed) == 1, job_id
        assert disk.wiped == []


async def test_what_is_not_covered_waits_beside_what_is(tmp_path: Path) -> None:
    disk, gate = Disk(), FakeGate()
    calls: tuple[tuple[str, dict[str, JsonValue]], ...] = (
        ("wipe", {"disk": "scratch"}),
        ("wipe", {"disk": "tmp"}),
    )
    skills = FakeSkills({"wipe": disk.wipe}, gated=frozenset({"wipe"}))
    ran = World(
        tmp_path,
        lambda _, turn: says("", *calls) if turn == 1 else done("end"),
        (expert("lead"),),
        skills=skills,
        gate=gate,
        wait_at_gates=False,
    )
    job_id = JobId("job-one")
    gate.standing.append(standing(job_id, disk="scratch"))
    await ran.start(job_id=job_id)
    assert disk.wiped == [{"disk": "scratch"}]
    (waiting,) = gate.proposed.values()
    assert [task.input for task in waiting.proposed_subtasks] == ['{"disk": "tmp"}']
    approve_newest(gate)
    await ran.go_on(Continuation(job_id=job_id))
    assert disk.wiped == [{"disk": "scratch"}, {"disk": "tmp"}]


DB = McpStdioSkill(command="db-server", args=("--at", "scratch"))
OTHER = McpStdioSkill(command="db-server", args=("--at", "production"))


def of_db(path: Path, disk: Disk, gate: FakeGate, skill: McpStdioSkill, key: str) -> World:
    """A world in which `wipe` is a tool of the skill db, and one Expert has that skill."""
    skills = FakeSkills({"wipe": disk.wipe}, {"wipe": "db"}, gated=frozenset({"wipe"}))
    experts = (expert(key, skills={"db": skill}),)
    return World(path, disk.story, experts, skills=skills, gate=gate, wait_at_gates=False)


def given_for(job_id: str, *, skill: McpStdioSkill = DB, key: str = "lead") -> StandingApproval:
    digest = definition_digest(skill, Settings())
    update = {"expert_key": ExpertKey(key), "skill_name": "db", "skill_digest": digest}
    return standing(job_id, disk="scratch").model_copy(update=update)


@pytest.mark.parametrize(
    ("given", "waits"),
    [
        (given_for("job-1"), 0),
        (given_for("job-1", skill=OTHER), 1),
        (given_for("job-1", key="prod"), 1),
    ],
)
async def test_a_skill_of_the_same_name_is_another_when_another_expert_has_it_or_it_is_redefined(
    tmp_path: Path, given: StandingApproval, waits: int
) -> None:
    disk, gate = Disk({"disk": "scratch"}), FakeGate(standing=[given])
    await of_db(tmp_path, disk, gate, DB, "lead").start(job_id=JobId("job-1"))
    assert len(gate.proposed) == waits
    assert len(disk.wiped) == 1 - waits


async def test_a_run_that_took_another_definition_asks_again(tmp_path: Path) -> None:
    disk, gate, desk = Disk(*[{"disk": "scratch"}] * 2), FakeGate(), FakeDesk()
    gate.standing.append(given_for("job-1"))
    ran = of_db(tmp_path, disk, gate, DB, "lead")
    ran.desk = desk
    newer = {ExpertKey("lead"): expert("lead", skills={"db": OTHER})}

    def on(event: Event) -> None:
        if event.body.type == "callTools" and event.step_number == 1:
            desk.helms[ExpertKey("lead")].take_definition(newer, "ana")

    ran.heard.on = on
    ended = await ran.start(job_id=JobId("job-1"))
    assert ended.outcome.ending == "awaiting"
    assert len(disk.wiped) == len(gate.proposed) == 1


async def test_what_was_let_pass_is_not_made_when_the_job_goes_on_with_another_server(
    tmp_path: Path,
) -> None:
    disk, gate = Disk({"disk": "scratch"}), FakeGate(standing=[given_for("job-1")])
    ran = of_db(tmp_path, disk, gate, DB, "lead")

    def on(event: Event) -> None:
        if event.body.type == "resolveApproval":
            ran.control.stop("user")

    ran.heard.on = on
    assert (await ran.start(job_id=JobId("job-1"))).outcome.ending == "stopped"
    again = of_db(tmp_path, disk, gate, OTHER, "lead")
    assert (await again.go_on(Continuation())).outcome.text == "end"
    assert disk.wiped == []
    assert "not the call of wipe that was approved" in again.heard.results()[0][1]


def test_the_base_skill_is_another_when_its_commands_are_shut_in_otherwise() -> None:
    shut_in = Settings(exec=ExecSettings(sandbox="bubblewrap"))
    assert definition_digest(BaseSkill(), shut_in) != definition_digest(BaseSkill(), Settings())
    assert definition_digest(DB, shut_in) == definition_digest(DB, Settings())


# ------------------------------------------------------------------ giving and taking back


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Handle[Stores]]:
    clock = SetClock()
    handle = Handle(lambda: open_stores(database_path(tmp_path), clock=clock, ids=Uuids()))
    yield handle
    await handle.aclose()


def tool_gate(
    name: str = K1,
    *,
    risk: RiskLevel = "medium",
    secret: bool = False,
    skill_digest: str | None = "d1",
) -> ConsensusCheckpoint:
    made = make_checkpoint(name, subtasks=2)
    text = json.dumps(ARGS).replace("x.txt", "••••" if secret else "x.txt")
    tool = made.proposed_subtasks[0].model_copy(
        update={
            "agent_type": "@perstack/base",
            "tool_name": "deleteFile",
            "input": text,
            "estimated_risk_level": risk,
            "digest": call_digest("@perstack/base", "deleteFile", ARGS),
            "skill_digest": skill_digest,
        }
    )
    return made.model_copy(update={"proposed_subtasks": (tool, made.proposed_subtasks[1])})


def services(stores: Handle[Stores], workspace: Path) -> tuple[ConsensusService, StandingApprovals]:
    clock = SetClock()
    return (
        ConsensusService(stores, clock=clock, workspace=workspace),
        StandingApprovals(stores, clock=clock, workspace=workspace),
    )


async def give(consensus: ConsensusService, *, reject: str = "s2") -> ConsensusCheckpoint:
    return await consensus.decide(
        K1,
        approved=True,
        rejected_subtask_ids=[SubtaskId(reject)],
        reviewed_by="ana@pi",
        standing=True,
    )


async def test_what_is_kept_is_written_with_the_decision_and_can_be_taken_back(
    stores: Handle[Stores], tmp_path: Path
) -> None:
    consensus, standing_ = services(stores, tmp_path)
    await consensus.propose(tool_gate())
    await give(consensus)
    (given,) = await standing_.list_standing()
    same = ExactCall(
        expert_key=ExpertKey("release-captain"),
        skill_name="@perstack/base",
        skill_digest="d1",
        tool_name="deleteFile",
        arguments=canonical(dict(reversed(ARGS.items()))),
    )
    assert given.covers(same)
    assert not given.covers(same.model_copy(update={"skill_digest": "d2"}))
    assert not given.covers(same.model_copy(update={"expert_key": ExpertKey("writer")}))
    assert (given.job_id, given.approved_by, given.is_revoked) == ("job1", "ana@pi", False)
    assert await consensus.standing_of(JobId("job1")) == [given]
    assert await consensus.standing_of(JobId("job2")) == []
    revoked = await standing_.revoke_standing(given.id, by="bo@pi")
    assert (revoked.revoked_by, revoked.is_revoked) == ("bo@pi", True)
    again = await standing_.revoke_standing(given.id, by="cy@pi")
    assert again.revoked_by == "bo@pi"
    events = [entry.event for entry in await consensus.audit(K1)]
    assert events[-3:] == ["approved", "standing_approved", "standing_revoked"]


async def test_what_must_not_stand_is_refused_and_nothing_is_decided(
    stores: Handle[Stores], tmp_path: Path
) -> None:
    consensus, standing_ = services(stores, tmp_path)
    cases = [
        (tool_gate(risk="high"), "s2", "high risk"),
        (tool_gate(secret=True), "s2", "hold a secret"),
        (tool_gate(), "s1", "only a tool's call"),
        (tool_gate(skill_digest=None), "s2", "how its skill is defined"),
        (tool_gate().model_copy(update={"job_id": None, "run_id": None}), "s2", "no job waits"),
    ]
    for number, (asked, reject, why) in enumerate(cases):
        asked = asked.model_copy(update={"id": ConsensusId(f"case{number}")})
        await consensus.propose(asked)
        with pytest.raises(UsageError, match=why):
            await consensus.decide(
                asked.id,
                approved=True,
                rejected_subtask_ids=[SubtaskId(reject)],
                standing=True,
            )
        assert (await consensus.show(asked.id)).status == "pending"
    assert await standing_.list_standing() == []


async def test_who_comes_second_gives_nothing(stores: Handle[Stores], tmp_path: Path) -> None:
    consensus, standing_ = services(stores, tmp_path)
    await consensus.propose(tool_gate())
    await consensus.decide(K1, approved=False, reviewed_by="bo@pi")
    with pytest.raises(ConflictError, match="already rejected by bo@pi"):
        await give(consensus)
    assert await standing_.list_standing() == []


async def test_a_run_and_what_it_started_can_neither_give_nor_take_back(
    stores: Handle[Stores], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consensus, standing_ = services(stores, tmp_path)
    await consensus.propose(tool_gate())
    monkeypatch.setenv("PERSTACK_RUN_ID", "run1")
    with pytest.raises(DeniedError):
        await give(consensus)
    with pytest.raises(DeniedError):
        await standing_.revoke_standing(StandingId("k1-s1"), by="ana@pi")


async def test_a_damaged_one_is_refused_by_name(stores: Handle[Stores], tmp_path: Path) -> None:
    consensus, standing_ = services(stores, tmp_path)
    with pytest.raises(NotFoundError, match="no standing approval 'gone'"):
        await standing_.revoke_standing(StandingId("gone"), by="ana@pi")
    await consensus.propose(tool_gate())
    await give(consensus)
    with closing(sqlite3.connect(database_path(tmp_path))) as raw:
        raw.execute("UPDATE standing_approvals SET approved_at = 'x'")
        raw.commit()
    with pytest.raises(Exception, match="'k1-s1' is damaged"):
        await standing_.list_standing()


# ------------------------------------------------------------------ the command line


def test_the_command_line_gives_lists_and_takes_back(tmp_path: Path) -> None:
    async def put() -> None:
        clock = SystemClock()
        handle = Handle(lambda: open_stores(database_path(tmp_path), clock=clock, ids=Uuids()))
        service = ConsensusService(handle, clock=clock, workspace=tmp_path)
        await service.propose(tool_gate())
        await handle.aclose()

    def call(*words: str) -> str:
        result = CliRunner().invoke(consensus_app(), [*words, "--workspace", str(tmp_path)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    assert "Nothing was approved for the rest" in call("standing", "list")
    anyio.run(put)
    call("approve", K1, "--reject-subtask", "s2", "--standing")
    listed = call("standing", "list")
    assert "k1-s1  job job1  @perstack/base" in listed
    assert "@perstack/base of release-captain  by" in listed
    assert "standing revoke ID" in listed
    (row,) = json.loads(call("standing", "list", "--json"))
    assert row["arguments"] == canonical(ARGS)
    assert "such calls wait again" in call("standing", "revoke", "k1-s1")
    assert "Nothing was approved" in call("standing", "list")
    assert "revoked by" in call("standing", "list", "--all")
