"""The consensus gate as a run meets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.settings import ConsensusSettings
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from tests.fakes.engine import FakeGate, FakeSkills, World, decided, done, expert, says

pytestmark = pytest.mark.anyio

ON = ConsensusSettings(enabled=True)
TEAM = (expert("lead", "ship", "tidy"), expert("ship"), expert("tidy"))


def ask_to_ship(request: ModelRequest, turn: int) -> Generation:
    if request.expert_key != "lead":
        return done(f"{request.expert_key} ran")
    if turn == 1:
        return says("", ("ship", {"query": "deploy it"}), ("tidy", {"query": "update the index"}))
    return done("end")


def world(path: Path, gate: FakeGate, *, wait_at_gates: bool = True) -> World:
    return World(path, ask_to_ship, TEAM, gate=gate, consensus=ON, wait_at_gates=wait_at_gates)


def outcomes(of: World) -> dict[str, str]:
    return {tool: text for tool, text, _ in of.heard.results() if tool != "attemptCompletion"}


async def test_nothing_is_gated_while_consensus_is_off(tmp_path: Path) -> None:
    free = World(tmp_path, ask_to_ship, TEAM)
    assert (await free.start()).outcome.text == "end"
    assert free.gate.proposed == {}


async def test_one_response_makes_one_checkpoint_with_a_subtask_each(tmp_path: Path) -> None:
    gate = FakeGate(verdict=lambda checkpoint: decided(checkpoint, approved=True))
    ran = world(tmp_path, gate)
    await ran.start()
    (checkpoint,) = gate.proposed.values()
    assert [(t.agent_type, t.estimated_risk_level) for t in checkpoint.proposed_subtasks] == [
        ("ship", "high"),
        ("tidy", "medium"),
    ]
    assert checkpoint.risk_level == "high"
    assert checkpoint.reason == "Risk level 'high' at depth 1 requires consensus"
    assert outcomes(ran) == {"ship": "ship ran", "tidy": "tidy ran"}
    assert [notice.kind for notice in ran.notifier.notices] == ["consensus"]
    assert ran.notifier.notices[0].title == checkpoint.proposed_subtasks[0].input


async def test_rejecting_returns_the_feedback_and_delegates_nothing(tmp_path: Path) -> None:
    gate = FakeGate(verdict=lambda c: decided(c, approved=False, feedback="not on a Friday"))
    ran = world(tmp_path, gate)
    assert (await ran.start()).outcome.text == "end"
    assert outcomes(ran)["ship"] == "Rejected by ana: not on a Friday"
    assert {request.expert_key for request in ran.model.requests} == {"lead"}


async def test_a_partial_approval_runs_what_was_kept(tmp_path: Path) -> None:
    gate = FakeGate(verdict=lambda c: decided(c, approved=True, rejected=("s1",), feedback="later"))
    ran = world(tmp_path, gate)
    await ran.start()
    assert outcomes(ran) == {"ship": "Rejected by ana: later", "tidy": "tidy ran"}


async def test_expiry_tells_the_model_that_nobody_answered(tmp_path: Path) -> None:
    gate = FakeGate(verdict=lambda c: c.model_copy(update={"status": "expired"}))
    ran = world(tmp_path, gate)
    assert (await ran.start()).outcome.text == "end"
    assert "Nobody decided in time" in outcomes(ran)["ship"]


async def test_a_tool_marked_for_approval_waits_even_with_consensus_off(tmp_path: Path) -> None:
    order: list[str] = []

    async def wipe(_: Mapping[str, JsonValue]) -> str:
        order.append("ran")
        return "wiped"

    def approve(checkpoint: ConsensusCheckpoint) -> ConsensusCheckpoint:
        order.append("approved")
        return decided(checkpoint, approved=True)

    marked = World(
        tmp_path,
        lambda _, turn: says("", ("wipe", {"disk": "all"})) if turn == 1 else done("ok"),
        (expert("lead"),),
        skills=FakeSkills({"wipe": wipe}, gated=frozenset({"wipe"})),
        gate=FakeGate(verdict=approve),
    )
    await marked.start()
    assert order == ["approved", "ran"]
    (checkpoint,) = marked.gate.proposed.values()
    assert checkpoint.reviewer_strategy == "human"
    assert '"disk": "all"' in checkpoint.proposed_subtasks[0].input
    assert [notice.title for notice in marked.notifier.notices] == ["wipe all"]


async def test_no_wait_suspends_and_a_later_decision_releases_the_same_run(tmp_path: Path) -> None:
    gate = FakeGate()
    ran = world(tmp_path, gate, wait_at_gates=False)
    waiting = await ran.start()
    assert waiting.outcome.ending == "awaiting"
    (checkpoint,) = gate.proposed.values()
    assert waiting.outcome.consensus_id == checkpoint.id
    still = await ran.go_on(Continuation(job_id=waiting.job_id))
    assert still.outcome.ending == "awaiting"
    gate.proposed[checkpoint.id] = decided(checkpoint, approved=True)
    ended = await ran.go_on(Continuation(job_id=waiting.job_id))
    assert (ended.outcome.text, ended.run_id) == ("end", waiting.run_id)
    assert outcomes(ran) == {"ship": "ship ran", "tidy": "tidy ran"}


async def test_a_gate_that_was_recorded_but_never_proposed_is_proposed_on_resume(
    tmp_path: Path,
) -> None:
    gate = FakeGate()
    ran = world(tmp_path, gate, wait_at_gates=False)
    waiting = await ran.start()
    (lost,) = gate.proposed
    gate.proposed.clear()
    gate.verdict = lambda c: decided(c, approved=True)
    ran.wait_at_gates = True
    ended = await ran.go_on(Continuation(job_id=waiting.job_id))
    assert ended.outcome.text == "end"
    assert list(gate.proposed) == [lost]


async def test_an_approval_is_on_record_before_the_call_that_it_allows(tmp_path: Path) -> None:
    gate = FakeGate(verdict=lambda checkpoint: decided(checkpoint, approved=True))
    ran = world(tmp_path, gate)
    await ran.start()
    kinds = [
        kind for _, kind in ran.heard.types("requestApproval", "resolveApproval", "callDelegate")
    ]
    assert kinds == ["requestApproval", "resolveApproval", "callDelegate"]


async def test_stopping_at_a_gate_leaves_the_run_resumable(tmp_path: Path) -> None:
    gate = FakeGate()
    ran = world(tmp_path, gate)
    ran.heard.on = lambda event: (
        ran.control.stop("signal") if event.body.type == "requestApproval" else None
    )
    stopped = await ran.start()
    assert stopped.outcome.ending == "stopped"
    gate.verdict = lambda c: decided(c, approved=True)
    for key, checkpoint in list(gate.proposed.items()):
        gate.proposed[key] = decided(checkpoint, approved=True)
    ran.control = type(ran.control)()
    assert (await ran.go_on(Continuation(job_id=stopped.job_id))).outcome.text == "end"


class StuckGate(FakeGate):
    """A gate whose store does not answer, such as a database that another process locks."""

    when_stuck: Callable[[], None] | None = None

    async def propose(self, checkpoint: ConsensusCheckpoint) -> None:
        if self.when_stuck is not None:
            self.when_stuck()
            await anyio.sleep_forever()
        await super().propose(checkpoint)


async def test_a_stop_is_felt_while_a_gate_cannot_be_proposed(tmp_path: Path) -> None:
    gate = StuckGate(verdict=lambda checkpoint: decided(checkpoint, approved=True))
    ran = world(tmp_path, gate)
    gate.when_stuck = lambda: ran.control.stop("signal")
    stopped = await ran.start()
    assert stopped.outcome.ending == "stopped"
    assert gate.proposed == {}
    gate.when_stuck = None
    ran.control = type(ran.control)()
    assert (await ran.go_on(Continuation(job_id=stopped.job_id))).outcome.text == "end"
    assert len(ran.heard.types("requestApproval")) == 1


async def test_a_chain_of_harmless_delegations_waits_once_it_is_too_deep(tmp_path: Path) -> None:
    def pass_on(request: ModelRequest, turn: int) -> Generation:
        below = {"lead": "a", "a": "b", "b": "c"}.get(request.expert_key)
        if below is None or turn > 1:
            return done(f"{request.expert_key} is done")
        return says("", (below, {"query": "read it"}))

    gate = FakeGate(verdict=lambda checkpoint: decided(checkpoint, approved=False))
    chain = (expert("lead", "a"), expert("a", "b"), expert("b", "c"), expert("c"))
    rules = ConsensusSettings(enabled=True, max_depth=2)
    ran = World(tmp_path, pass_on, chain, gate=gate, consensus=rules)
    await ran.start()
    (checkpoint,) = gate.proposed.values()
    assert (checkpoint.expert_key, checkpoint.risk_level, checkpoint.depth) == ("b", "low", 3)
    assert checkpoint.reason == "Task depth 3 exceeds maximum allowed depth 2"
    assert {request.expert_key for request in ran.model.requests} == {"lead", "a", "b"}
