"""Runs Experts for services, as real jobs of the workspace. Implements `ports.experts`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import anyio

from perstack.config.builtin import reachable
from perstack.config.cli_providers import executed_with
from perstack.domain.events import Delta, Event
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, IdentityId, RunId
from perstack.domain.jobs import SomeLimits
from perstack.domain.runtimes import is_program
from perstack.domain.settings import Settings
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import Deps, JobOutcome, Plan
from perstack.errors import LimitError, UnknownExpertError
from perstack.ports.desk import Carrier
from perstack.ports.experts import ExpertAnswer, ExpertRequest, FetchExperts
from perstack.ports.frontend import Continuation
from perstack.ports.history import History
from perstack.ports.model import ChatModel
from perstack.projection.run_state import RunState
from perstack.services.named_models import NamedModels
from perstack.services.own_tools import WithOwnTools
from perstack.services.runs import Runs

STOP_WITHIN_S: Final = 10.0
CLOSING_S: Final = 3.0

OpenModel = Callable[[str], Awaitable[ChatModel]]


@dataclass(frozen=True, slots=True)
class RunnerParts:
    """What a runner works with.

    `experts` gives those that there are now: plugins come and go. `open_model` opens another model
    of the same vendor by name. `admit` refuses an identity that must not be carried. `settled`
    has written what the desk heard. `fetch` gives Experts of a registry, with all they lead to.
    """

    history: History
    deps: Deps
    plan: Plan
    experts: Callable[[], Mapping[ExpertKey, Expert]]
    open_model: OpenModel
    admit: Callable[[IdentityId], Awaitable[None]] | None = None
    settled: Callable[[], Awaitable[None]] | None = None
    fetch: FetchExperts | None = None


class JobExpertRunner:
    """Each request is a job with its own history, in this process.

    Models that requests name are opened once and closed with the runner; the usual one is not ours.
    """

    def __init__(self, parts: RunnerParts) -> None:
        self._parts = parts
        self._models = NamedModels(parts.open_model)

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        """The project's Experts and the built-in ones, by key; the project's win."""
        return self._parts.experts()

    async def run(self, request: ExpertRequest) -> ExpertAnswer:
        """Run to the end. Cancelling stops the job at a checkpoint, in bounded time.

        Raises:
            UnknownExpertError: there is no such Expert.
            RegistryError: what it delegates to cannot be had of the registry.
            ConfigError: the model cannot be opened, or the user has not accepted what it would do.
            LimitError: its time was over, and it did not stop within 10 s.
            NotFoundError, ConflictError: there is no such identity, or it is not active.
            StorageError: the history cannot be written.
        """
        expert = self._expert(request.expert)
        # A spawned agent's identity was looked at when it was spawned.
        if request.identity_id and request.agent_id is None and self._parts.admit:
            await self._parts.admit(request.identity_id)
        plan = self._plan(request, expert, await self._known(expert))
        of_program = _model_of_program(plan.settings, plan.experts[expert.key])
        deps = await self._deps(request, expert, opens=of_program is None)
        runs = Runs(self._parts.history, deps)
        control = StopControl()
        if request.watcher is not None:
            request.watcher.on_control(control)
        began = anyio.current_time()
        ended = await _to_the_end(
            lambda: _drive(runs, plan, expert, request, control), control, request.timeout_s
        )
        if self._parts.settled is not None:
            # Whoever asked finds its agent and its task as they are now.
            with anyio.move_on_after(CLOSING_S):
                await self._parts.settled()
        model = of_program or deps.model.name
        return _answer(ended, model, anyio.current_time() - began, control)

    async def aclose(self) -> None:
        """Close the models that requests named."""
        await self._models.aclose()

    def _expert(self, wanted: ExpertKey | Expert) -> Expert:
        if isinstance(wanted, Expert):
            return wanted
        found = self.experts.get(wanted)
        if found is None:
            raise UnknownExpertError(wanted, [str(key) for key in self.experts])
        return found

    async def _known(self, expert: Expert) -> Mapping[ExpertKey, Expert]:
        """Return all that the Expert can lead to, by key, with what a registry has of it."""
        known = {**self._parts.plan.experts, **self.experts}
        fetch, reached = self._parts.fetch, reachable(expert, known)
        missing = {key for one in reached.values() for key in one.delegates} - reached.keys()
        if not missing or fetch is None:
            return known
        return {**await fetch(sorted(missing)), **known}

    def _plan(
        self, request: ExpertRequest, expert: Expert, known: Mapping[ExpertKey, Expert]
    ) -> Plan:
        plan = self._parts.plan
        steps = request.max_steps or plan.settings.max_steps
        settings = plan.settings.model_copy(update={"max_steps": steps})
        experts = reachable(expert, known)
        if request.program is not None:
            settings = executed_with(settings, request.program, request.model)
            experts = {
                key: one.model_copy(update={"runtime": None}) if one.runtime else one
                for key, one in experts.items()
            }
        elif request.model is not None and _model_of_program(settings, expert) is not None:
            runtime = settings.runtime.model_copy(update={"model_given": True})
            settings = settings.model_copy(update={"model": request.model, "runtime": runtime})
        return replace(
            plan,
            settings=settings,
            experts=experts,
            service=request.agent_id is None,
            carrier=Carrier(
                request.agent_id, request.session_id, request.identity_id, request.task_id
            ),
        )

    async def _deps(self, request: ExpertRequest, expert: Expert, *, opens: bool) -> Deps:
        deps = self._parts.deps
        if opens and request.model is not None and request.model != deps.model.name:
            deps = replace(deps, model=await self._models.open(request.model))
        if request.tools:
            deps = replace(deps, skills=WithOwnTools(deps.skills, expert.key, request.tools))
        return deps


def _model_of_program(settings: Settings, expert: Expert) -> str | None:
    """Return which model the program asks that executes the Expert, None if none does."""
    name = expert.runtime or settings.runtime.name
    return settings.model_of(name) if is_program(name) else None


async def _drive(
    runs: Runs, plan: Plan, expert: Expert, request: ExpertRequest, control: StopControl
) -> JobOutcome:
    listener = _Listener(request)
    query = _with_context(request)
    if request.job_id is not None:
        typed = SomeLimits(max_steps=request.max_steps) if request.max_steps else None
        wanted = Continuation(
            job_id=request.job_id, text=query, is_answer=request.is_answer, typed=typed
        )
        return await runs.go_on(plan, wanted, listener=listener, control=control)
    return await runs.start(plan, expert.key, query, listener=listener, control=control)


async def _to_the_end(
    drive: Callable[[], Awaitable[JobOutcome]], control: StopControl, timeout_s: float | None
) -> JobOutcome:
    """Drive the job; a timeout, or being cancelled, stops it at a checkpoint."""
    endings: list[JobOutcome] = []
    over = anyio.Event()

    async def work(scope: anyio.CancelScope) -> None:
        try:
            with scope:
                endings.append(await drive())
        finally:
            over.set()

    with unwrapped():
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope(shield=True)
            group.start_soon(work, scope, name="expert")
            try:
                with anyio.move_on_after(timeout_s) as limit:
                    await over.wait()
                if limit.cancelled_caught:
                    control.stop("user", by=f"the time limit of {timeout_s:g} s")
            finally:
                if not over.is_set():
                    if not control.stopping:  # a second stop would not wait for tools
                        control.stop("user")
                    with anyio.move_on_after(STOP_WITHIN_S, shield=True):
                        await over.wait()
                scope.cancel()
    if not endings:
        raise LimitError(
            f"the Expert did not stop within {STOP_WITHIN_S:g} s when its time was over",
            hint="perstack jobs shows its job, which goes on from its last checkpoint",
        )
    return endings[0]


def _with_context(request: ExpertRequest) -> str:
    if not (request.context or "").strip():
        return request.query
    return f"Context:\n{request.context}\n\n{request.query}"


def _answer(ended: JobOutcome, model: str, duration_s: float, control: StopControl) -> ExpertAnswer:
    outcome, spent = ended.outcome, ended.spent
    error = outcome.error.message if outcome.error else None
    if outcome.ending != "completed" and error is None:
        error = _why(ended, control)
    return ExpertAnswer(
        ending=outcome.ending,
        text=outcome.text,
        job_id=ended.job_id,
        run_id=ended.run_id,
        model=model,
        steps=spent.steps,
        input_tokens=spent.usage.input_tokens,
        output_tokens=spent.usage.output_tokens,
        cost_usd=None if spent.cost.partial else spent.cost.usd,
        duration_ms=round(duration_s * 1000),
        error=error,
    )


def _why(ended: JobOutcome, control: StopControl) -> str:
    match ended.outcome.ending:
        case "limit":
            return f"stopped, {ended.outcome.overrun or 'the step limit was reached'}"
        case "asked":
            return "it asks the user a question"
        case "awaiting":
            return "a decision is awaited"
        case _:
            return f"stopped by {control.by}" if control.by else "stopped"


class _Listener:
    """Tells the caller the job's id, as soon as there is one, and whoever watches of all events."""

    def __init__(self, request: ExpertRequest) -> None:
        self._on_started = request.on_started
        self._watcher = request.watcher

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """The first event follows."""

    def on_event(self, event: Event) -> None:
        """Say that the job has begun, once, and hand the event on."""
        tell, self._on_started = self._on_started, None
        if tell is not None:
            tell(event.job_id)
        if self._watcher is not None:
            self._watcher.on_event(event)

    def on_delta(self, delta: Delta) -> None:
        """Nobody listens."""

    def on_warning(self, text: str) -> None:
        """The history says the same when it is looked at."""
