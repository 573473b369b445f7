"""Steering of runs: by hand where this process drives them, by orders where another does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import anyio.to_thread

from perstack.config.builtin import reachable
from perstack.config.model_table import facts_of, models_of
from perstack.domain.agents import Order, OrderKind
from perstack.domain.ids import AgentId, ExpertKey, JobId, RunId
from perstack.domain.jobs import RunSetting
from perstack.domain.orders import Raise, RetryOrder
from perstack.domain.runtimes import RuntimeName
from perstack.domain.settings import ProviderName, Settings
from perstack.domain.usage import ModelFacts
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.fetching import fetched, foreign
from perstack.ports.frontend import Continuation
from perstack.ports.history import History
from perstack.ports.system import SystemClock
from perstack.project import Project
from perstack.providers.facts import model_facts
from perstack.services.agent_orders import AgentOrders, definition_text
from perstack.services.agent_roll import AgentRoll
from perstack.services.ancestry import refuse_if_inside_run
from perstack.services.whoami import whoami
from perstack.wiring import Tables, has_database
from perstack_tui.local.jobs import LocalJob
from perstack_tui.ports.steering import BudgetRaise, ModelChoice, Target

_QUERY: Final = 4_000
# Whose models a program asks; Cursor's are known to nobody else.
_ASKED_BY: Final[Mapping[RuntimeName, ProviderName]] = {
    "claude-code": "anthropic",
    "gemini": "google",
    "codex": "openai",
}


@dataclass(frozen=True, slots=True)
class SteeringParts:
    """What steering needs of the gateway: its jobs, tables, history, definitions and way on."""

    workspace: Path
    jobs: Mapping[JobId, LocalJob]
    tables: Tables
    history: History
    project: Callable[[], Awaitable[Project]]
    go_on: Callable[[Continuation, JobId], Awaitable[None]]


class LocalSteering:
    """Implements `ports.steering.Steering`."""

    def __init__(self, parts: SteeringParts) -> None:
        self._parts = parts
        self._clock = SystemClock()
        self._roll = AgentRoll(parts.tables.stores, clock=self._clock)
        self._orders = AgentOrders(
            parts.tables.stores, roll=self._roll, clock=self._clock, workspace=parts.workspace
        )

    async def stop(self, target: Target, *, now: bool = False) -> None:
        """Stop a run and what it delegated at a checkpoint."""
        try:
            await self._order(target, "stopNow" if now else "stop")
        except ConflictError:
            job = self._parts.jobs.get(target.job_id)
            if job is None:
                raise
            # It is only just beginning: its run is not known yet, its job is.
            job.control.stop("user", by=whoami(), now=now)

    async def pause(self, target: Target, reason: str | None = None) -> None:
        """Have a run wait at its next step's boundary."""
        await self._order(target, "pause", reason)

    async def resume(self, target: Target) -> None:
        """Let a paused run go on."""
        await self._order(target, "resume")

    async def say(self, target: Target, text: str) -> None:
        """Have the run's model read `text` with its next generation."""
        await self._order(target, "steer", text)

    async def retry(self, target: Target) -> None:
        """Have a delegated run that failed done again by the run that delegated it."""
        setting = await self._setting(target)
        by = setting.delegated_by
        if by is None:
            raise ConflictError("nobody delegated this run", hint="i goes on with its job")
        query = (setting.query or "")[:_QUERY]
        failed = RetryOrder(run_id=target.run_id, expert_key=setting.expert_key, query=query)
        parent = Target(target.job_id, by.run_id)
        try:
            await self._order(parent, "retry", failed.model_dump_json())
        except ConflictError as error:
            raise ConflictError(
                f"{by.expert_key}, which delegated it, is not at work any more",
                hint="i goes on with the job: say there what is to be done again",
            ) from error

    async def models(self, target: Target) -> Sequence[ModelChoice]:
        """Return the models that are known of the run's provider."""
        settings = (await self._setting(target)).settings
        return await anyio.to_thread.run_sync(_choices, settings, self._clock.now_ms())

    async def change_model(self, target: Target, model: str) -> None:
        """Have the run generate with `model` from its next step on."""
        settings = (await self._setting(target)).settings
        if settings.provider.name != "scripted" and settings.budget.max_cost_usd is not None:
            project = await self._parts.project()
            wanted = settings.model_copy(update={"model": model})
            facts = model_facts(wanted, env=project.env, now_ms=self._clock.now_ms())
            if facts.price is None:
                raise UsageError(
                    f"what {model} costs is not known, so the job's budget cannot be kept",
                    hint=f'state it in perstack.toml under [models."{model}"]',
                )
        await self._order(target, "model", model)

    async def take_definition(self, target: Target, expert_key: ExpertKey) -> str:
        """Have the run use the Expert as defined now; return its version."""
        project = await self._parts.project()
        if foreign(project, [expert_key]):
            # The file says which registry is asked, and is judged before that.
            await anyio.to_thread.run_sync(project.admit, project.config.experts)
            project = await fetched(project, [expert_key])
        experts = project.experts
        text = definition_text(expert_key, experts)
        wanted = experts[expert_key]
        # As the run's process will: here the user can still say yes.
        admit = partial(project.admit, reachable(wanted, experts))
        await anyio.to_thread.run_sync(admit)
        await self._order(target, "definition", text)
        return wanted.version

    async def raise_budget(self, job_id: JobId, more: BudgetRaise) -> None:
        """Let a job use more; one that ended at a limit goes on with that, in this process."""
        wanted = Raise(
            max_steps=more.max_steps,
            max_tokens=more.max_tokens,
            max_cost_usd=more.max_cost,
            max_duration=more.max_duration_ms,
        )
        job = await self._parts.history.get_job(job_id)
        if wanted == Raise():
            raise UsageError("nothing is raised", hint="say how much more of what")
        if job_id not in self._parts.jobs and job.status == "stoppedByMaxSteps":
            await self._parts.go_on(Continuation(job_id=job_id, more=wanted), job_id)
            return
        target = Target(job_id, job.coordinator_run_id)
        await self._order(target, "budget", wanted.model_dump_json())

    # ---------------------------------------------------------------- orders

    async def _order(self, target: Target, kind: OrderKind, text: str | None = None) -> None:
        own = self._parts.jobs.get(target.job_id)
        await anyio.to_thread.run_sync(
            partial(
                refuse_if_inside_run,
                self._parts.workspace,
                allow_self=True,
                deed="give orders to agents",
            )
        )
        if own is not None and own.desk is not None:
            order = Order(
                agent_id=AgentId(target.run_id),
                kind=kind,
                text=text,
                by=whoami(),
                created_at=self._clock.now_ms(),
            )
            if await own.desk.order(target.run_id, order):
                return
        agent = None
        if await anyio.to_thread.run_sync(has_database, self._parts.workspace):
            agent = await self._roll.find(AgentId(target.run_id))
        if agent is None:
            raise ConflictError("nothing drives this run", hint="i goes on with its job")
        try:
            await self._orders.give(agent, kind, text, allow_self=True)
        except ConflictError as error:
            raise ConflictError(
                "nothing drives this run any more", hint="i goes on with its job"
            ) from error

    async def _setting(self, target: Target) -> RunSetting:
        for setting in await self._parts.history.list_runs(target.job_id):
            if setting.run_id == target.run_id:
                return setting
        raise NotFoundError(f"run not found: {_short(target.run_id)}")


def _choices(settings: Settings, now_ms: int) -> list[ModelChoice]:
    provider: ProviderName = settings.provider.name
    if settings.runtime.name in _ASKED_BY:
        provider = _ASKED_BY[settings.runtime.name]
    names = dict.fromkeys((*settings.models, *models_of(provider, now_ms=now_ms)))
    return [
        ModelChoice(name, _known(facts_of(name, settings.models, provider=provider, now_ms=now_ms)))
        for name in names
    ]


def _known(facts: ModelFacts) -> str:
    price = facts.price
    cost = f"${price.input:g} in, ${price.output:g} out a million" if price else "price not known"
    window = f" · {facts.context_window // 1000:,}k" if facts.context_window else ""
    return cost + window


def _short(run_id: RunId) -> str:
    return run_id[:12]
