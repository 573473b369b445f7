"""Resource limits of agents: counted from the events of their runs, judged, enforced."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from anyio import to_thread

from perstack.domain.exhaustion import (
    Transition,
    deliver,
    judge,
    pause,
    terminate,
)
from perstack.domain.ids import AgentId
from perstack.domain.metering import counted
from perstack.domain.resources import (
    DELIVERABLE_TYPES,
    FILE_COUNTERS,
    Counter,
    Deliverable,
    ExhaustionEvent,
    FileOperation,
    Phase,
    ResourceMetrics,
    ResourceReport,
    ResourceSummary,
    evaluate,
    resumed,
)
from perstack.errors import ConflictError, LimitError, NotFoundError, UsageError
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.bounds import check_number, check_text, check_word
from perstack.services.resource_figures import Figures, figures_of
from perstack.services.resource_ledger import UNKNOWN_TYPE
from perstack.services.resource_meter import ResourceMeter

SAMPLES: Final = 10_000
_MOST_TOKENS: Final = 1_000_000_000


class ResourceService(ResourceMeter):
    """The meter, and the verbs by which programs report and people decide.

    Agents of other processes are reached through the database: theirs see it within a second.
    """

    # ---------------------------------------------------------------- reporting by hand

    async def initialize_agent(
        self, agent_id: AgentId, agent_type: str = UNKNOWN_TYPE
    ) -> ResourceMetrics:
        """Track an agent from now on; one that is tracked already goes on as it was."""
        check_text(agent_id, "agentId", shortest=1, longest=100)
        check_text(agent_type, "agentType", shortest=1, longest=200)
        return await self._step(agent_id, _unchanged, agent_type=agent_type)

    async def record_file_operation(
        self, agent_id: AgentId, operation: FileOperation
    ) -> ResourceMetrics:
        """Count a file that was read, written or modified.

        Raises:
            UsageError: there is no such operation.
        """
        word = check_word(operation, "file operation", FILE_COUNTERS)
        return await self._count(agent_id, FILE_COUNTERS[word])

    async def record_api_call(self, agent_id: AgentId, tokens_consumed: int = 0) -> ResourceMetrics:
        """Count a call of a model and the tokens it took.

        Raises:
            UsageError: the number of tokens is below 0 or beyond all bounds.
        """
        check_number(tokens_consumed, "tokensConsumed", least=0, most=_MOST_TOKENS)
        return await self._count(agent_id, "api_calls_count", tokens=tokens_consumed)

    async def record_subtask_spawn(self, agent_id: AgentId) -> ResourceMetrics:
        """Count a subtask."""
        return await self._count(agent_id, "subtasks_spawned")

    async def record_deliverable(
        self,
        agent_id: AgentId,
        type: str,  # noqa: A002  the seed's name
        description: str | None = None,
        artifacts: Sequence[str] = (),
        *,
        allow_self: bool = False,
    ) -> Deliverable:
        """Record a result; the agent's clock begins anew, and a warning ends.

        `allow_self`: this process drives jobs, and the program in it vouches for the result.

        Raises:
            DeniedError: a run, or what it started, would restart its own clock.
            UsageError: an unknown type, or a text that is too long.
        """
        await self._refuse_runs("report a deliverable", allow_self)
        word = check_word(type, "deliverable type", DELIVERABLE_TYPES)
        check_text(description or "", "description", longest=10_000)
        check_number(len(artifacts), "the number of artifacts", least=0, most=1_000)
        for artifact in artifacts:
            check_text(artifact, "an artifact", shortest=1, longest=4_096)
        deliverable = Deliverable(
            id=self._ids.new(),
            agent_id=agent_id,
            type=word,
            description=description,
            artifacts=tuple(artifacts),
            created_at=self._clock.now_ms(),
        )
        await self._step(agent_id, deliver, deliverable=deliverable)
        return deliverable

    # ---------------------------------------------------------------- limits

    async def evaluate_agent(self, agent_id: AgentId) -> Phase:
        """Judge an agent now; a change of phase is recorded and has its consequences.

        Raises:
            NotFoundError: the agent is not tracked.
        """
        await self.get_agent_metrics(agent_id)
        settings = self.settings

        def look(metrics: ResourceMetrics, now: int) -> tuple[ResourceMetrics, Transition | None]:
            judged = judge(metrics, settings, now)
            return judged.metrics, judged.transition

        return (await self._step(agent_id, look)).phase

    async def pause_agent(self, agent_id: AgentId, reason: str) -> ResourceMetrics:
        """Pause an agent: its run waits at the next step's boundary, in whatever process it is."""
        check_text(reason, "reason", shortest=1, longest=1_000)
        return await self._step(agent_id, lambda seen, now: (pause(seen, reason, now), None))

    async def resume_agent(self, agent_id: AgentId, *, allow_self: bool = False) -> bool:
        """Let a paused agent go on; False when it was not paused.

        After an intervention its limits count from here. Only people do this: `allow_self` is for
        a process that drives jobs, where a person pressed the key.

        Raises:
            DeniedError: this process is a run or was started by one.
        """
        await self._refuse_runs("resume an agent", allow_self)
        if not await self.is_agent_paused(agent_id):
            return False
        was_paused = False

        def let_go(metrics: ResourceMetrics, now: int) -> tuple[ResourceMetrics, None]:
            nonlocal was_paused
            after = resumed(metrics, now)
            was_paused = after is not None
            return after or metrics, None

        await self._step(agent_id, let_go)
        return was_paused

    async def terminate_agent(self, agent_id: AgentId) -> ResourceMetrics:
        """Stop an agent for good at its next boundary; it stays terminated."""
        settings = self.settings

        def end(metrics: ResourceMetrics, now: int) -> tuple[ResourceMetrics, Transition | None]:
            seen = evaluate(metrics, settings, now)
            over = seen.triggered_by if seen.phase == "intervention" else None
            judged = terminate(metrics, seen, over or "manual")
            return judged.metrics, judged.transition

        return await self._step(agent_id, end)

    async def is_agent_paused(self, agent_id: AgentId) -> bool:
        """Tell whether an agent is paused; one that is not tracked is not."""
        found = await self._find(agent_id)
        return found is not None and found.paused_at is not None

    async def refuse_if_paused(self, agent_id: AgentId) -> None:
        """Raise if an agent may not begin anything now.

        Raises:
            ConflictError: it is paused.
            LimitError: its limits are used up, or it was terminated.
        """
        found = await self._find(agent_id)
        hint = f"perstack agent resume -i {agent_id}"
        if found is None:
            return
        if found.phase == "termination":
            raise LimitError(
                f"Agent {agent_id} was terminated due to resource exhaustion",
                hint=f"it stays so: perstack agent stop -i {agent_id}, and spawn another",
            )
        if found.paused_at is not None:
            raise ConflictError(f"Agent {agent_id} is paused: {found.pause_reason}", hint=hint)
        if found.phase == "intervention" and self.settings.pause_on_intervention:
            # Nobody paused it then, so that there is nothing to resume.
            stop = f"perstack agent stop -i {agent_id}, and spawn another"
            raise LimitError(
                f"Agent {agent_id} is paused due to resource exhaustion",
                hint=f"{stop}; or set pauseOnIntervention = false",
            )

    # ---------------------------------------------------------------- looking

    def refuse_if_off(self) -> None:
        """Raise if runs are not metered.

        Raises:
            UsageError: they are not.
        """
        if not self.settings.enabled:
            raise UsageError(
                "Resource exhaustion monitoring is not enabled",
                hint="set [resourceExhaustion] enabled = true",
            )

    async def get_agent_metrics(self, agent_id: AgentId) -> ResourceMetrics:
        """Return what an agent used, up to now for agents of this process.

        Raises:
            NotFoundError: the agent is not tracked.
        """
        found = await self._find(agent_id)
        if found is None:
            off = "[resourceExhaustion] is off, so that runs are not metered: set enabled = true"
            hint = None if self.settings.enabled else off
            raise NotFoundError(f"no resource metrics of agent {agent_id[:40]!a}", hint=hint)
        return found

    async def get_resource_metrics(self, since_ms: int | None = None) -> ResourceSummary:
        """Return figures over all agents; totals and events are those since then (Unix ms)."""
        since = since_ms or 0
        return await self._stores.ask(lambda stores: stores.resources.summary(since_ms=since))

    async def report(self) -> ResourceReport:
        """Return whether limits are on, what they are, and the figures over all agents."""
        return ResourceReport(
            enabled=self.settings.enabled,
            config=self.settings,
            metrics=await self.get_resource_metrics(),
        )

    async def get_recent_events(
        self, limit: int = 10, *, agent_id: AgentId | None = None
    ) -> Sequence[ExhaustionEvent]:
        """Return changes of phase, newest first; those of agents that are gone, too."""
        check_number(limit, "limit", least=1, most=1_000)
        return await self._stores.ask(
            lambda stores: stores.resources.events(agent_id=agent_id, limit=limit)
        )

    async def deliverables(self, agent_id: AgentId, limit: int = 100) -> Sequence[Deliverable]:
        """Return what an agent delivered, newest first."""
        check_number(limit, "limit", least=1, most=1_000)
        return await self._stores.ask(
            lambda stores: stores.resources.deliverables(agent_id, limit=limit)
        )

    async def metrics(self) -> Figures:
        """Return counters, gauges and summaries under their Prometheus names."""
        summary = await self.get_resource_metrics()
        latest = await self._stores.ask(lambda stores: stores.resources.latest(limit=SAMPLES))
        return figures_of(summary, latest)

    async def cleanup_agent(self, agent_id: AgentId, *, allow_self: bool = False) -> bool:
        """Forget an agent's metrics and deliverables, not its events; say whether it had any.

        Raises:
            DeniedError: this process is a run or was started by one.
        """
        await self._refuse_runs("forget what an agent used", allow_self)
        async with self._flushing:
            self._ledger.drop(agent_id)
            return await self._stores.ask(lambda stores: stores.resources.remove(agent_id))

    async def _find(self, agent_id: AgentId) -> ResourceMetrics | None:
        await self.flush()
        found = await self._stores.ask(lambda stores: stores.resources.find([agent_id]))
        return found[0] if found else None

    async def _count(
        self, agent_id: AgentId, counter: Counter, *, tokens: int = 0
    ) -> ResourceMetrics:
        check_text(agent_id, "agentId", shortest=1, longest=100)
        return await self._step(
            agent_id, lambda seen, now: (counted(seen, counter, tokens=tokens, at=now), None)
        )

    async def _refuse_runs(self, deed: str, allow_self: bool) -> None:
        await to_thread.run_sync(
            partial(refuse_if_inside_run, self._workspace, allow_self=allow_self, deed=deed)
        )


def _unchanged(metrics: ResourceMetrics, _now: int) -> tuple[ResourceMetrics, None]:
    return metrics, None
