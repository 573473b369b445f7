"""What was approved is what runs: a call whose arguments were changed since is refused (G10)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.ids import ConsensusId
from perstack.domain.settings import ConsensusSettings
from perstack.errors import LockedError
from perstack.ports.frontend import Continuation
from perstack.storage.history.codec import seal, unseal
from tests.fakes.engine import FakeGate, FakeSkills, World, decided, done, expert, says

pytestmark = pytest.mark.anyio

ON = ConsensusSettings(enabled=True)


class Disk:
    """Remembers what was wiped."""

    def __init__(self) -> None:
        self.wiped: list[JsonValue] = []

    async def wipe(self, args: Mapping[str, JsonValue]) -> str:
        self.wiped.append(args["disk"])
        return f"wiped {args['disk']}"


def wiping(path: Path, disk: Disk, gate: FakeGate) -> World:
    return World(
        path,
        lambda _, turn: (
            says("", ("wipe", {"disk": "scratch"}), ("wipe", {"disk": "tmp \u00e9 \ud800"}))
            if turn == 1
            else done("end")
        ),
        (expert("lead"),),
        skills=FakeSkills({"wipe": disk.wipe}, gated=frozenset({"wipe"})),
        gate=gate,
        wait_at_gates=False,
    )


def delegating(path: Path, gate: FakeGate) -> World:
    return World(
        path,
        lambda request, turn: (
            done(f"{request.expert_key} ran")
            if request.expert_key != "lead"
            else says("", ("ship", {"query": "deploy the docs"}))
            if turn == 1
            else done("end")
        ),
        (expert("lead", "ship"), expert("ship")),
        gate=gate,
        consensus=ON,
        wait_at_gates=False,
    )


def forge(workspace: Path, old: bytes, new: bytes) -> None:
    """Change a text everywhere in a job's history, checksums and all."""
    found = 0
    for path in (workspace / "perstack" / "jobs").rglob("events.jsonl"):
        lines: list[bytes] = []
        for line in path.read_bytes().splitlines():
            document = unseal(line)
            assert document is not None
            found += document.count(old)
            lines.append(seal(document.replace(old, new)) + b"\n")
        path.write_bytes(b"".join(lines))
    assert found


def approve(gate: FakeGate) -> ConsensusCheckpoint:
    (checkpoint,) = gate.proposed.values()
    gate.proposed[checkpoint.id] = decided(checkpoint, approved=True)
    return checkpoint


async def test_a_tool_call_changed_in_the_history_after_its_approval_is_refused(
    tmp_path: Path,
) -> None:
    disk, gate = Disk(), FakeGate()
    world = wiping(tmp_path, disk, gate)
    waiting = await world.start()
    approve(gate)
    forge(tmp_path, b'"scratch"', b'"production"')
    ended = await world.go_on(Continuation(job_id=waiting.job_id))
    assert ended.outcome.text == "end"
    assert [str(name).replace("\ufffd", "") for name in disk.wiped] == ["tmp \u00e9 "]
    refused, made = world.heard.results()[:2]
    if refused[1].startswith("wiped"):
        refused, made = made, refused
    why = "Refused: this is not the call of wipe that was approved; it was changed since."
    assert refused == ("wipe", f"{why} Nothing was done.", True)
    assert made[1].startswith("wiped tmp")
    # It is on record: going on once more changes nothing.
    texts = (tmp_path / "perstack" / "jobs").rglob("events.jsonl")
    assert any(b"Refused: this is not the call" in path.read_bytes() for path in texts)


async def test_a_delegation_changed_after_its_approval_is_refused(tmp_path: Path) -> None:
    gate = FakeGate()
    world = delegating(tmp_path, gate)
    waiting = await world.start()
    approve(gate)
    forge(tmp_path, b"deploy the docs", b"deploy the keys")
    ended = await world.go_on(Continuation(job_id=waiting.job_id))
    assert ended.outcome.text == "end"
    assert {request.expert_key for request in world.model.requests} == {"lead"}
    assert "it was changed since" in world.heard.results()[0][1]


async def test_what_was_not_changed_is_made(tmp_path: Path) -> None:
    disk, gate = Disk(), FakeGate()
    world = wiping(tmp_path, disk, gate)
    waiting = await world.start()
    approve(gate)
    await world.go_on(Continuation(job_id=waiting.job_id))
    assert len(disk.wiped) == 2


async def test_a_checkpoint_from_before_digests_still_releases_its_call(tmp_path: Path) -> None:
    disk, gate = Disk(), FakeGate()
    world = wiping(tmp_path, disk, gate)
    waiting = await world.start()
    checkpoint = approve(gate)
    old = tuple(task.model_copy(update={"digest": None}) for task in checkpoint.proposed_subtasks)
    gate.proposed[checkpoint.id] = decided(
        checkpoint.model_copy(update={"proposed_subtasks": old}), approved=True
    )
    await world.go_on(Continuation(job_id=waiting.job_id))
    assert len(disk.wiped) == 2


async def test_a_locked_database_is_waited_for_before_the_approved_call(tmp_path: Path) -> None:
    class Locked(FakeGate):
        shown = 0

        async def show(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
            found = await super().show(consensus_id)
            self.shown += found.status == "approved"
            if found.status == "approved" and self.shown == 3:
                raise LockedError("locked")
            return found

    disk, gate = Disk(), Locked()
    world = wiping(tmp_path, disk, gate)
    waiting = await world.start()
    approve(gate)
    await world.go_on(Continuation(job_id=waiting.job_id))
    assert gate.shown == 4
    assert len(disk.wiped) == 2


async def test_a_stop_ends_the_wait_for_a_locked_database_and_the_call_is_made_later(
    tmp_path: Path,
) -> None:
    class Locked(FakeGate):
        shown = 0
        locked = False

        async def show(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
            found = await super().show(consensus_id)
            self.shown += found.status == "approved"
            if self.locked and self.shown >= 3:
                world.control.stop("user")
                raise LockedError("locked")
            return found

    disk, gate = Disk(), Locked()
    world = wiping(tmp_path, disk, gate)
    waiting = await world.start()
    approve(gate)
    gate.locked = True
    with anyio.fail_after(20):
        stopped = await world.go_on(Continuation(job_id=waiting.job_id))
    assert (stopped.outcome.ending, disk.wiped) == ("stopped", [])
    gate.locked = False
    again = wiping(tmp_path, disk, gate)
    await again.go_on(Continuation(job_id=waiting.job_id))
    assert len(disk.wiped) == 2


async def test_a_tool_that_waits_for_a_person_keeps_what_stands_beside_it_from_reviewers(
    tmp_path: Path,
) -> None:
    gate = FakeGate(verdict=lambda checkpoint: decided(checkpoint, approved=True))
    disk = Disk()
    world = World(
        tmp_path,
        lambda request, turn: (
            done("ran")
            if request.expert_key != "lead"
            else says("", ("wipe", {"disk": "a"}), ("ship", {"query": "deploy"}))
            if turn == 1
            else done("end")
        ),
        (expert("lead", "ship"), expert("ship")),
        skills=FakeSkills({"wipe": disk.wipe}, gated=frozenset({"wipe"})),
        gate=gate,
        consensus=ON,
    )
    await world.start()
    (checkpoint,) = gate.proposed.values()
    assert len(checkpoint.proposed_subtasks) == 2
    assert checkpoint.reviewer_strategy == "human"
