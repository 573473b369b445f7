"""A gateway that only remembers, a fold that shows what it is given, and sample views."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from perstack.config.untrusted import Demand
from perstack.domain.consensus import ConsensusCheckpoint, Decision, ProposedSubtask
from perstack.domain.events import RunError
from perstack.domain.ids import (
    CheckpointId,
    ConsensusId,
    ExpertKey,
    JobId,
    RunId,
    SubtaskId,
    ToolCallId,
)
from perstack.domain.settings import RiskLevel
from perstack.domain.usage import NO_COST, NO_USAGE, Cost, Usage
from perstack.errors import PerstackError
from perstack.ports.history import FeedBatch
from perstack.projection.views import (
    EntryView,
    InboxView,
    JobView,
    PointView,
    QuestionView,
    RunView,
    ScreenState,
    WorkspaceView,
)
from perstack_tui.ports.gateway import DefinitionsUpdate, ExpertSummary, LocalJobsUpdate, Update
from tests.fakes.catalog import FakeCatalog
from tests.fakes.records import FakeRecords
from tests.fakes.steering import FakeSteering
from tests.fakes.travel import FakeTravel

NOW = 1_790_000_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """What a model is saying."""

    reasoning: str = ""
    text: str = ""
    output: Mapping[ToolCallId, str] = field(default_factory=dict[ToolCallId, str])


class ShownFold:
    """A fold that shows the view it was given."""

    def __init__(self, view: WorkspaceView | None = None) -> None:
        self.shown = view or WorkspaceView(caught_up=True)
        self.said: dict[RunId, Said] = {}

    def apply(self, batch: FeedBatch) -> None:
        return None

    def apply_inbox(self, checkpoints: Sequence[ConsensusCheckpoint]) -> None:
        return None

    def tick(self, now_ms: int) -> None:
        return None

    def view(self) -> WorkspaceView:
        return self.shown

    def live(self, run_id: RunId) -> Said:
        return self.said.get(run_id, Said())


class FakeGateway:
    """Remembers every command in `calls`; `refuse` makes the next command fail.

    `start_gate` holds a start back until it is set.
    """

    def __init__(self, workspace: Path = Path("/w/release-notes")) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.refuse: PerstackError | None = None
        self.closed = False
        self.start_gate: anyio.Event | None = None
        self.past: list[EntryView] = []
        self._workspace = workspace
        self._queue: deque[Update] = deque()
        self._news = anyio.Event()
        self.steering = FakeSteering(self.record)
        self.travel = FakeTravel(self.record)
        self.records = FakeRecords(self.record)
        self.registry = FakeCatalog(self.record)

    @property
    def workspace(self) -> Path:
        return self._workspace

    @property
    def waiting(self) -> bool:
        """Whether something was said that nobody heard yet."""
        return bool(self._queue)

    def say(self, update: Update) -> None:
        self._queue.append(update)
        self._news.set()

    async def updates(self) -> AsyncGenerator[Update, None]:
        while True:
            while self._queue:
                yield self._queue.popleft()
            self._news = anyio.Event()
            await self._news.wait()

    def record(self, *call: object) -> None:
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        self.calls.append(call)

    async def read_entries(
        self, job_id: JobId, run_id: RunId, first: int, count: int
    ) -> Sequence[EntryView]:
        self.record("read_entries", run_id, first, count)
        return self.past[first : first + count]

    async def start(self, expert_key: ExpertKey, query: str) -> JobId:
        if self.start_gate is not None:
            await self.start_gate.wait()
        self.record("start", expert_key, query)
        return JobId("job-started")

    async def compare(self, expert_key: ExpertKey, query: str, contestants: Sequence[str]) -> str:
        self.record("compare", expert_key, query, tuple(contestants))
        return "comparison1"

    async def go_on(self) -> JobId:
        self.record("go_on")
        return JobId("job-started")

    async def follow_up(self, job_id: JobId, text: str) -> None:
        self.record("follow_up", job_id, text)

    async def answer(self, given: Sequence[tuple[QuestionView, str]]) -> None:
        for question, text in given:
            self.record("answer", question.tool_call_id, text)

    async def decide(
        self, consensus_id: ConsensusId, decision: Decision, *, standing: bool = False
    ) -> ConsensusCheckpoint:
        self.record("decide", consensus_id, decision, *(("standing",) if standing else ()))
        status = "approved" if decision.approved else "rejected"
        return gate(str(consensus_id)).model_copy(update={"status": status, "decision": decision})

    async def detach(self, job_ids: Sequence[JobId]) -> None:
        self.record("detach", tuple(job_ids))

    async def accept(self, demands: Sequence[Demand]) -> None:
        self.record("accept", tuple(demands))

    async def aclose(self) -> None:
        self.closed = True


def used(total: int) -> Usage:
    return Usage(input_tokens=total - total // 8, output_tokens=total // 8, total_tokens=total)


def cost_of(usage: Usage) -> Cost:
    """What it cost at the price of `tests/fakes/gateway.py`: $4 for a million tokens."""
    return Cost(usd=usage.total_tokens * 4 / 1_000_000)


def points(name: str, kinds: str, *, start: int, every: int = 10_000) -> tuple[PointView, ...]:
    """Make checkpoints from letters: s step, d delegate, a ask, g gate, c done, f fail."""
    kind_of = {"s": "step", "d": "delegate", "a": "ask", "g": "gate", "c": "done", "f": "fail"}
    made: list[PointView] = []
    for number, letter in enumerate(kinds, 1):
        base = PointView(
            CheckpointId(f"{name}-{number}"),
            number,
            start + number * every,
            "step",
            NO_USAGE,
            NO_COST,
        )
        match kind_of[letter]:
            case "delegate":
                made.append(replace(base, kind="delegate", label="delegates"))
            case "ask":
                made.append(replace(base, kind="ask"))
            case "gate":
                made.append(replace(base, kind="gate"))
            case "done":
                made.append(replace(base, kind="done", usage=used(900), cost=cost_of(used(900))))
            case "fail":
                made.append(replace(base, kind="fail"))
            case _:
                spent = used(1200)
                named = replace(base, label="writeTextFile", files=("a.md",))
                made.append(replace(named, usage=spent, cost=cost_of(spent)))
    return tuple(made)


def run(
    name: str,
    state: ScreenState = "run",
    *,
    job: str = "job-8f3a",
    parent: str | None = None,
    doing: str = "thinking",
    step: int = 3,
    total: int = 12_400,
    started: int = 60_000,
    ended: int | None = None,
    kinds: str = "",
    entries: tuple[EntryView, ...] = (),
    children: tuple[str, ...] = (),
    query: str = "Write the release notes",
    cost: Cost | None = None,
) -> RunView:
    """Make a run; `started` and `ended` are milliseconds before now."""
    began = NOW - started
    return RunView(
        run_id=RunId(f"run-{name}"),
        job_id=JobId(job),
        expert_key=ExpertKey(name),
        expert_version="1.0.0",
        parent_run_id=RunId(f"run-{parent}") if parent else None,
        forked_from=None,
        status="proceeding",
        state=state,
        doing=doing,
        step_number=step,
        steps=step,
        usage=used(total),
        cost=cost_of(used(total)) if cost is None else cost,
        context_window_usage=0.31,
        started_at=began,
        finished_at=None if ended is None else NOW - ended,
        last_event_at=NOW - 1000,
        model="claude-sonnet-5-5",
        provider_name="anthropic",
        query=query,
        points=points(name, kinds, start=began),
        entries=entries,
        children=tuple(RunId(f"run-{child}") for child in children),
    )


def job(
    name: str,
    runs: tuple[RunView, ...],
    *,
    state: ScreenState | None = None,
    alive: bool = True,
    pid: int = 4100,
) -> JobView:
    """Make a job of `runs`, the first of them the coordinator."""
    first = runs[0]
    total = sum(one.usage.total_tokens for one in runs)
    return JobView(
        job_id=JobId(name),
        expert_key=first.expert_key,
        coordinator_run_id=first.run_id,
        state=state or first.state,
        alive=alive,
        pid=pid if alive else None,
        host="pi" if alive else None,
        started_at=first.started_at,
        finished_at=first.finished_at,
        total_steps=sum(one.steps for one in runs),
        max_steps=100,
        usage=used(total),
        cost=Cost(
            usd=sum(one.cost.usd for one in runs), partial=any(one.cost.partial for one in runs)
        ),
        runs=runs,
    )


def subtask(
    name: str, text: str, risk: RiskLevel = "high", agent: str = "devops"
) -> ProposedSubtask:
    return ProposedSubtask(
        id=SubtaskId(name),
        agent_type=agent,
        input=text,
        estimated_risk_level=risk,
        tool_call_id=ToolCallId(f"call-{name}"),
        tool_name=agent,
    )


def tool_subtask(name: str, tool: str, args: str, skill: str = "@perstack/base") -> ProposedSubtask:
    """A tool's call that waits; `args` is JSON."""
    made = subtask(name, args, "medium", skill)
    return made.model_copy(update={"tool_name": tool})


def gate(
    name: str = "gate-1",
    *,
    run_name: str = "writer",
    job_name: str = "job-8f3a",
    subtasks: tuple[ProposedSubtask, ...] | None = None,
    risk: RiskLevel = "high",
) -> ConsensusCheckpoint:
    return ConsensusCheckpoint(
        id=ConsensusId(name),
        job_id=JobId(job_name),
        run_id=RunId(f"run-{run_name}"),
        expert_key=ExpertKey(run_name),
        task_id=f"run-{run_name}",
        depth=1,
        reason="Risk level 'high' at depth 1 requires consensus",
        proposed_subtasks=(subtask("s1", "deploy docs to prod"),) if subtasks is None else subtasks,
        risk_level=risk,
        created_at=NOW - 48_000,
        expires_at=NOW + 252_000,
    )


def decided(name: str, status: str, text: str, who: str = "you") -> ConsensusCheckpoint:
    decision = Decision(approved=status == "approved", reviewed_by=who)
    made = gate(name, run_name="coordinator", subtasks=(subtask("s1", text),))
    return made.model_copy(
        update={"status": status, "decision": decision, "decided_at": NOW - 100_000}
    )


def question(
    name: str = "q1",
    text: str = "Which audience is this for?",
    *,
    choices: tuple[str, ...] = ("developers", "operators", "everyone"),
    run_name: str = "auditor",
    job_name: str = "job-5c1e",
    position: int = 1,
    of: int = 1,
) -> QuestionView:
    return QuestionView(
        job_id=JobId(job_name),
        run_id=RunId(f"run-{run_name}"),
        expert_key=ExpertKey(run_name),
        tool_call_id=ToolCallId(name),
        tool_name="askUser",
        text=text,
        choices=choices,
        args='{"question": "Which audience is this for?"}',
        asked_at=NOW - 180_000,
        position=position,
        of=of,
    )


WRITER_ENTRIES = (
    EntryView(
        "query",
        "query from coordinator",
        "Group the release notes by theme",
        timestamp=NOW - 50_000,
    ),
    EntryView(
        "reasoning",
        "reasoning",
        "The commits touch several packages. Themes read better.",
        timestamp=NOW,
    ),
    EntryView(
        "tool",
        "exec git log v2.0..HEAD --oneline",
        "a1b2c3 hot reload\nd4e5f6 parallel delegation\n0a1b2c gates",
        ToolCallId("t1"),
        "ok",
        NOW,
        300,
    ),
    EntryView(
        "text",
        "",
        "The release has three themes. I will group entries by theme rather than by package, "
        "because "
        "31 of 48 commits touch more than one package:\n\n- Hot reload of expert definitions\n"
        "- Parallel delegation\n- Consensus gates for risky subtasks",
        timestamp=NOW,
    ),
    EntryView("tool", "writeTextFile CHANGELOG.md", "", ToolCallId("t2"), "running", NOW),
)


def running_job() -> JobView:
    """A coordinator with delegates in several states."""
    return job(
        "job-8f3a",
        (
            run(
                "coordinator",
                "waits",
                doing="waiting on 4 delegates",
                step=5,
                total=22_000,
                started=582_000,
                kinds="ssd",
                children=("researcher", "writer", "devops", "linter"),
                entries=(EntryView("query", "query", "Write the release notes", timestamp=NOW),),
            ),
            run(
                "researcher",
                "waits",
                parent="coordinator",
                doing="waiting on summarizer",
                step=7,
                total=31_000,
                started=500_000,
                kinds="ssd",
                children=("fetcher", "summarizer"),
            ),
            run(
                "fetcher",
                "done",
                parent="researcher",
                doing="completed",
                step=2,
                total=3_000,
                started=400_000,
                ended=391_000,
                kinds="sc",
            ),
            run(
                "summarizer",
                "run",
                parent="researcher",
                doing="thinking",
                step=3,
                total=9_100,
                started=400_000,
                kinds="ss",
            ),
            run(
                "writer",
                "run",
                parent="coordinator",
                doing="writeTextFile CHANGELOG.md",
                step=14,
                total=61_000,
                started=500_000,
                kinds="ssssss",
                entries=WRITER_ENTRIES,
            ),
            run(
                "devops",
                "gate",
                parent="coordinator",
                doing="gate: deploy docs to prod",
                step=6,
                total=12_000,
                cost=Cost(usd=1.25, partial=True),
                started=500_000,
                kinds="sg",
            ),
            run(
                "linter",
                "fail",
                parent="coordinator",
                doing="exit 2",
                step=2,
                total=3_000,
                started=500_000,
                ended=440_000,
                kinds="sf",
            ),
        ),
    )


def other_jobs() -> tuple[JobView, ...]:
    return (
        job(
            "job-5c1e",
            (
                run(
                    "auditor",
                    "asks",
                    job="job-5c1e",
                    doing="asks: Which audience?",
                    step=31,
                    total=88_000,
                    started=800_000,
                    kinds="ssa",
                ),
            ),
            alive=False,
        ),
        job(
            "job-77aa",
            (
                run(
                    "backfill",
                    "limit",
                    job="job-77aa",
                    doing="stopped: max steps",
                    step=40,
                    total=70_000,
                    cost=Cost(partial=True),
                    started=900_000,
                    ended=800_000,
                    kinds="ss",
                ),
            ),
            alive=False,
        ),
    )


def busy_view() -> WorkspaceView:
    """What a lively workspace looks like."""
    inbox = InboxView(
        pending=(
            gate(
                "gate-1",
                run_name="devops",
                subtasks=(
                    subtask("s1", "deploy docs to prod"),
                    subtask("s2", "link-check 412 pages", "low", "fetcher"),
                ),
            ),
        ),
        questions=(question(),),
        decided=(
            decided("gate-0", "approved", "rename api dir"),
            decided("gate-9", "rejected", "drop table users", "ana@pi"),
        ),
    )
    return WorkspaceView((running_job(), *other_jobs()), inbox, caught_up=True)


def running_view() -> WorkspaceView:
    """One run at work, nothing waiting."""
    only = run(
        "writer", doing="writeTextFile CHANGELOG.md", step=4, kinds="sss", entries=WRITER_ENTRIES
    )
    return WorkspaceView((job("job-8f3a", (only,)),), caught_up=True)


def failed_view() -> WorkspaceView:
    """A run that ended in error."""
    entries = (
        EntryView("query", "query", "Write the release notes", timestamp=NOW),
        EntryView("error", "ProviderError", "401: the key was refused", timestamp=NOW),
    )
    failed = replace(
        run(
            "writer",
            "fail",
            doing="ProviderError: 401",
            step=1,
            total=0,
            kinds="f",
            entries=entries,
            ended=30_000,
        ),
        status="stoppedByError",
        error=RunError(name="ProviderError", message="401: the key was refused"),
    )
    return WorkspaceView((job("job-8f3a", (failed,), alive=False),), caught_up=True)


def definitions(*, provider: str = "anthropic", changes: tuple[str, ...] = ()) -> DefinitionsUpdate:
    def expert(key: str, description: str, *delegates: str) -> ExpertSummary:
        return ExpertSummary(
            ExpertKey(key),
            "1.0.0",
            description,
            tuple(ExpertKey(name) for name in delegates),
            ("@perstack/base",),
        )

    return DefinitionsUpdate(
        path=Path("/w/release-notes/perstack.toml"),
        experts=(
            expert("coordinator", "Plans and hands out work", "researcher", "writer", "devops"),
            expert("researcher", "Finds things out"),
            expert("writer", "Writes release notes"),
        ),
        model="claude-sonnet-5-5",
        provider_name=provider,
        changes=changes,
        loaded_at=NOW - 4000,
    )


def local(*names: str) -> LocalJobsUpdate:
    return LocalJobsUpdate(frozenset(JobId(name) for name in names))
