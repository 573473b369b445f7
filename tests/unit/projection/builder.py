"""Histories written by hand: runs whose events are numbered and dated by the builder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from perstack.domain.events import (
    AttemptCompletion,
    Body,
    CallDelegate,
    CallTools,
    CompleteRun,
    ContinueToNextStep,
    DelegateTo,
    Event,
    FinishAllToolCalls,
    FinishToolCall,
    InitializeRuntime,
    ResolveToolResults,
    StartGeneration,
    StartRun,
    StopRunByDelegate,
    ToolKind,
    ToolResult,
    ToolReturned,
    ToolRoute,
)
from perstack.domain.expert import BASE_SKILL, ExpertRef
from perstack.domain.ids import CheckpointId, ExpertKey, JobId, MessageId, RunId, ToolCallId
from perstack.domain.jobs import DelegatedBy, ForkPoint, RunStatus
from perstack.domain.messages import (
    ExpertMessage,
    ExpertPart,
    InstructionMessage,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    UserMessage,
)
from perstack.domain.program_events import BeginSession, StartProgram
from perstack.domain.server_events import ServerInfo, SkillConnected, SkillDisconnected
from perstack.domain.usage import NO_USAGE, Usage

JOB = JobId("job1")
DROPPED = ("skill web (set up its MCP servers in the program)", "delegates are described")
START_MS = 1_795_216_097_000


def usage(tokens_in: int, tokens_out: int) -> Usage:
    return Usage(
        input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out
    )


def expert(key: str) -> ExpertRef:
    return ExpertRef(key=ExpertKey(key), name=key, version="1.0.0")


def call(id_: str, name: str, **args: JsonValue) -> ToolCallPart:
    return ToolCallPart(tool_call_id=ToolCallId(id_), tool_name=name, args=args)


@dataclass
class Clock:
    """Ticks one millisecond per event, across all runs of a job."""

    now_ms: int = START_MS

    def tick(self) -> int:
        self.now_ms += 1
        return self.now_ms


@dataclass
class Run:
    """One run's events, in order. `step` is the step at hand."""

    name: str
    key: str
    clock: Clock = field(default_factory=Clock)
    step: int = 1
    job: JobId = JOB
    events: list[Event] = field(default_factory=list[Event])
    routes: dict[ToolCallId, ToolRoute] = field(default_factory=dict[ToolCallId, ToolRoute])

    @property
    def id(self) -> RunId:
        return RunId(self.name)

    def add(self, body: Body) -> Event:
        event = Event(
            seq=len(self.events),
            timestamp=self.clock.tick(),
            job_id=self.job,
            run_id=self.id,
            expert_key=ExpertKey(self.key),
            step_number=self.step,
            body=body,
        )
        self.events.append(event)
        return event

    def init(
        self,
        *,
        query: str | None = None,
        model: str = "scripted-1",
        runtime: str = "perstack",
    ) -> None:
        self.add(
            InitializeRuntime(
                runtime_version="0.1.0",
                runtime=runtime,
                expert_name=self.key,
                experts=(ExpertKey(self.key),),
                model=model,
                provider_name="scripted",
                max_steps=100,
                max_retries=5,
                timeout=300_000,
                query=query,
                context_window=200_000,
            )
        )
        self.add(
            SkillConnected(
                skill_name=BASE_SKILL,
                server_info=ServerInfo(name=BASE_SKILL, version="0.1.0"),
                spawn_duration_ms=0,
                handshake_duration_ms=1,
                tool_discovery_duration_ms=1,
                connect_duration_ms=2,
                total_duration_ms=2,
            )
        )

    def start(
        self,
        query: str | None,
        *,
        status: RunStatus = "init",
        parent: ForkPoint | None = None,
        by: DelegatedBy | None = None,
    ) -> Event:
        messages: list[InstructionMessage | UserMessage] = []
        if status == "init" and parent is None:
            text = TextPart(text="You are an Expert.")
            id_ = MessageId(f"{self.name}-system")
            messages.append(InstructionMessage(id=id_, contents=(text,), cache=True))
        if query is not None:
            id_ = MessageId(f"{self.name}-user{len(self.events)}")
            messages.append(UserMessage(id=id_, contents=(TextPart(text=query),)))
        return self.add(
            StartRun(
                checkpoint_id=self.point("c"),
                status=status,
                expert=expert(self.key),
                input_messages=tuple(messages),
                parent=parent,
                delegated_by=by,
            )
        )

    def point(self, letter: str) -> CheckpointId:
        return CheckpointId(f"{letter}-{self.name}-{len(self.events)}")

    def tools(
        self,
        *calls: ToolCallPart,
        text: str = "",
        thinking: str = "",
        spent: Usage = NO_USAGE,
        kinds: Sequence[ToolKind] = (),
        gated: bool | None = None,
        server: str = BASE_SKILL,
    ) -> Event:
        self.add(StartGeneration())
        parts: list[ExpertPart] = []
        if thinking:
            parts.append(ThinkingPart(thinking=thinking, signature="sig"))
        if text:
            parts.append(TextPart(text=text))
        parts += calls
        message = ExpertMessage(
            id=MessageId(f"{self.name}-m{len(self.events)}"), contents=tuple(parts)
        )
        chosen = list(kinds) or ["mcp"] * len(calls)
        self.routes = {}
        for part, kind in zip(calls, chosen, strict=True):
            skill = {"mcp": server, "delegate": f"delegate/{part.tool_name}"}.get(kind, "ask")
            self.routes[part.tool_call_id] = ToolRoute(
                tool_call_id=part.tool_call_id,
                skill_name=skill,
                kind="mcp"
                if kind == "mcp"
                else "delegate"
                if kind == "delegate"
                else "interactive",
                gated=gated,
            )
        return self.add(
            CallTools(
                new_message=message,
                routes=tuple(self.routes.values()),
                usage=spent,
                context_window_usage=spent.total_tokens / 200_000,
            )
        )

    def returns(self, part: ToolCallPart, text: str, *, is_error: bool | None = None) -> Event:
        route = self.routes.get(part.tool_call_id)
        return self.add(
            ToolReturned(
                result=ToolResult(
                    id=part.tool_call_id,
                    skill_name=route.skill_name if route else "",
                    tool_name=part.tool_name,
                    result=(TextPart(text=text),),
                    is_error=is_error,
                )
            )
        )

    def close_batch(self, *, resumed: bool = False) -> None:
        id_ = MessageId(f"{self.name}-t{len(self.events)}")
        if resumed:
            self.add(FinishAllToolCalls(message_id=id_))
            return
        self.add(ResolveToolResults())
        self.add(FinishToolCall(message_id=id_))

    def next_step(self) -> CheckpointId:
        made = self.point("step")
        self.add(
            ContinueToNextStep(
                checkpoint_id=made,
                next_checkpoint_id=self.point("next"),
                next_step_number=self.step + 1,
            )
        )
        self.step += 1
        return made

    def delegate(self, *children: tuple[ToolCallPart, Run]) -> CheckpointId:
        self.add(CallDelegate(tool_call_ids=tuple(part.tool_call_id for part, _ in children)))
        made = self.point("stop")
        self.add(
            StopRunByDelegate(
                checkpoint_id=made,
                delegate_to=tuple(
                    DelegateTo(
                        run_id=child.id,
                        expert=expert(child.key),
                        tool_call_id=part.tool_call_id,
                        tool_name=part.tool_name,
                        query=str(part.args.get("query", "")),
                    )
                    for part, child in children
                ),
            )
        )
        return made

    def by(self, part: ToolCallPart, made: CheckpointId) -> DelegatedBy:
        return DelegatedBy(
            run_id=self.id,
            expert_key=ExpertKey(self.key),
            tool_call_id=part.tool_call_id,
            tool_name=part.tool_name,
            checkpoint_id=made,
        )

    def complete(self, text: str | None, spent: Usage = NO_USAGE) -> CheckpointId:
        made = self.point("done")
        message = None
        if text is not None:
            id_ = MessageId(f"{self.name}-m{len(self.events)}")
            message = ExpertMessage(id=id_, contents=(TextPart(text=text),))
        self.add(
            CompleteRun(
                checkpoint_id=made,
                new_message=message,
                usage=spent,
                context_window_usage=spent.total_tokens / 200_000 if message else None,
            )
        )
        return made

    def closed(self) -> None:
        self.add(SkillDisconnected(skill_name=BASE_SKILL))


def in_order(*runs: Run) -> list[Event]:
    """All events by time."""
    return sorted((event for run in runs for event in run.events), key=lambda e: e.timestamp)


def chain() -> list[Event]:
    """A coordinator that delegates once, as in Perstack's sample."""
    clock = Clock()
    parent, child = Run("r-chain", "chain", clock), Run("r-b", "worker-b", clock)
    asked = call("toolu_1", "worker-b", query="Say hello")
    parent.init(query="Do the job")
    parent.start("Do the job")
    parent.tools(asked, kinds=["delegate"], spent=usage(4140, 7))
    made = parent.delegate((asked, child))
    child.step = 2
    child.init(query="Say hello")
    child.start("Say hello", by=parent.by(asked, made))
    child.add(StartGeneration())
    child.complete("Hello!", usage(4094, 1))
    child.closed()
    parent.step = 3
    parent.returns(asked, "Hello!")
    parent.start(None, status="stoppedByDelegate")
    parent.close_batch(resumed=True)
    parent.next_step()
    parent.add(StartGeneration())
    parent.complete("All done.", usage(4200, 8))
    parent.closed()
    return in_order(parent, child)


def parallel() -> list[Event]:
    """A coordinator that delegates twice at once, as in Perstack's sample."""
    clock = Clock()
    parent = Run("r-top", "coordinator", clock)
    a, b = Run("r-a", "worker-a", clock, step=2), Run("r-b", "worker-b", clock, step=2)
    to_a = call("toolu_a", "worker-a", query="Read notes.txt")
    to_b = call("toolu_b", "worker-b", query="Say hello")
    parent.init(query="Do the job")
    parent.start("Do the job")
    parent.tools(
        to_a, to_b, text="Delegating.", kinds=["delegate", "delegate"], spent=usage(4193, 15)
    )
    made = parent.delegate((to_a, a), (to_b, b))
    a.init()
    b.init()
    a.start("Read notes.txt", by=parent.by(to_a, made))
    b.start("Say hello", by=parent.by(to_b, made))
    read = call("toolu_r", "readTextFile", path="notes.txt")
    todo = call("toolu_t", "todo", newTodos=["summarise"])
    a.tools(read, todo, thinking="I should read the file.", spent=usage(4097, 17))
    b.add(StartGeneration())
    b.complete("Hello!", usage(4094, 1))
    b.closed()
    a.returns(todo, '{"todos":[{"id":0,"title":"summarise","completed":false}]}')
    a.returns(read, '{"path":"notes.txt","content":"line one\\nline two\\n","from":0,"to":3}')
    a.close_batch()
    a.next_step()
    tick = call("toolu_d", "todo", completedTodos=[0])
    a.tools(tick, spent=usage(4265, 5))
    a.returns(tick, '{"todos":[{"id":0,"title":"summarise","completed":true}]}')
    a.close_batch()
    a.next_step()
    done = call("toolu_c", "attemptCompletion")
    a.tools(done, text="Two lines.", spent=usage(4344, 3))
    a.returns(done, "{}")
    a.complete(None)
    a.closed()
    parent.step = 5
    parent.returns(to_b, "Hello!")
    parent.returns(to_a, "Two lines.")
    parent.start(None, status="stoppedByDelegate")
    parent.close_batch(resumed=True)
    parent.next_step()
    finish = call("toolu_f", "attemptCompletion")
    parent.tools(finish, spent=usage(4316, 3))
    parent.returns(finish, "{}")
    parent.add(AttemptCompletion(tool_call_id=finish.tool_call_id))
    parent.add(StartGeneration())
    parent.complete("Both workers finished.", usage(894, 3))
    parent.closed()
    return in_order(parent, a, b)


def program_run(
    *, model: str | None = "claude-opus-5-5", dropped: tuple[str, ...] = DROPPED
) -> Run:
    """A run that Claude Code executes; the provider of the settings is not asked anything."""
    run = Run("r", "coder")
    run.init(query="Write it", model="claude-code:default", runtime="claude-code")
    run.start("Write it")
    run.add(StartProgram(runtime="claude-code", dropped=dropped))
    run.add(BeginSession(runtime="claude-code", session_id="s-1", model=model))
    part = call("t1", "Write", file_path="/w/a.py", content="x = 1\n")
    run.tools(part, text="I write.", spent=usage(10, 2), server="claude-code")
    run.returns(part, "File created")
    run.close_batch()
    run.next_step()
    return run


def finished(run: Run) -> Run:
    """The run, having come to its end."""
    message = ExpertMessage(id=MessageId("m-end"), contents=(TextPart(text="Written."),))
    run.add(CompleteRun(checkpoint_id=run.point("done"), new_message=message, usage=usage(1, 1)))
    return run
