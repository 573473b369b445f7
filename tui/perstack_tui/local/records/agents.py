"""Agents, and what each of them used against its limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from perstack.domain.agents import Agent
from perstack.domain.coordination import ResourceSettings, ResourceThresholds
from perstack.domain.ids import AgentId
from perstack.domain.resources import ResourceMetrics, evaluate
from perstack.errors import ConflictError
from perstack.services.agent_roll import AgentRoll
from perstack.services.whoami import whoami
from perstack_tui.local.records.rows import (
    MOST,
    age,
    many,
    moment,
    said,
    selected,
    state,
    stated,
    structure,
    unknown,
    word,
)
from perstack_tui.local.records.rows import clock as clock_words
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Cell, Column, Field, Row, Tone, Verb
from perstack_tui.state.wording import amount, precise_span

_PAUSE: Final = Verb("pause", "z", "pause", asks="why (it is told)", optional=True)
_RESUME: Final = Verb("resume", "z", "resume")
_STEER: Final = Verb("steer", "i", "say", asks="what its model reads before its next step")
_STOP: Final = Verb("stop", "x", "stop", warns="Its run stops at the next step, checkpoint kept.")
_DISMISS: Final = Verb("stop", "x", "stop", warns="It is gone then, and its name free.")


class Agents:
    """Those that are spawned or at work, of every process; the last begun first."""

    empty = (
        "No agents are spawned or at work.\n"
        'perstack agent run -t coder -n bob -p "…" spawns one; every run has one while it works.'
    )
    columns = (
        Column("state", 11),
        Column("name", 0),
        Column("type", 12),
        Column("step", 4, right=True),
        Column("tokens", 6, right=True),
        Column("cost", 7, right=True),
        Column("age", 5, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services
        self._roll = AgentRoll(services.stores, clock=services.clock)

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = list(reversed(await self._roll.list(limit=MOST)))
        row = partial(_agent_row, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        agent = await self._roll.get(AgentId(record_id))
        return [
            stated(_state(agent)),
            *said("name", agent.name),
            *said("type", agent.type),
            *said("why paused", agent.pause_reason),
            *said("doing", agent.current_task),
            *said("error", agent.last_error, "fail"),
            *said("step", agent.step_number or None),
            Field("tokens", f"{agent.input_tokens:,} in, {agent.output_tokens:,} out"),
            *said("cost", _cost(agent)),
            *moment("since", agent.created_at),
            *moment("last heard of", agent.updated_at),
            *said("identity", agent.identity_id),
            *said("session", agent.session_id),
            *said("job", agent.job_id),
            *said("run", agent.run_id),
            *said("works for", agent.parent_id),
            *said("memory", agent.memory_namespace),
            *said("id", agent.id),
            *structure("metadata", agent.metadata),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        agents = await self._own.agents()
        at = AgentId(record_id or "")
        match verb_id:
            case "pause":
                told = await agents.orders.pause(at, reason=text, by=whoami(), allow_self=True)
                return f"{told.name} pauses before its next step"
            case "resume":
                told = await agents.orders.resume(at, by=whoami(), allow_self=True)
                return f"{told.name} goes on"
            case "steer":
                told = await agents.orders.steer(text or "", at, by=whoami(), allow_self=True)
                return f"{told.name} reads that before its next step"
            case "stop":
                stopped = await agents.stop(at, by=whoami(), allow_self=True)
                return "it stops at its next step" if stopped.ordered else "it is stopped"
            case _:
                raise unknown(verb_id)


def _state(agent: Agent) -> str:
    if agent.lost:
        return "lost"
    return "paused" if agent.paused_at is not None else agent.status


def _cost(agent: Agent) -> str:
    sign = "≥ " if agent.cost_partial and agent.cost_usd else ""
    return f"{sign}${agent.cost_usd:.2f}" if agent.cost_usd else "$?" if agent.cost_partial else ""


def _agent_row(agent: Agent, *, now_ms: int) -> Row:
    return Row(
        agent.id,
        (
            state(_state(agent)),
            word(agent.name),
            word(agent.type),
            word(str(agent.step_number or "")),
            word(amount(agent.input_tokens + agent.output_tokens)),
            word(_cost(agent)),
            age(agent.created_at, now_ms),
        ),
        _agent_verbs(agent),
    )


def _agent_verbs(agent: Agent) -> tuple[Verb, ...]:
    if agent.paused_at is not None:
        return (_RESUME, _STOP)
    if agent.status == "running" and not agent.lost:
        return (_PAUSE, _STEER, _STOP)
    return (_DISMISS,) if agent.origin == "spawned" and agent.status != "stopped" else ()


# --- limits ---------------------------------------------------------------------------------

_RESET: Final = Verb(
    "reset", "D", "forget", warns="What it used and delivered is forgotten; it counts from nothing."
)
_TERMINATE: Final = Verb(
    "terminate", "x", "terminate", warns="It stops at its next step, for good: it never goes on."
)


class Limits:
    """What agents used against what they may; the last active first."""

    empty = (
        "No agent is metered.\n"
        "[resourceExhaustion] with enabled = true in perstack.toml meters every run from then on."
    )
    columns = (
        Column("phase", 14),
        Column("agent", 0),
        Column("used", 5, right=True),
        Column("calls", 9, right=True),
        Column("tokens", 11, right=True),
        Column("files", 7, right=True),
        Column("subtasks", 8, right=True),
        Column("active", 6, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        settings = (await self._own.facts()).settings.resources
        found = await self._own.stores.ask(lambda stores: stores.resources.latest(limit=MOST))
        row = partial(_limit_row, settings=settings, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        service = await self._own.resources()
        at = AgentId(record_id)
        metrics = await service.get_agent_metrics(at)
        settings, now = service.settings, self._own.clock.now_ms()
        events = await service.get_recent_events(20, agent_id=at)
        delivered = await service.deliverables(at, 20)
        return [
            stated(_phase(metrics)),
            *said("why paused", metrics.pause_reason),
            *_figures(metrics, settings.thresholds, now),
            *said("type", metrics.agent_type),
            *moment("since", metrics.started_at),
            *moment("last active", metrics.last_activity_at),
            *moment("last delivered", metrics.last_deliverable_at),
            *many(
                "what happened",
                [
                    f"{clock_words(event.created_at)}  {event.phase}, {event.action_taken}:"
                    f" {event.triggered_by}"
                    for event in events
                ],
            ),
            *many(
                "delivered",
                [
                    f"{clock_words(one.created_at)}  {one.type} {one.description or ''}"
                    for one in delivered
                ],
            ),
            *said("agent", metrics.agent_id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        service = await self._own.resources()
        at = AgentId(record_id or "")
        match verb_id:
            case "pause":
                await service.pause_agent(at, text or f"by {whoami()}")
                return "it pauses before its next step"
            case "resume":
                if not await service.resume_agent(at, allow_self=True):
                    raise ConflictError("it is not paused any more")
                return "it goes on, and its limits count from here"
            case "terminate":
                await service.terminate_agent(at)
                return "it is terminated: it stops at its next step"
            case "reset":
                if not await service.cleanup_agent(at, allow_self=True):
                    raise ConflictError("there is nothing of it any more")
                return "what it used is forgotten"
            case _:
                raise unknown(verb_id)


def _phase(metrics: ResourceMetrics) -> str:
    if metrics.paused_at is not None and metrics.phase != "termination":
        return "paused"
    return metrics.phase


def _share(metrics: ResourceMetrics, settings: ResourceSettings, now_ms: int) -> float:
    ratios = evaluate(metrics, settings, now_ms).ratios
    return max(ratios.values(), default=0.0)


def _limit_row(metrics: ResourceMetrics, *, settings: ResourceSettings, now_ms: int) -> Row:
    may, share = settings.thresholds, _share(metrics, settings, now_ms)
    near: Tone = "text"
    if share >= settings.warning_threshold_percent:
        near = "fail" if share >= 1 else "stall"
    paused = metrics.paused_at is not None
    ended = metrics.phase == "termination"
    verbs = () if ended else ((_RESUME if paused else _PAUSE), _TERMINATE)
    return Row(
        metrics.agent_id,
        (
            state(_phase(metrics)),
            word(f"{metrics.agent_type} {metrics.agent_id[:12]}"),
            Cell(f"{min(999, round(share * 100))}%", near),
            word(f"{metrics.api_calls_count}/{may.max_api_calls}"),
            word(f"{amount(metrics.tokens_consumed)}/{amount(may.max_tokens_consumed)}"),
            word(f"{metrics.files_accessed}/{may.max_files_accessed}"),
            word(f"{metrics.subtasks_spawned}/{may.max_subtasks_spawned}"),
            age(metrics.last_activity_at, now_ms),
        ),
        (*verbs, _RESET),
    )


def _figures(metrics: ResourceMetrics, may: ResourceThresholds, now_ms: int) -> list[Field]:
    from_ = metrics.counted_from
    idle = metrics.without_deliverable_ms(now_ms)
    of = [
        ("model calls", metrics.api_calls_count, from_.api_calls_count, may.max_api_calls),
        ("tokens", metrics.tokens_consumed, from_.tokens_consumed, may.max_tokens_consumed),
        ("files", metrics.files_accessed, from_.files_accessed, may.max_files_accessed),
        ("subtasks", metrics.subtasks_spawned, from_.subtasks_spawned, may.max_subtasks_spawned),
    ]
    fields = [
        Field(name, f"{used - base:,} of {most:,}" + (f" ({used:,} in all)" if base else ""))
        for name, used, base, most in of
    ]
    limit = precise_span(may.max_time_without_deliverable_ms)
    return [*fields, Field("undelivered", f"{precise_span(idle)} of {limit}")]
