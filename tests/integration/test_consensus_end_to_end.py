"""A run whose delegation waits, an Expert that reviews it in a job of its own, a person or not."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.config.builtin import builtin_experts
from perstack.domain.settings import ConsensusSettings, RiskLevel
from perstack.engine.plan import Deps, JobOutcome
from perstack.ports.model import ChatModel, Generation, ModelRequest
from perstack.ports.stores import Stores
from perstack.ports.system import RandomIds, SystemClock, Uuids
from perstack.services.consensus import ConsensusService
from perstack.services.expert_runner import JobExpertRunner, RunnerParts
from perstack.services.handle import Handle
from perstack.services.review_run import ReviewParts
from perstack.services.reviewing import open_reviewer
from perstack.services.runs import Runs
from perstack.storage.database.opener import database_path, open_stores
from tests.fakes.engine import World, done, expert, latest_text, says

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
TEAM = (expert("lead", "ship"), expert("ship"))


class Team:
    """A lead that has something shipped, and a reviewer that says `verdict`."""

    def __init__(
        self, workspace: Path, rules: ConsensusSettings, verdict: dict[str, JsonValue]
    ) -> None:
        self.verdict = verdict
        self.briefs: list[str] = []
        self.stores: Handle[Stores] = Handle(
            lambda: open_stores(database_path(workspace), clock=CLOCK, ids=Uuids())
        )
        self.consensus = ConsensusService(self.stores, clock=CLOCK, workspace=workspace)
        self.world = World(workspace, self.mind, TEAM, consensus=rules)

    def mind(self, request: ModelRequest, turn: int) -> Generation:
        match request.expert_key, turn:
            case "lead", 1:
                return says("", ("ship", {"query": "deploy the docs"}))
            case "adversarial", 1:
                self.briefs.append(latest_text(request))
                return says("VERDICT: APPROVE", ("submitReview", self.verdict))
            case "ship", _:
                return done("shipped")
            case _:
                return done("end")

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Runs]:
        deps = Deps(
            model=self.world.model,
            skills=self.world.skills,
            gate=self.consensus,
            notifier=self.world.notifier,
            clock=CLOCK,
            ids=RandomIds(),
            redact=str,
            version="test",
        )
        runner = JobExpertRunner(
            RunnerParts(self.world.history, deps, self.world.plan, dict, self._no_other_model)
        )
        parts = ReviewParts(
            consensus=self.consensus,
            stores=self.stores,
            runner=lambda: runner,
            experts=builtin_experts(),
            rules=self.world.consensus,
            workspace=self.world.workspace,
            clock=CLOCK,
            ids=Uuids(),
        )
        async with open_reviewer(parts) as reviewer:
            yield Runs(self.world.history, replace(deps, gate=reviewer))
        await self.stores.aclose()

    async def _no_other_model(self, name: str) -> ChatModel:
        raise AssertionError(name)

    async def start(self, runs: Runs) -> JobOutcome:
        with anyio.fail_after(20):
            return await runs.start(
                self.world.plan,
                TEAM[0].key,
                "go",
                listener=self.world.heard,
                control=self.world.control,
            )

    def results(self) -> dict[str, str]:
        return {tool: text for tool, text, _ in self.world.heard.results()}


def rules_with(most: RiskLevel) -> ConsensusSettings:
    return ConsensusSettings(enabled=True, reviewer_may_approve=most)


async def test_a_real_reviewer_s_rejection_reaches_the_model_of_the_run(tmp_path: Path) -> None:
    team = Team(tmp_path, rules_with("high"), {"approved": False, "feedback": "not asked for"})
    async with team.running() as runs:
        ended = await team.start(runs)
    assert ended.outcome.text == "end"
    assert team.results()["ship"] == "Rejected by adversarial: not asked for"
    assert "deploy the docs" in team.briefs[0]
    # The review is a job of its own, with a history.
    assert len(list((tmp_path / "perstack" / "jobs").iterdir())) == 2


async def test_a_real_reviewer_s_approval_releases_the_run_where_it_may(tmp_path: Path) -> None:
    team = Team(tmp_path, rules_with("high"), {"approved": True, "feedback": "fine"})
    async with team.running() as runs:
        await team.start(runs)
    assert team.results()["ship"] == "shipped"


async def test_where_it_may_not_a_person_decides_with_its_words_at_hand(tmp_path: Path) -> None:
    team = Team(tmp_path, rules_with("low"), {"approved": True, "feedback": "fine"})

    async def person() -> None:
        async for inbox in team.consensus.watch(poll_s=0.01):
            for gate in inbox.pending:
                if gate.review is not None and gate.review.verdict is not None:
                    assert gate.review.verdict.feedback == "fine"
                    assert gate.review.job_id != gate.job_id
                    await team.consensus.decide(
                        gate.id, approved=True, reviewed_by="ana", allow_self=True
                    )
                    return

    async with team.running() as runs, anyio.create_task_group() as group:
        group.start_soon(person)
        await team.start(runs)
    assert team.results()["ship"] == "shipped"
