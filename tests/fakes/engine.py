"""A small world for engine tests: a scripted mind, tools that are functions, a real history."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint, Decision
from perstack.domain.events import Delta, Event
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert, SkillSpec
from perstack.domain.ids import ConsensusId, ExpertKey, JobId, RunId, ToolCallId
from perstack.domain.messages import ExpertMessage, ExpertPart, TextPart, ToolCallPart
from perstack.domain.server_events import SkillConnected, SkillDisconnected
from perstack.domain.settings import (
    DEFAULT_TIMEOUT_MS,
    BudgetSettings,
    ConsensusSettings,
    Settings,
)
from perstack.domain.standing import StandingApproval
from perstack.domain.usage import ModelFacts, ModelPrice, Usage
from perstack.engine.control import StopControl
from perstack.engine.plan import Deps, JobOutcome, Plan
from perstack.errors import NotFoundError
from perstack.ports.desk import NO_DESK, NOBODY, Carrier, Desk
from perstack.ports.frontend import Continuation
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken
from perstack.ports.notices import Notice
from perstack.ports.programs import NO_PROGRAMS, Programs
from perstack.ports.skills import RunContext, SkillHost, SkillNotice, ToolOutcome, ToolSpec
from perstack.ports.snapshots import NO_SNAPSHOTS, Snapshots
from perstack.ports.system import Clock, RandomIds, SystemClock
from perstack.projection.run_state import RunState
from perstack.services.runs import Runs
from perstack.storage.files import Files
from perstack.storage.history.store import FileHistory

Tool = Callable[[Mapping[str, JsonValue]], Awaitable[str | ToolOutcome]]
Reply = Generation | Exception | Awaitable[Generation]
Mind = Callable[[ModelRequest, int], Reply]
USAGE = Usage(input_tokens=10, output_tokens=5, total_tokens=15)


def says(text: str = "", *calls: tuple[str, dict[str, JsonValue]]) -> Generation:
    """A generation with this text and these calls; ids are unique within the test."""
    parts: list[ExpertPart] = [TextPart(text=text)] if text else []
    parts += [
        ToolCallPart(tool_call_id=ToolCallId(RandomIds().new()), tool_name=name, args=args)
        for name, args in calls
    ]
    return Generation(tuple(parts), "toolCalls" if calls else "stop", USAGE)


def done(text: str = "") -> Generation:
    """A generation that declares the Expert done."""
    return says(text, ("attemptCompletion", {}))


@dataclass
class FakeModel:
    """Asks `mind` with the request and the turn (Expert messages so far, from 1)."""

    mind: Mind
    requests: list[ModelRequest] = field(default_factory=list[ModelRequest])
    forgotten: list[RunId] = field(default_factory=list[RunId])
    name: str = "fake-model"
    context_window: int | None = 1000
    price: ModelPrice | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        self.requests.append(request)
        turn = 1 + sum(isinstance(message, ExpertMessage) for message in request.messages)
        reply = self.mind(request, turn)
        if isinstance(reply, Exception):
            raise reply
        generation = reply if isinstance(reply, Generation) else await reply
        for part in generation.parts:
            if isinstance(part, TextPart):
                yield Spoken("text", part.text)
        yield generation

    def forget(self, run_id: RunId) -> None:
        self.forgotten.append(run_id)

    async def aclose(self) -> None:
        pass


@dataclass
class FakeSkillSet:
    functions: Mapping[str, Tool]
    tools: Mapping[str, ToolSpec]

    async def ready(self) -> None:
        pass

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        text = await self.functions[name](args)
        if isinstance(text, ToolOutcome):
            return text
        return ToolOutcome((TextPart(text=text),), is_error=text.startswith("error"))


@dataclass
class FakeSkills:
    """`attemptCompletion`, and what functions the test gives; `repeatable` ones only read.

    All are tools of the base skill but for those that `skill_of` names another for.
    """

    functions: dict[str, Tool] = field(default_factory=dict[str, Tool])
    skill_of: dict[str, str] = field(default_factory=dict[str, str])
    gated: frozenset[str] = frozenset()
    repeatable: frozenset[str] = frozenset({"attemptCompletion"})
    opened: list[RunId] = field(default_factory=list[RunId])
    hosts: list[SkillHost] = field(default_factory=list[SkillHost])
    closed: list[RunId] = field(default_factory=list[RunId])
    slow_start: anyio.Event | None = None
    on_opening: Callable[[], None] | None = None
    at_the_end_of_opening: Callable[[], None] | None = None

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AsyncGenerator[FakeSkillSet]:
        async def complete(_: Mapping[str, JsonValue]) -> str:
            return "{}"

        functions: dict[str, Tool] = {"attemptCompletion": complete, **self.functions}
        schema: dict[str, JsonValue] = {"type": "object"}
        tools = {
            name: ToolSpec(
                skill_name=self.skill_of.get(name, BASE_SKILL),
                name=name,
                description=name,
                input_schema=schema,
                gated=name in self.gated,
                repeatable=name in self.repeatable,
            )
            for name in functions
        }
        self.opened.append(context.run_id)
        if host is not None:
            self.hosts.append(host)
        if self.on_opening is not None:
            self.on_opening()
        if self.slow_start is not None:
            await self.slow_start.wait()
        notice(_connected())
        if self.at_the_end_of_opening is not None:
            self.at_the_end_of_opening()
        try:
            yield FakeSkillSet(functions, tools)
        finally:
            notice(SkillDisconnected(skill_name="fake"))
            self.closed.append(context.run_id)


def _connected() -> SkillConnected:
    return SkillConnected(
        skill_name="fake",
        spawn_duration_ms=0,
        handshake_duration_ms=0,
        tool_discovery_duration_ms=0,
        connect_duration_ms=0,
        total_duration_ms=0,
    )


@dataclass
class FakeGate:
    """Keeps checkpoints in memory; `decide` is what a reviewer does."""

    proposed: dict[ConsensusId, ConsensusCheckpoint] = field(
        default_factory=dict[ConsensusId, ConsensusCheckpoint]
    )
    verdict: Callable[[ConsensusCheckpoint], ConsensusCheckpoint] | None = None
    withdrawn: list[ConsensusId] = field(default_factory=list[ConsensusId])
    standing: list[StandingApproval] = field(default_factory=list[StandingApproval])

    async def propose(self, checkpoint: ConsensusCheckpoint) -> None:
        decided = self.verdict(checkpoint) if self.verdict else checkpoint
        self.proposed.setdefault(checkpoint.id, decided)

    async def show(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        if consensus_id not in self.proposed:
            raise NotFoundError("never proposed")
        return self.proposed[consensus_id]

    async def wait(self, consensus_id: ConsensusId) -> ConsensusCheckpoint:
        while (found := await self.show(consensus_id)).status == "pending":
            await anyio.lowlevel.checkpoint()
        return found

    async def standing_of(self, job_id: JobId) -> list[StandingApproval]:
        return [one for one in self.standing if one.job_id == job_id]

    async def withdraw(self, consensus_id: ConsensusId, why: str) -> None:
        if (await self.show(consensus_id)).status == "pending":
            self.withdrawn.append(consensus_id)


def decided(
    checkpoint: ConsensusCheckpoint,
    *,
    approved: bool,
    feedback: str | None = None,
    rejected: tuple[str, ...] = (),
) -> ConsensusCheckpoint:
    """The checkpoint as a reviewer named ana leaves it."""
    decision = Decision(
        approved=approved,
        feedback=feedback,
        reviewed_by="ana",
        rejected_subtask_ids=tuple(
            task.id for task in checkpoint.proposed_subtasks if task.id in rejected
        ),
    )
    status = "approved" if approved else "rejected"
    return checkpoint.model_copy(update={"status": status, "decision": decision})


class FakeNotifier:
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    async def notify(self, notice: Notice) -> None:
        self.notices.append(notice)


@dataclass
class Heard:
    """A listener that remembers."""

    events: list[Event] = field(default_factory=list[Event])
    deltas: list[Delta] = field(default_factory=list[Delta])
    warnings: list[str] = field(default_factory=list[str])
    on: Callable[[Event], None] | None = None

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        pass

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        if self.on is not None:
            self.on(event)

    def on_delta(self, delta: Delta) -> None:
        self.deltas.append(delta)

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def types(self, *among: str) -> list[tuple[str, str]]:
        """(expert, event type) of the events whose type is `among`, in order."""
        return [(e.expert_key, e.body.type) for e in self.events if e.body.type in among]

    def results(self) -> list[tuple[str, str, bool]]:
        """(tool, text, is error) of every tool result, in order."""
        found: list[tuple[str, str, bool]] = []
        for event in self.events:
            if event.body.type == "toolReturned":
                result = event.body.result
                text = "".join(part.text for part in result.result if isinstance(part, TextPart))
                found.append((result.tool_name, text, bool(result.is_error)))
        return found


def expert(key: str, *delegates: str, skills: Mapping[str, SkillSpec] | None = None) -> Expert:
    """An Expert with the base skill."""
    return Expert(
        key=ExpertKey(key),
        name=key,
        instruction=f"You are {key}.",
        description=f"Does what {key} does.",
        skills={BASE_SKILL: BaseSkill(), **(skills or {})},
        delegates=tuple(ExpertKey(name) for name in delegates),
    )


class NoDelay(random.Random):
    """Draws the shortest delay there is."""

    def uniform(self, a: float, b: float) -> float:
        return 0.0


@dataclass
class World:
    """Experts, a model, tools and a gate over a real history in `workspace`.

    A `vendor` is asked instead of `mind`.
    """

    workspace: Path
    mind: Mind
    experts: tuple[Expert, ...]
    skills: FakeSkills = field(default_factory=FakeSkills)
    gate: FakeGate = field(default_factory=FakeGate)
    consensus: ConsensusSettings = field(default_factory=ConsensusSettings)
    max_steps: int = 100
    max_retries: int = 2
    max_parallel: int = 128
    max_depth: int = 20
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.SystemRandom)
    files: Files = field(default_factory=Files)
    wait_at_gates: bool = True
    vendor: ChatModel | None = None
    heard: Heard = field(default_factory=Heard)
    control: StopControl = field(default_factory=StopControl)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    desk: Desk = NO_DESK
    snapshots: Snapshots = NO_SNAPSHOTS
    carrier: Carrier = NOBODY
    programs: Programs = NO_PROGRAMS
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    models: dict[str, ModelFacts] = field(default_factory=dict[str, ModelFacts])
    env: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        self.model = FakeModel(self.mind)
        self.history = FileHistory(
            self.workspace, clock=self.clock, ids=RandomIds(), files=self.files
        )

    @property
    def plan(self) -> Plan:
        settings = Settings(
            max_steps=self.max_steps,
            max_retries=self.max_retries,
            max_parallel=self.max_parallel,
            max_depth=self.max_depth,
            budget=self.budget,
            consensus=self.consensus,
            timeout=self.timeout_ms,
            models=self.models,
        )
        return Plan(
            settings=settings,
            experts={one.key: one for one in self.experts},
            workspace=self.workspace,
            env=self.env,
            wait_at_gates=self.wait_at_gates,
            carrier=self.carrier,
        )

    @property
    def deps(self) -> Deps:
        return Deps(
            model=self.vendor or self.model,
            skills=self.skills,
            gate=self.gate,
            notifier=self.notifier,
            clock=self.clock,
            ids=RandomIds(),
            redact=lambda text: text.replace("sk-canary", "[redacted]"),
            version="test",
            rng=self.rng,
            desk=self.desk,
            snapshots=self.snapshots,
            programs=self.programs,
        )

    @property
    def runs(self) -> Runs:
        return Runs(self.history, self.deps)

    async def start(
        self, query: str = "go", *, expert_key: str | None = None, job_id: str | None = None
    ) -> JobOutcome:
        """Run the first Expert (or the one named) to its end, bounded in time."""
        key = ExpertKey(expert_key or self.experts[0].key)
        with anyio.fail_after(20):
            return await self.runs.start(
                self.plan,
                key,
                query,
                listener=self.heard,
                control=self.control,
                job_id=JobId(job_id) if job_id else None,
            )

    async def go_on(self, wanted: Continuation) -> JobOutcome:
        """Go on with a job to its end, bounded in time."""
        with anyio.fail_after(20):
            return await self.runs.go_on(
                self.plan, wanted, listener=self.heard, control=self.control
            )


def latest_text(request: ModelRequest) -> str:
    """Everything in the request's last message, as JSON."""
    return json.dumps(request.messages[-1].model_dump(mode="json"))
