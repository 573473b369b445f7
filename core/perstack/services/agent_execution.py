"""Giving an agent work: its Expert really runs, and goes on with the agent's conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import anyio
from pydantic import JsonValue

from perstack.config.secrets import redact
from perstack.domain.agent_views import Execution
from perstack.domain.agents import Agent, AgentStatus, DriverProcess
from perstack.domain.ids import AgentId, IdentityId, JobId, SessionId
from perstack.domain.runtimes import ProgramName
from perstack.errors import (
    AnswerWantedError,
    ConfigError,
    ConflictError,
    LimitError,
    NotAskedError,
    NotFoundError,
    PerstackError,
    UsageError,
)
from perstack.ports.agents import AgentMove
from perstack.ports.announcements import Announcement, Announcer, NoAnnouncer
from perstack.ports.experts import ExpertAnswer, ExpertRequest, ExpertRunner, ExpertWatcher
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.agent_orders import addressed, goes_on_by
from perstack.services.agents import AgentService
from perstack.services.bounds import check_text
from perstack.services.handle import Handle
from perstack.services.processes import own_process

PROMPT_LENGTH: Final = 1_000_000
SHOWN_LENGTH: Final = 200

_READY: Final[tuple[AgentStatus, ...]] = ("idle", "completed", "failed")
_ALIVE: Final[tuple[AgentStatus, ...]] = (*_READY, "running")


class ResourceGate(Protocol):
    """Who keeps agents from working that used too much."""

    async def refuse_if_paused(self, agent_id: AgentId) -> None:
        """Raise if the agent may not begin anything now.

        Raises:
            ConflictError, LimitError: it may not.
        """
        ...


class AgentWatcher(ExpertWatcher, Protocol):
    """Is told of an agent that is given work, and of its run while it works."""

    def on_agent(self, agent: Agent) -> None:
        """It is ready, and begins."""
        ...


class AgentExecution:
    """Runs agents, one prompt at a time each.

    `process_id` is the desk's, which drives what is run here and beats for it. `secrets` are kept
    out of what the table of agents says.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        agents: AgentService,
        runner: ExpertRunner,
        clock: Clock,
        process_id: str | None = None,
        gate: ResourceGate | None = None,
        announcer: Announcer | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self._stores = stores
        self._agents = agents
        self._runner = runner
        self._clock = clock
        self._process: DriverProcess | None = None
        if process_id is not None:
            self._process = own_process(process_id, now_ms=clock.now_ms())
        self._gate = gate
        self._announcer = announcer or NoAnnouncer()
        self._secrets = tuple(secrets)

    async def run(
        self,
        agent_type: str,
        prompt: str,
        *,
        name: str | None = None,
        session_id: SessionId | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        identity_id: IdentityId | None = None,
        create_identity: bool = False,
        context: str | None = None,
        model: str | None = None,
        watcher: AgentWatcher | None = None,
    ) -> Execution:
        """Spawn an agent and give it `prompt`; it stays, idle, with its conversation.

        Raises:
            PerstackError: as `AgentService.spawn` and `execute`.
        """
        check_text(prompt, "prompt", shortest=1, longest=PROMPT_LENGTH)
        agent = await self._agents.spawn(
            agent_type,
            name=name,
            session_id=session_id,
            metadata=metadata,
            identity_id=identity_id,
            create_identity=create_identity,
        )
        return await self.execute(prompt, agent.id, context=context, model=model, watcher=watcher)

    async def execute(
        self,
        prompt: str,
        agent_id: AgentId | None = None,
        *,
        name: str | None = None,
        context: str | None = None,
        model: str | None = None,
        program: ProgramName | None = None,
        max_steps: int | None = None,
        timeout_s: float | None = None,
        is_answer: bool = False,
        watcher: AgentWatcher | None = None,
    ) -> Execution:
        """Have a spawned agent work on `prompt`, and return what came of it.

        `context` stands before the prompt. `program` does it instead of what the project says, with
        `model` as one of its own. With `is_answer` the prompt answers what the agent asked.
        `timeout_s` None takes `agents.defaultTimeout`; 0 means no limit. The agent is running
        meanwhile, idle afterwards, and failed if its work failed.

        Raises:
            UsageError: the prompt is empty or too long, or the type is gone.
            NotFoundError: `Agent not found`.
            ConflictError: it is at work, paused, or a run's; or its job is; or it asked nothing.
            LimitError: it was stopped after its time.
            PerstackError: its work failed.
        """
        check_text(prompt, "prompt", shortest=1, longest=PROMPT_LENGTH)
        agent = await self._ready(agent_id, name, is_answer=is_answer)
        await self._agents.types.learn(agent.type)
        limit = self._agents.settings.default_timeout if timeout_s is None else timeout_s
        jobs: list[JobId] = []
        request = ExpertRequest(
            expert=self._agents.types.to_run(agent.type),
            query=prompt,
            context=context,
            model=model,
            program=program,
            agent_id=agent.id,
            session_id=agent.session_id,
            identity_id=agent.identity_id,
            max_steps=max_steps,
            timeout_s=limit or None,
            is_answer=is_answer,
            on_started=jobs.append,
            watcher=watcher,
        )
        await self._claim(agent, prompt)
        failed: PerstackError | None = None
        refused = False
        try:
            if watcher is not None:
                watcher.on_agent(agent)
            # Now nobody else gives it work: what it did until just now is what it goes on with.
            claimed = await self._stores.ask(lambda s: s.agents.get(agent.id))
            answer = await self._runner.run(replace(request, job_id=claimed.job_id))
            jobs.append(answer.job_id)
            return _execution(agent, answer, limit)
        except (AnswerWantedError, NotAskedError) as error:
            refused = True
            error.hint = _how_to_answer(agent, asked=isinstance(error, AnswerWantedError))
            raise
        except PerstackError as error:
            refused, failed = _is_refusal(error, jobs), error
            raise
        finally:
            await (self._give_back(agent) if refused else self._settle(agent, failed, jobs))

    async def chat(
        self,
        message: str,
        agent_id: AgentId,
        *,
        context: str | None = None,
        model: str | None = None,
        watcher: AgentWatcher | None = None,
    ) -> Execution:
        """Say something to an agent: the answer to what it asked, or else new work.

        Raises:
            PerstackError: as `execute`.
        """
        try:
            return await self.execute(
                message, agent_id, context=context, model=model, watcher=watcher
            )
        except AnswerWantedError:
            return await self.execute(
                message, agent_id, context=context, model=model, is_answer=True, watcher=watcher
            )

    async def _ready(self, agent_id: AgentId | None, name: str | None, *, is_answer: bool) -> Agent:
        agent = await self._agents.roll.get(agent_id, name=name)
        if agent.origin == "run":
            raise ConflictError(
                f"agent {agent.name} is a run's",
                hint=f"{goes_on_by(agent)} goes on with its job",
            )
        if agent.paused_at is not None:
            raise ConflictError(
                f"Agent {agent.id} is paused: {agent.pause_reason or 'by a person'}",
                hint=f"perstack agent resume {addressed(agent)}",
            )
        if self._gate is not None:
            await self._gate.refuse_if_paused(agent.id)
        if is_answer and agent.job_id is None:
            raise NotAskedError(
                f"agent {agent.name} asked nothing: it had no work yet",
                hint=_how_to_answer(agent, asked=False),
            )
        return agent

    async def _claim(self, agent: Agent, prompt: str) -> None:
        now = self._clock.now_ms()
        process = self._process
        if process is not None:
            alive = process.model_copy(update={"beat_at": now})
            await self._stores.ask(lambda s: s.agents.beat(alive))
        move = AgentMove(
            "running",
            now,
            current_task=self._shown(prompt),
            process_id=None if process is None else process.id,
        )
        if await self._stores.ask(lambda s: s.agents.move(agent.id, move, expected=_READY)):
            return
        found = await self._agents.roll.find(agent.id)
        if found is None:
            raise NotFoundError("Agent not found", hint="it was stopped meanwhile")
        raise ConflictError(
            f"agent {agent.name} is at work: {found.current_task or 'on something else'}",
            hint=f"perstack agent steer … {addressed(agent)} tells it more; or wait for its end",
        )

    async def _give_back(self, agent: Agent) -> None:
        """Leave an agent as it was: nothing was begun."""
        move = AgentMove(
            agent.status if agent.status in _READY else "idle",
            self._clock.now_ms(),
            last_error=agent.last_error,
        )
        with anyio.CancelScope(shield=True):
            await self._stores.ask(lambda s: s.agents.move(agent.id, move, expected=_ALIVE))

    async def _settle(
        self, agent: Agent, failed: PerstackError | None, jobs: Sequence[JobId]
    ) -> None:
        """Write how it ended. A stopped agent stays stopped."""
        why = None if failed is None else self._shown(failed.message)
        move = AgentMove(
            "idle" if failed is None else "failed",
            self._clock.now_ms(),
            last_error=why,
            job_id=jobs[-1] if jobs else None,
        )
        with anyio.CancelScope(shield=True):
            await self._stores.ask(lambda s: s.agents.move(agent.id, move, expected=_ALIVE))
        if why is not None:
            self._announcer.announce(
                Announcement("agent_error", agent.name, (("type", agent.type),), text=why)
            )

    def _shown(self, text: str) -> str:
        """Return the beginning of a text, without secrets."""
        line = " ".join(redact(text[: SHOWN_LENGTH * 50], self._secrets).split())
        return line if len(line) <= SHOWN_LENGTH else f"{line[: SHOWN_LENGTH - 1]}…"


def _is_refusal(error: PerstackError, jobs: Sequence[JobId]) -> bool:
    """Tell whether work was refused before it began, for what was asked: the agent did no wrong."""
    asked = isinstance(error, UsageError | ConflictError | LimitError)
    return asked and not jobs and not isinstance(error, ConfigError)


def _how_to_answer(agent: Agent, *, asked: bool) -> str:
    exec_ = f"perstack agent exec {addressed(agent)} -p"
    if asked:
        return f"{exec_} '<answer>' --answer"
    return f"{exec_} '<text>' gives it new work; --answer is for what it asked"


def _execution(agent: Agent, answer: ExpertAnswer, limit_s: float) -> Execution:
    """Return what came of it.

    Raises:
        LimitError: it was stopped after its time.
        PerstackError: it failed.
    """
    if answer.ending == "failed":
        raise PerstackError(answer.error or "the run failed")
    ran_out = bool(limit_s) and answer.duration_ms >= limit_s * 1_000
    if answer.ending in ("stopped", "limit") and ran_out:
        raise LimitError(
            f"Agent {agent.name} was stopped after {limit_s:g} s (agents.defaultTimeout)",
            hint="executing it again goes on where it stopped; a longer defaultTimeout lets it",
        )
    return Execution(
        agent_id=agent.id,
        response=answer.text or answer.error or "",
        model=answer.model,
        duration=answer.duration_ms,
        ending=answer.ending,
        job_id=answer.job_id,
        run_id=answer.run_id,
        steps=answer.steps,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cost_usd=answer.cost_usd,
    )
