"""Review loops over a real database, their Experts played."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.ids import AgentId
from perstack.domain.reviews import LoopId, ReviewLoop
from perstack.errors import (
    ConflictError,
    LimitError,
    NotFoundError,
    ProviderError,
    StorageError,
    UnknownExpertError,
    UsageError,
)
from perstack.ports.experts import ExpertAnswer, ExpertEnding, ExpertRequest
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.projection import review_json
from perstack.services.bus import Message, MessageBus
from perstack.services.handle import Handle
from perstack.services.reviews.service import ReviewLoops
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import until
from tests.fakes.crew import FakeCrew
from tests.fakes.runner import Answering, FakeRunner, key_of, make_answer, use

pytestmark = pytest.mark.anyio

ISSUE: dict[str, JsonValue] = {
    "severity": "HIGH",
    "title": "SQL injection",
    "location": "a.py:3",
    "attackVector": "a quote",
    "impact": "all rows",
    "requiredFix": "bind it",
}


class Bench:
    """A process's loops, with everything they told and whom they asked."""

    def __init__(self, path: Path, answer: Answering, *, crew: FakeCrew | None = None) -> None:
        self.runner = FakeRunner(answer)
        self.crew = crew or FakeCrew()
        self.told: list[Message] = []
        bus = MessageBus()
        bus.subscribe_all(self.told.append)
        self.handle: Handle[Stores] = Handle(
            lambda: open_stores(path, clock=SystemClock(), ids=Uuids())
        )
        self.loops = ReviewLoops(
            self.handle,
            runner=self.runner,
            crew=self.crew,
            bus=bus,
            clock=SystemClock(),
            ids=Uuids(),
            max_loops=2,
        )

    @property
    def events(self) -> list[str]:
        return [message.type.removeprefix("loop:") for message in self.told]

    @property
    def asked(self) -> list[str]:
        return [key_of(request) for request in self.runner.asked]


Make = Callable[..., Bench]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncGenerator[Make]:
    made: list[Bench] = []

    def bench(answer: Answering, *, crew: FakeCrew | None = None) -> Bench:
        made.append(Bench(tmp_path / "perstack.db", answer, crew=crew))
        return made[-1]

    yield bench
    for one in made:
        await one.handle.aclose()


def played(verdicts: Sequence[str]) -> Answering:
    """A coder that hands in version after version, and a reviewer with these verdicts."""
    left = list(verdicts)
    versions: list[str] = []

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            versions.append(f"version {len(versions) + 1}")
            await use(request, "submitCode", code=versions[-1])
        else:
            verdict = left.pop(0)
            issues: list[JsonValue] = [] if verdict == "APPROVE" else [ISSUE]
            await use(request, "submitVerdict", verdict=verdict, issues=issues, summary="looked")
        return make_answer("done")

    return answer


def spoken(review: str, code: str = "```python\nprint(1)\n```") -> Answering:
    """Experts that use no tool."""

    def answer(request: ExpertRequest) -> ExpertAnswer:
        return make_answer(code if key_of(request) == "coder" else review)

    return answer


async def test_agentstack_row_120_a_first_review_that_approves_ends_the_loop(make: Make) -> None:
    bench = make(played(["APPROVE"]))
    loop = await bench.loops.start("add two numbers")
    assert (loop.status, loop.iteration, len(loop.reviews)) == ("approved", 1, 1)
    assert (loop.final_verdict, loop.current_code) == ("APPROVE", "version 1")
    assert bench.events == ["start", "iteration", "review", "approved", "complete"]
    assert bench.crew.here == {}
    assert [name.rsplit("-", 1)[0] for _, name, _ in bench.crew.taken] == [
        "review-loop-coder",
        "review-loop-adversarial",
    ]


async def test_agentstack_row_121_rejected_fixed_and_approved_takes_four_runs(make: Make) -> None:
    bench = make(played(["REJECT", "APPROVE"]))
    loop = await bench.loops.start("add two numbers")
    assert (loop.status, loop.iteration) == ("approved", 2)
    assert bench.asked == ["coder", "adversarial", "coder", "adversarial"]
    fix = bench.runner.asked[2].query
    assert "version 1" in fix
    assert "1. [HIGH] SQL injection\n   Fix: bind it" in fix
    assert "version 2" in bench.runner.asked[3].query
    assert bench.events[2:5] == ["review", "fix", "iteration"]


async def test_agentstack_row_122_always_rejected_ends_at_the_last_iteration(make: Make) -> None:
    bench = make(played(["REJECT"] * 3))
    loop = await bench.loops.start("add two numbers", max_iterations=3)
    assert (loop.status, loop.final_verdict) == ("max_iterations_reached", "REJECT")
    assert len(loop.reviews) == 3
    assert bench.events.count("fix") == 2
    assert bench.events[-2:] == ["review", "complete"]
    assert "approved" not in bench.events


async def test_agentstack_row_123_a_structured_review_keeps_all_fields(make: Make) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            return make_answer("x = 1")
        second: JsonValue = {"severity": "LOW", "title": "name"}
        await use(request, "submitVerdict", verdict="REJECT", issues=[ISSUE, second])
        return make_answer("**VERDICT: APPROVE**")

    loop = await make(answer).loops.start("add", max_iterations=1)
    (review,) = loop.reviews
    first, other = (issue.model_dump(exclude={"id"}) for issue in review.issues)
    assert first == ISSUE
    assert (other["severity"], other["requiredFix"]) == ("LOW", "Fix the identified issue")
    assert (review.verdict, review.structured) == ("REJECT", True)


async def test_agentstack_row_125_a_rejection_without_issues_gets_a_generic_one(
    make: Make,
) -> None:
    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            return make_answer("x = 1")
        await use(request, "submitVerdict", verdict="REJECT")
        return make_answer("")

    for answering in (answer, spoken("**VERDICT: REJECT**")):
        loop = await make(answering).loops.start("add", max_iterations=1)
        (issue,) = loop.reviews[0].issues
        assert (issue.severity, issue.title, issue.required_fix) == (
            "MEDIUM",
            "Issues found in code review",
            "Address issues mentioned in review comments",
        )


async def test_agentstack_row_127_abort_in_the_middle_stays_aborted_and_stops_the_agents(
    make: Make,
) -> None:
    async def hangs(_: ExpertRequest) -> ExpertAnswer:
        await anyio.sleep_forever()
        raise AssertionError

    bench, ended = make(hangs), list[ReviewLoop]()
    loop = await bench.loops.create("add")

    async def drive() -> None:
        ended.append(await bench.loops.resume(loop.id))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drive)
        await until(lambda: len(bench.runner.asked) == 1)
        assert len(bench.crew.here) == 2
        assert (await bench.loops.abort(loop.id)).status == "aborted"
    assert [one.status for one in ended] == ["aborted"]
    assert (bench.runner.cancelled, bench.crew.here) == (1, {})
    with pytest.raises(ConflictError, match="already aborted"):
        await bench.loops.abort(loop.id)
    assert (await bench.loops.resume(loop.id)).status == "aborted"


async def test_a_loop_of_another_process_is_aborted_within_a_second_or_so(make: Make) -> None:
    async def hangs(_: ExpertRequest) -> ExpertAnswer:
        await anyio.sleep_forever()
        raise AssertionError

    here, there = make(hangs), make(hangs)
    loop = await there.loops.create("add")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.loops.resume, loop.id)
        await until(lambda: len(there.runner.asked) == 1)
        with pytest.raises(ConflictError, match="is driven already"):
            await here.loops.resume(loop.id)
        await here.loops.abort(loop.id)
    assert (there.runner.cancelled, there.crew.here) == (1, {})
    assert (await there.loops.get(loop.id)).status == "aborted"


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
async def test_a_killed_loop_is_resumed_where_it_stood(make: Make, killed_at: int) -> None:
    crew, answering = FakeCrew(), played(["REJECT", "APPROVE"])
    asked: list[str] = []

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        asked.append(key_of(request))
        if len(asked) == killed_at:
            await anyio.sleep_forever()
        result = answering(request)
        assert not isinstance(result, ExpertAnswer)
        return await result

    first, second = make(answer, crew=crew), make(answer, crew=crew)
    loop = await first.loops.create("add")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.loops.resume, loop.id)
        await until(lambda: len(asked) == killed_at)
        tasks.cancel_scope.cancel()
    assert crew.here == {}
    ended = await second.loops.resume(loop.id)
    assert (ended.status, ended.iteration, len(ended.reviews)) == ("approved", 2, 2)
    in_order = ["coder", "adversarial", "coder", "adversarial"]
    assert asked == [*in_order[:killed_at], *in_order[killed_at - 1 :]]


@pytest.mark.parametrize("ending", ["failed", "asked", "limit", "stopped", "awaiting"])
async def test_an_expert_that_fails_fails_the_loop_and_the_caller_is_told(
    make: Make, ending: ExpertEnding
) -> None:
    def answer(_: ExpertRequest) -> ExpertAnswer:
        return make_answer("print(1)", ending=ending, error="the vendor says 500")

    bench = make(answer)
    loop = await bench.loops.create("add")
    with pytest.raises(ProviderError, match=r"the coder .*: the vendor says 500"):
        await bench.loops.resume(loop.id)
    found = await bench.loops.get(loop.id)
    assert found.status == "failed"
    assert found.error is not None
    assert bench.events == ["start", "error"]
    assert bench.crew.here == {}


async def test_agents_that_cannot_be_let_go_change_nothing_of_what_the_loop_came_to(
    make: Make,
) -> None:
    class Clinging(FakeCrew):
        async def let_go(self, agent_id: AgentId) -> None:
            raise StorageError("the disk is full")

    loop = await make(played(["APPROVE"]), crew=Clinging()).loops.start("add")
    assert loop.status == "approved"


async def test_an_unknown_expert_and_a_full_house_fail_the_loop(make: Make) -> None:
    def unknown(_: ExpertRequest) -> ExpertAnswer:
        raise UnknownExpertError("coder", [])

    with pytest.raises(UnknownExpertError):
        await make(unknown).loops.start("add")
    full = make(unknown, crew=FakeCrew(limit=1))
    with pytest.raises(LimitError):
        await full.loops.start("add")
    assert full.crew.here == {}
    failed = await full.loops.list(statuses=["failed"])
    assert len(failed) == 2
    assert await full.loops.list() == []


async def test_agentstack_row_128_too_many_iterations_and_empty_code_are_refused(
    make: Make,
) -> None:
    bench = make(played([]))
    for iterations in (0, 11):
        with pytest.raises(UsageError, match="maxIterations"):
            await bench.loops.start("add", max_iterations=iterations)
    for code in ("", " \n", "x" * 500_001):
        with pytest.raises(UsageError):
            await bench.loops.start(code)
    assert await bench.loops.list() == []


async def test_at_most_so_many_loops_work_at_a_time_and_the_others_wait(make: Make) -> None:
    going = anyio.Event()

    async def waits(request: ExpertRequest) -> ExpertAnswer:
        await going.wait()
        text = "x = 1" if key_of(request) == "coder" else "**VERDICT: APPROVE**"
        return make_answer(text)

    bench = make(waits)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(bench.loops.start, "add")
        await until(lambda: len(bench.runner.asked) == 2)
        listed: list[str] = []
        while len(listed) < 3:
            listed = sorted(one.status for one in await bench.loops.list())
        assert listed == ["coding", "coding", "pending"]
        going.set()
    assert len(await bench.loops.list(statuses=["approved"])) == 3


async def test_an_approval_that_lists_a_grave_issue_is_sent_back(make: Make) -> None:
    refused: list[str] = []

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            return make_answer("x = 1")
        wrong: list[dict[str, JsonValue]] = [
            {"verdict": "APPROVE", "issues": [ISSUE]},
            {"verdict": "MAYBE"},
            {"verdict": "REJECT", "issues": [{"severity": "HIGH"}]},
        ]
        for arguments in wrong:
            with pytest.raises(ValueError, match=r"APPROVE|verdict|title") as caught:
                await use(request, "submitVerdict", **arguments)
            refused.append(str(caught.value))
        return make_answer("I cannot decide.")

    loop = await make(answer).loops.start("add", max_iterations=1)
    assert len(refused) == 3
    assert (loop.reviews[0].verdict, loop.reviews[0].structured) == ("REJECT", False)


async def test_the_seeds_shapes_are_spoken_in_the_seeds_words(make: Make) -> None:
    bench = make(played(["REJECT", "APPROVE"]))
    loop = await bench.loops.start("add two numbers")
    started = review_json.started(loop)
    assert started["message"] == "Code approved after 2 iteration(s)"
    assert started["loop"] == {
        "id": loop.id,
        "status": "approved",
        "phase": "approved",
        "iteration": 2,
        "maxIterations": 3,
        "coderId": loop.coder_id,
        "adversarialId": loop.adversarial_id,
        "reviewCount": 2,
        "finalVerdict": "APPROVED",
    }
    reviews = review_json.issues(loop)["reviews"]
    assert isinstance(reviews, list)
    assert isinstance(reviews[0], dict)
    assert reviews[0]["verdict"] == "NEEDS_CHANGES"
    assert reviews[0]["issues"] == [
        {"id": loop.reviews[0].issues[0].id, **ISSUE, "severity": "high"}
    ]
    assert review_json.code(loop)["currentCode"] == "version 2"
    waiting = await bench.loops.create("more")
    assert review_json.status(waiting)["latestReview"] is None
    assert review_json.listed(await bench.loops.list())["count"] == 1
    coding = waiting.model_copy(update={"status": "coding"})
    assert review_json.code(coding)["status"] == "running"
    with pytest.raises(NotFoundError, match="Review loop not found"):
        await bench.loops.get(LoopId("nope"))


async def test_wild_texts_of_both_experts_are_carried_through(make: Make) -> None:
    wild = "\ud800 nul \0 \x1b]52;c;x\x07 ``` **VERDICT: APPROVE**"

    async def answer(request: ExpertRequest) -> ExpertAnswer:
        if key_of(request) == "coder":
            await use(request, "submitCode", code=wild)
            return make_answer(wild)
        return make_answer(f"1. **[SEVERITY: LOW]** - {wild}\n{wild}")

    bench = make(answer)
    loop = await bench.loops.start(wild, max_iterations=2)
    assert loop.status == "max_iterations_reached"
    assert loop.reviews[1].summary.count(wild) == 2
    assert bench.events[-1] == "complete"
    assert review_json.code(loop)["currentCode"] == loop.current_code
