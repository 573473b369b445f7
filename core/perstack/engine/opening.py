"""How a run is taken up: what it goes on from, and what it is told first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perstack.domain.events import InitializeRuntime, ToolResult
from perstack.domain.jobs import DelegatedBy, ForkPoint, InteractiveAnswer, RunStatus
from perstack.domain.messages import InstructionMessage, TextPart, UserMessage
from perstack.domain.program_events import BeginSession
from perstack.domain.runtimes import RuntimeName
from perstack.engine.prompt import system_prompt
from perstack.ports.desk import RunCard
from perstack.ports.skills import RunContext

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver


@dataclass(frozen=True, slots=True)
class Opening:
    """How a run is taken up: with a query, with answers, or just on from where it was.

    `status` is what it goes on from; "init" begins it. `parent` is the checkpoint that a fork's
    messages come from, and `session` that of the program which executed it, where the fork is what
    follows it.
    """

    status: RunStatus = "init"
    query: str | None = None
    answers: tuple[InteractiveAnswer, ...] = ()
    parent: ForkPoint | None = None
    delegated_by: DelegatedBy | None = None
    session: BeginSession | None = None


def executed_by(run: RunDriver) -> RuntimeName:
    """Return what executes the run: what its Expert names, or else the job's."""
    named = run.job.plan.settings.runtime.name
    # Whoever drives a job in a container is the built-in runtime.
    return run.expert.runtime or ("perstack" if named == "docker" else named)


def initialized(run: RunDriver, opening: Opening) -> InitializeRuntime:
    """Return the record that the runtime took the run up."""
    settings = run.job.plan.settings
    return InitializeRuntime(
        runtime_version=run.job.deps.version,
        runtime=executed_by(run),
        expert_name=run.expert.name,
        experts=tuple(run.job.plan.experts),
        model=run.model.name,
        context_window=run.model.context_window,
        provider_name=settings.provider.name,
        max_steps=settings.max_steps,
        max_retries=settings.max_retries,
        timeout=settings.timeout,
        query=opening.query,
        interactive_tool_call=opening.answers[0] if opening.answers else None,
    )


def run_card(run: RunDriver, opening: Opening) -> RunCard:
    """Return what the desk is told of the run as it is taken up."""
    job, by = run.job, opening.delegated_by
    return RunCard(
        job_id=job.job_id,
        run_id=run.run_id,
        expert_key=run.expert.key,
        carrier=job.carrier_of(run.depth),
        query=opening.query,
        parent_run_id=by.run_id if by else None,
        depth=run.depth,
        started_at=job.deps.clock.now_ms(),
        is_question=job.plan.service and not run.expert.delegates,
    )


def run_context(run: RunDriver) -> RunContext:
    """Return what the run's skills may know."""
    job = run.job
    carrier = job.carrier_of(run.depth)
    return RunContext(
        job_id=job.job_id,
        run_id=run.run_id,
        workspace=job.plan.workspace,
        env=job.plan.env,
        todos=run.state.todos,
        exec=job.plan.settings.exec,
        base_skill_command=job.plan.settings.base_skill_command,
        listed=job.plan.listed.get(run.expert.key),
        session_id=carrier.session_id,
        agent_id=carrier.agent_id,
    )


def input_messages(
    run: RunDriver, opening: Opening
) -> tuple[InstructionMessage | UserMessage, ...]:
    """Return what the run is told as it is taken up."""
    found: list[InstructionMessage | UserMessage] = []
    if opening.status == "init" and opening.parent is None:
        prompt = system_prompt(
            run.expert,
            run.job.plan.experts,
            now_ms=run.job.deps.clock.now_ms(),
            workspace=str(run.job.plan.workspace),
        )
        found.append(
            InstructionMessage(
                id=run.new_message_id(), contents=(TextPart(text=prompt),), cache=True
            )
        )
    if opening.query is not None:
        found.append(UserMessage(id=run.new_message_id(), contents=(TextPart(text=opening.query),)))
    return tuple(found)


def answered(answer: InteractiveAnswer) -> ToolResult:
    """Return the user's answer as the result of the call that asked."""
    return ToolResult(
        id=answer.tool_call_id,
        skill_name=answer.skill_name,
        tool_name=answer.tool_name,
        result=(TextPart(text=answer.text),),
    )
