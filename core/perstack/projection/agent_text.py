"""Agents, their types and answers as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.agent_views import AgentReport, Execution
from perstack.domain.agents import Agent, AgentType
from perstack.domain.dispatch import DispatchDecision
from perstack.domain.usage import Cost
from perstack.projection.agent_watch import task_text
from perstack.projection.cutting import one_line
from perstack.projection.log_header import moment
from perstack.projection.money import cost_words
from perstack.projection.table_text import between_rules, field, in_columns

NO_AGENTS: Final = "No active agents."

_HEAD: Final = ("ID", "TYPE", "NAME", "STATUS", "TASK")
_TASK_CHARACTERS: Final = 60


def agent_rows(agents: Sequence[Agent]) -> Iterator[str]:
    """Return a heading and a line an agent, in columns; a sentence where there are none."""
    if not agents:
        yield NO_AGENTS
        return
    yield from in_columns([_HEAD, *(_row(agent) for agent in agents)])


def type_rows(types: Sequence[AgentType]) -> Iterator[str]:
    """Return a heading and a line a type, in columns."""
    rows = [(one.type, one.description) for one in types]
    yield from in_columns([("TYPE", "DESCRIPTION"), *rows])


def agent_lines(agent: Agent) -> Iterator[str]:
    """Return what a new agent is."""
    yield field("ID", agent.id)
    yield field("Type", agent.type)
    yield field("Name", agent.name)
    yield field("Status", state_words(agent))


def report_lines(report: AgentReport) -> Iterator[str]:
    """Return what an agent is, does and can do; what does not apply to it is left out."""
    agent = report.agent
    yield from agent_lines(agent)
    yield field("Created", moment(agent.created_at))
    yield field("Session", agent.session_id or "-")
    if agent.identity_id:
        yield field("Identity", agent.identity_id)
    if agent.current_task and agent.status == "running":
        yield field("Task", agent.current_task)
    if agent.last_error:
        yield field("Last error", agent.last_error)
    if agent.job_id:
        yield field("Job", agent.job_id)
    if agent.step_number:
        cost = Cost(usd=agent.cost_usd, partial=agent.cost_partial)
        tokens = agent.input_tokens + agent.output_tokens
        steps = "1 step" if agent.step_number == 1 else f"{agent.step_number:,} steps"
        yield field("Used", f"{steps}, {tokens:,} tokens, {cost_words(cost)}")
    yield field("Capabilities", ", ".join(report.capabilities) or "-")


def prompt_lines(prompt: str) -> Iterator[str]:
    """Return the instruction of a type, between rules."""
    yield "System prompt"
    yield from between_rules(prompt)


def result_lines(done: Execution) -> Iterator[str]:
    """Return what an agent answered, between rules, and what it took."""
    yield from between_rules(done.response)
    yield field("Agent", done.agent_id)
    yield field("Model", done.model)
    yield field("Duration", f"{done.duration / 1_000:.2f}s")


def decision_lines(chosen: DispatchDecision) -> Iterator[str]:
    """Return who is to do a task, how sure that is, and why."""
    yield field("Agent", chosen.agent_type)
    yield field("Confidence", f"{chosen.confidence:.0%}")
    yield field("Reasoning", chosen.reasoning)
    yield field("Latency", "from the cache" if chosen.cached else f"{chosen.latency_ms} ms")


def state_words(agent: Agent) -> str:
    """Return an agent's status, and what of it the status does not say."""
    if agent.paused_at is not None:
        why = f": {agent.pause_reason}" if agent.pause_reason else ""
        return f"{agent.status}, paused{why}"
    return f"{agent.status}, lost" if agent.lost else agent.status


def _row(agent: Agent) -> tuple[str, ...]:
    return (
        agent.id,
        agent.type,
        agent.name,
        one_line(state_words(agent), _TASK_CHARACTERS),
        one_line(task_text(agent), _TASK_CHARACTERS),
    )
