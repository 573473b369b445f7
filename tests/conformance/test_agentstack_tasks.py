"""Rows 64 to 69 and 75 to 93 of AgentStack's conformance: tasks, dispatch, drift."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from perstack.domain.coordination import DispatcherSettings, DriftSettings
from perstack.domain.ids import AgentId, TaskId
from perstack.domain.task_results import completion_of
from perstack.errors import ConflictError, NotFoundError, ProviderError
from perstack.ports.experts import ExpertAnswer, ExpertRequest
from perstack.services.task_creation import NewTask
from tests.fakes.runner import FakeRunner, make_answer, make_expert, use
from tests.fakes.tasks import KNOWN_AGENT, Desk, FakeEmbedder, open_desk

pytestmark = pytest.mark.anyio

EXPERTS = {
    name: make_expert(name)
    for name in ("coder", "tester", "architect", "security-auditor", "documentation")
}
WARN = DriftSettings(enabled=True, threshold=0.9)


def says(text: str) -> FakeRunner:
    """A model that answers with text instead of calling the tool."""
    return FakeRunner(lambda _: make_answer(text), EXPERTS)


def chooses(agent_type: str, **more: float | str) -> FakeRunner:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        await use(request, "choose", agentType=agent_type, **more)
        return make_answer(ending="limit")

    return FakeRunner(answer, EXPERTS)


async def chain(desk: Desk, texts: Sequence[str]) -> TaskId:
    """Create tasks one below the other; return the last one's id."""
    last: TaskId | None = None
    for text in texts:
        made = await desk.tasks.create(NewTask("coder", text, parent_task_id=last))
        assert made.task is not None
        last = made.task.id
    assert last is not None
    return last


async def test_agentstack_row_64_without_type_and_dispatcher_the_fallback_does_it(
    tmp_path: Path,
) -> None:
    async with open_desk(
        tmp_path / "a.db", runner=says("{}"), dispatcher=DispatcherSettings(enabled=False)
    ) as desk:
        made = await desk.tasks.create(NewTask(input="write the parser"))
    assert made.task is not None
    assert (made.success, made.task.agent_type, made.dispatch) == (True, "coder", None)


async def test_agentstack_row_65_a_given_type_is_not_dispatched(tmp_path: Path) -> None:
    runner = chooses("tester", confidence=1)
    async with open_desk(tmp_path / "a.db", runner=runner) as desk:
        made = await desk.tasks.create(NewTask("architect", "write the parser"))
    assert made.task is not None
    assert made.task.agent_type == "architect"
    assert runner.asked == []


async def test_agentstack_row_66_a_failed_task_has_its_output_and_its_end(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        last = await chain(desk, ["write the parser"])
        task = await desk.tasks.complete(last, "it does not parse", status="failed")
    assert completion_of(task).model_dump(mode="json") == {
        "success": True,
        "task": {"id": last, "status": "failed", "hasOutput": True},
    }
    assert task.completed_at == desk.clock.now_ms()


async def test_agentstack_row_67_an_unknown_task_is_not_found(tmp_path: Path) -> None:
    nobody = TaskId("33333333-3333-4333-8333-333333333333")
    async with open_desk(tmp_path / "a.db") as desk:
        for refused in (
            desk.tasks.assign(nobody, KNOWN_AGENT),
            desk.tasks.complete(nobody),
            desk.tasks.get(nobody),
        ):
            with pytest.raises(NotFoundError, match="Task not found"):
                await refused


async def test_agentstack_row_68_assigning_a_completed_task_is_refused_and_keeps_its_output(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        last = await chain(desk, ["write the parser"])
        await desk.tasks.complete(last, "the parser")
        with pytest.raises(ConflictError, match="Task is already completed"):
            await desk.tasks.assign(last, KNOWN_AGENT)
        task = await desk.tasks.get(last)
    assert (task.status, task.output) == ("completed", "the parser")


async def test_agentstack_row_69_deleting_takes_vectors_and_relationships_and_keeps_events(
    tmp_path: Path,
) -> None:
    embedder = FakeEmbedder()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder) as desk:
        last = await chain(desk, ["write the parser", "write the parser"])
        await desk.drift.settled()
        assert await desk.tasks.relationships(last)
        assert await desk.tasks.delete(last)
        assert await desk.tasks.relationships(last) == []
        report = await desk.drift.report()
        with pytest.raises(NotFoundError):
            await desk.handle.ask(
                lambda stores: stores.drift.ancestors(last, levels=1, model=embedder.name, limit=10)
            )
    assert [one.task_id for one in report.recent_events] == [last]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"agentType": "tester", "confidence": 0.9, "reasoning": "tests"}\n```',
        'I would say {"agentType": "tester", "confidence": 0.9, "reasoning": "tests"} fits {best}',
    ],
)
async def test_agentstack_row_75_a_reply_in_a_fence_is_read(tmp_path: Path, text: str) -> None:
    async with open_desk(tmp_path / "a.db", runner=says(text)) as desk:
        made = await desk.tasks.create(NewTask(input="cover the parser"))
    assert made.task is not None
    assert made.dispatch is not None
    assert made.task.agent_type == "tester"
    assert made.dispatch.model_dump() == {
        "agentType": "tester",
        "confidence": 0.9,
        "reasoning": "tests",
        "cached": False,
    }


@pytest.mark.parametrize("said", ["security_auditor", "Security Auditor", " SECURITY-AUDITOR "])
async def test_agentstack_row_76_a_type_is_recognised_however_it_is_written(
    tmp_path: Path, said: str
) -> None:
    async with open_desk(tmp_path / "a.db", runner=chooses(said, confidence=0.9)) as desk:
        decision = (await desk.dispatcher.dispatch("look for holes")).decision
    assert decision is not None
    assert decision.agent_type == "security-auditor"


async def test_agentstack_row_77_an_unknown_type_and_a_broken_reply_lead_to_the_fallback(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db", runner=chooses("wizard", confidence=0.9)) as desk:
        unknown = (await desk.dispatcher.dispatch("do magic")).decision
    assert unknown is not None
    assert (unknown.agent_type, unknown.confidence) == ("coder", 0.9)
    for text in ("no idea", '{"agentType": ', "[]", '{"agentType": 7}', "{" * 5_000):
        async with open_desk(tmp_path / "a.db", runner=says(text)) as desk:
            broken = (await desk.dispatcher.dispatch("do magic")).decision
        assert broken is not None
        assert (broken.agent_type, broken.confidence) == ("coder", 0.0)


async def test_agentstack_row_78_confidence_is_kept_within_its_bounds(tmp_path: Path) -> None:
    for given, kept in (({"confidence": 1.5}, 1.0), ({}, 0.5), ({"confidence": -3}, 0.0)):
        settings = DispatcherSettings(confidence_threshold=0)
        async with open_desk(
            tmp_path / "a.db", runner=chooses("tester", **given), dispatcher=settings
        ) as desk:
            decision = (await desk.dispatcher.dispatch("cover the parser")).decision
        assert decision is not None
        assert decision.confidence == kept
        assert decision.reasoning == "No reasoning provided"


async def test_agentstack_row_79_low_confidence_leads_to_the_fallback(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db", runner=chooses("tester", confidence=0.4)) as desk:
        decision = (await desk.dispatcher.dispatch("something")).decision
    assert decision is not None
    assert decision.agent_type == "coder"
    assert decision.reasoning == "Low confidence (0.40), using fallback agent"


async def test_agentstack_row_80_the_same_text_is_asked_about_once_until_it_expires(
    tmp_path: Path,
) -> None:
    runner = chooses("tester", confidence=0.9)
    async with open_desk(tmp_path / "a.db", runner=runner) as desk:
        cached: list[bool] = []
        for wait_ms in (0, 3_599_999, 1):
            desk.clock.move(wait_ms)
            decision = (await desk.dispatcher.dispatch("cover the parser")).decision
            assert decision is not None
            cached.append(decision.cached)
    assert cached == [False, True, False]
    assert len(runner.asked) == 2


async def test_agentstack_row_81_the_text_is_cut_before_it_is_asked_about(tmp_path: Path) -> None:
    runner = chooses("tester", confidence=0.9)
    settings = DispatcherSettings(max_description_length=50)
    async with open_desk(tmp_path / "a.db", runner=runner, dispatcher=settings) as desk:
        await desk.dispatcher.dispatch("x" * 5_000)
    assert "<task>\n" + "x" * 50 + "\n</task>" in runner.asked[0].query
    assert "x" * 51 not in runner.asked[0].query


async def test_agentstack_row_82_a_failing_provider_leads_to_the_fallback_and_is_asked_again(
    tmp_path: Path,
) -> None:
    def fails(_: ExpertRequest) -> ExpertAnswer:
        raise ProviderError("overloaded")

    for runner in (
        FakeRunner(fails, EXPERTS),
        FakeRunner(lambda _: make_answer(ending="failed", error="overloaded"), EXPERTS),
    ):
        async with open_desk(tmp_path / "a.db", runner=runner) as desk:
            outcome = await desk.dispatcher.dispatch("cover the parser")
            await desk.dispatcher.dispatch("cover the parser")
        assert outcome.success
        assert outcome.decision is not None
        assert (outcome.decision.agent_type, outcome.decision.confidence) == ("coder", 0.0)
        assert outcome.decision.reasoning == "Dispatch failed: overloaded. Using fallback agent."
        assert len(runner.asked) == 2


async def test_agentstack_row_83_disabled_or_without_an_embedder_nothing_is_asked(
    tmp_path: Path,
) -> None:
    embedder = FakeEmbedder()
    for settings, used in ((DriftSettings(), embedder), (WARN, None)):
        async with open_desk(tmp_path / "a.db", drift=settings, embedder=used) as desk:
            last = await chain(desk, ["write the parser"])
            found = await desk.drift.preview("write the parser", "coder", last)
            assert (await desk.drift.report()).metrics.total_events == 0
        assert (found.result.action, found.result.checked_ancestors) == ("allowed", 0)
        assert found.result.verdict == "inactive"
    assert embedder.asked == []


async def test_agentstack_row_84_a_repeated_grandparent_is_warned_of(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        parent = await chain(desk, ["write the parser", "design some tests"])
        grandparent = (await desk.tasks.get(parent)).parent_task_id
        made = await desk.tasks.create(NewTask("coder", "write the parser", parent_task_id=parent))
    assert made.success
    assert made.drift is not None
    assert (made.drift.is_drift, made.drift.action) == (True, "warned")
    assert made.drift.most_similar_task_id == grandparent
    assert made.drift.highest_similarity == 1.0


async def test_agentstack_row_85_a_prevented_task_is_not_created(tmp_path: Path) -> None:
    settings = WARN.model_copy(update={"behavior": "prevent"})
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=FakeEmbedder()) as desk:
        parent = await chain(desk, ["write the parser", "design some tests"])
        grandparent = (await desk.tasks.get(parent)).parent_task_id
        made = await desk.tasks.create(NewTask("coder", "write the parser", parent_task_id=parent))
        assert len(await desk.tasks.list()) == 2
        assert (await desk.drift.report()).metrics.prevented_count == 1
    assert made.model_dump(mode="json", exclude_none=True) == {
        "success": False,
        "error": "Task creation prevented due to semantic drift",
        "code": "conflict",
        "drift": {
            "isDrift": True,
            "highestSimilarity": 1.0,
            "mostSimilarTaskId": grandparent,
            "mostSimilarTaskInput": "write the parser",
            "action": "prevented",
        },
    }


async def test_agentstack_row_86_between_the_thresholds_is_warned_of_and_no_drift(
    tmp_path: Path,
) -> None:
    embedder = FakeEmbedder(angles={"like it": 0.85})
    settings = WARN.model_copy(update={"warning_threshold": 0.8})
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=embedder) as desk:
        parent = await chain(desk, ["base"])
        found = (await desk.drift.preview("like it", "coder", parent)).result
        events = (await desk.drift.report()).recent_events
    assert (found.is_drift, found.action, found.highest_similarity) == (False, "warned", 0.85)
    assert [one.action_taken for one in events] == ["warned"]


async def test_agentstack_row_87_the_direct_parent_is_compared(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=FakeEmbedder()) as desk:
        parent = await chain(desk, ["write the parser"])
        found = (await desk.drift.preview("write the parser", "coder", parent)).result
    assert (found.is_drift, found.most_similar_task_id) == (True, parent)
    assert found.checked_ancestors == 1


async def test_agentstack_row_88_with_a_failing_embedder_a_task_is_allowed_and_said_to_be_unseen(
    tmp_path: Path,
) -> None:
    embedder = FakeEmbedder()
    async with open_desk(tmp_path / "a.db", drift=WARN, embedder=embedder) as desk:
        parent = await chain(desk, ["write the parser"])
        embedder.fails = True
        made = await desk.tasks.create(NewTask("coder", "write a lexer", parent_task_id=parent))
    assert made.success
    assert made.drift is not None
    assert (made.drift.action, made.drift.verdict) == ("allowed", "pending")
    assert made.drift.reason == "the embedder is down"


async def test_agentstack_row_89_a_circle_of_relationships_comes_to_an_end(tmp_path: Path) -> None:
    settings = WARN.model_copy(update={"ancestor_depth": 10})
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=FakeEmbedder()) as desk:
        last = await chain(desk, ["one", "two", "three"])
        first = (await desk.tasks.list())[-1].id
        await desk.tasks.relate(last, first, "derived_from")
        found = (await desk.drift.preview("four", "coder", last)).result
    assert found.checked_ancestors == 3


async def test_agentstack_row_90_no_more_levels_are_examined_than_configured(
    tmp_path: Path,
) -> None:
    settings = WARN.model_copy(update={"ancestor_depth": 2})
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=FakeEmbedder()) as desk:
        last = await chain(desk, ["one", "two", "three", "four", "five"])
        allowed = (await desk.drift.preview("three", "coder", last)).result
        drifts = (await desk.drift.preview("four", "coder", last)).result
    assert (allowed.checked_ancestors, allowed.is_drift) == (2, False)
    assert drifts.is_drift


@pytest.mark.parametrize("behind", [True, False])
async def test_agentstack_row_91_a_child_that_follows_at_once_is_compared_with_its_parent(
    tmp_path: Path, behind: bool
) -> None:
    settings = WARN.model_copy(update={"async_embedding": behind})
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=FakeEmbedder()) as desk:
        parent = await desk.tasks.create(NewTask("coder", "write the parser"))
        assert parent.task is not None
        child = await desk.tasks.create(
            NewTask("coder", "write the parser", parent_task_id=parent.task.id)
        )
    assert child.drift is not None
    assert child.drift.most_similar_task_id == parent.task.id
    assert child.drift.is_drift


async def test_agentstack_row_92_relating_twice_gives_the_same_relationship(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        last = await chain(desk, ["one", "two"])
        first = (await desk.tasks.list())[-1].id
        made = await desk.tasks.relate(last, first, "depends_on")
        assert (await desk.tasks.relate(last, first, "depends_on")).id == made.id
        assert (await desk.tasks.relate(last, first, "supersedes")).id != made.id


async def test_agentstack_row_93_without_events_the_metrics_are_zeros(tmp_path: Path) -> None:
    settings = DriftSettings(enabled=True, warning_threshold=0.8)
    async with open_desk(tmp_path / "a.db", drift=settings, embedder=FakeEmbedder()) as desk:
        report = await desk.drift.report()
    assert report.model_dump(mode="json") == {
        "success": True,
        "metrics": {
            "totalEvents": 0,
            "allowedCount": 0,
            "warnedCount": 0,
            "preventedCount": 0,
            "pendingCount": 0,
            "averageSimilarity": 0.0,
        },
        "recentEvents": [],
        "config": {
            "enabled": True,
            "active": True,
            "threshold": 0.95,
            "warningThreshold": 0.8,
            "ancestorDepth": 3,
            "behavior": "warn",
            "asyncEmbedding": True,
            "embedder": "fake:words",
        },
    }


async def test_an_agent_that_is_not_there_gets_no_task(tmp_path: Path) -> None:
    async with open_desk(tmp_path / "a.db") as desk:
        last = await chain(desk, ["one"])
        with pytest.raises(NotFoundError, match="Agent not found"):
            await desk.tasks.assign(last, AgentId("nobody"))
        task = await desk.tasks.assign(last, KNOWN_AGENT)
    assert (task.status, task.agent_id) == ("running", KNOWN_AGENT)
