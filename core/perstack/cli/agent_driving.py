"""Drives an agent from the command line: signals stop it, what came of it becomes the exit code."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import anyio

from perstack.cli.agent_options import Named, Place, json_of
from perstack.cli.driving import EXIT_CODES, StoppedBy, warn, watch_signals
from perstack.cli.listeners import Output, say, say_what_waits
from perstack.cli.registry_experts import complete_for_agent
from perstack.config.limits import MAX_STEPS
from perstack.config.typed import Overrides
from perstack.coordination import Coordination, open_coordination
from perstack.domain.agent_views import Execution
from perstack.domain.agents import Agent
from perstack.domain.events import CallTools, Event, StopRunByInteractiveTool
from perstack.domain.ids import SessionId, ToolCallId
from perstack.domain.messages import ToolCallPart
from perstack.engine.groups import unwrapped
from perstack.ports.experts import Stoppable
from perstack.ports.system import SystemClock
from perstack.project import Project, open_project
from perstack.projection.agent_text import prompt_lines, result_lines
from perstack.projection.inert import inert
from perstack.projection.phrases import question_of
from perstack.runtime import log_to_file, open_runtime, warm_up
from perstack.services.agent_execution import AgentWatcher
from perstack.services.agent_orders import addressed
from perstack.services.agent_roll import AgentRoll
from perstack.wiring import Tables, open_tables


@dataclass(frozen=True, slots=True)
class Spawn:
    """A new agent."""

    type: str
    name: str | None
    session_id: SessionId | None


@dataclass(frozen=True, slots=True)
class Job:
    """What was typed: the work, and who is to do it."""

    place: Place
    who: Spawn | Named
    prompt: str
    context: str | None
    over: Overrides
    show_prompt: bool
    as_json: bool
    is_answer: bool = False


def drive(work: Job) -> int:
    """Have the agent work; return the exit code.

    Raises:
        PerstackError: it could not begin, or its work failed.
    """
    work.place.check()
    if isinstance(work.who, Named):
        work.who.refuse_empty(work.place.workspace)
    named = work.place.config
    trust = work.place.trust
    project = open_project(work.place.workspace, named, work.over, trust=trust, or_empty=True)
    project.admit(project.config.experts)
    # As `run` does: importing the vendor's library takes longest.
    threading.Thread(target=warm_up, args=(project.config.settings,), daemon=True).start()
    log_to_file(project.workspace, project.secrets)
    warn(project)
    return anyio.run(_drive, work, project)


async def _drive(work: Job, project: Project) -> int:
    progress, stopped_by = _Progress(work), StoppedBy()
    tables = open_tables(project.workspace)
    try:
        with unwrapped():
            done = await _work(work, project, tables, progress, stopped_by)
    finally:
        with anyio.move_on_after(3, shield=True):
            await tables.aclose()
    if done is not None:
        lines = [json_of(done)] if work.as_json else result_lines(done)
        progress.print(lines)
    return _exit_code(work, done, progress, stopped_by, project.config.settings.max_steps)


async def _work(
    work: Job, project: Project, tables: Tables, progress: _Progress, stopped_by: StoppedBy
) -> Execution | None:
    """Return what came of it, None when a signal came before it began."""
    if isinstance(work.who, Named):
        # Looked for first: an agent that is not there is said before a key that is not there.
        roll = AgentRoll(tables.stores, clock=SystemClock())
        type_ = (await roll.get(work.who.id, name=work.who.name)).type
    else:
        type_ = work.who.type
    project = await complete_for_agent(project, type_, yes=work.place.yes)
    done: list[Execution] = []
    async with (
        open_runtime(project, tables=tables) as runtime,
        open_coordination(runtime) as made,
        anyio.create_task_group() as group,
    ):
        progress.instruction_of = lambda agent: made.agents.types.expert(agent.type).instruction
        group.start_soon(watch_signals, progress, stopped_by)
        with progress.scope:
            done.append(await _give(work, made, progress))
        group.cancel_scope.cancel()
    return done[0] if done else None


async def _give(work: Job, made: Coordination, watcher: AgentWatcher) -> Execution:
    if isinstance(work.who, Named):
        return await made.execution.execute(
            work.prompt,
            work.who.id,
            name=work.who.name,
            context=work.context,
            max_steps=work.over.max_steps,
            is_answer=work.is_answer,
            watcher=watcher,
        )
    return await made.execution.run(
        work.who.type,
        work.prompt,
        name=work.who.name,
        session_id=work.who.session_id,
        context=work.context,
        watcher=watcher,
    )


class _Progress:
    """Prints what is done and what waits for a person, and stops it when that is asked for."""

    def __init__(self, work: Job) -> None:
        self.scope = anyio.CancelScope()
        self.agent: Agent | None = None
        self.instruction_of: Callable[[Agent], str] = _nothing
        self.output = Output()
        self.output.on_broken = lambda: self.stop("user")
        self._work = work
        self._control: Stoppable | None = None
        self._calls: dict[ToolCallId, ToolCallPart] = {}

    def on_agent(self, agent: Agent) -> None:
        """Say who begins."""
        self.agent = agent
        if self._work.as_json:
            return
        name = inert(agent.name, newlines=False)
        self.output.line(f"Agent {name} ({inert(agent.type, newlines=False)}) is at work.")
        if self._work.show_prompt:
            self.print(prompt_lines(self.instruction_of(agent)))

    def on_control(self, control: Stoppable) -> None:
        """From now on it can be stopped at a checkpoint."""
        self._control = control

    def on_event(self, event: Event) -> None:
        """Say what waits for a person."""
        say_what_waits(event)
        match event.body:
            case CallTools(new_message=message):
                self._calls = {call.tool_call_id: call for call in message.tool_calls}
            case StopRunByInteractiveTool(pending=(first, *_)):
                self._say_question(event.expert_key, self._calls.get(first))
            case _:
                pass

    def stop(self, reason: Literal["user", "signal"], *, now: bool = False) -> None:
        """Stop it; what has not begun does not begin."""
        if self._control is None:
            self.scope.cancel()
        else:
            self._control.stop(reason, now=now)

    def print(self, lines: Iterable[str]) -> None:
        """Print lines, unless that has failed before."""
        for line in lines:
            self.output.line(line)

    def _say_question(self, who: str, call: ToolCallPart | None) -> None:
        """On stderr, since the answer on stdout says only that it asks."""
        text, choices = question_of(call) if call else ("an answer is wanted", ())
        say(f"{who} asks: {text}")
        for number, choice in enumerate(choices, start=1):
            say(f"  {number} {choice}")


def _exit_code(
    work: Job,
    done: Execution | None,
    progress: _Progress,
    stopped_by: StoppedBy,
    max_steps: int,
) -> int:
    """Return the exit code, and say on stderr how to go on."""
    again = _again(work, progress.agent)
    if done is not None and progress.agent is not None:
        if done.ending == "asked":
            say(f"A question waits. Answer it with: {_answer(work, progress.agent)}")
        elif done.ending == "limit":
            raised = _raised(done, max_steps)
            say(f"It was {done.response}. Raise that limit, and go on with: {again}{raised}")
        elif done.ending == "completed" and isinstance(work.who, Spawn):
            say(_how_to_go_on(work, progress.agent))
    if stopped_by.number is not None and (done is None or done.ending == "stopped"):
        say(f"Stopped. Go on with: {again}" if progress.agent else "Stopped before it began.")
        return 128 + stopped_by.number
    broken = progress.output.broken
    if broken is not None:
        # A reader that went away (`| head`) knows; a disk that is full does not.
        if not isinstance(broken, BrokenPipeError):
            say(f"Error: standard output cannot be written: {broken.strerror}")
        return 1
    return 1 if done is None else EXIT_CODES[done.ending]


def _again(work: Job, agent: Agent | None) -> str:
    words = ["perstack", "agent", "exec", "-i", agent.id if agent else "", "-p", "go on"]
    return shlex.join([*words, *_where(work)])


def _raised(done: Execution, max_steps: int) -> str:
    """Return the option that lets it go on, if it was the steps that were used up."""
    if done.steps < max_steps:
        return ""
    return f" --max-steps {min(2 * done.steps, MAX_STEPS[1])}"


def _how_to_go_on(work: Job, agent: Agent) -> str:
    who, where = addressed(agent), "".join(f" {word}" for word in map(shlex.quote, _where(work)))
    more, end = f"perstack agent exec {who} -p …{where}", f"perstack agent stop {who}{where}"
    return f"It stays. To give it more: {more}\nTo stop it: {end}"


def _answer(work: Job, agent: Agent) -> str:
    words = shlex.join(["perstack", "agent", "exec", "-i", agent.id, "-p"])
    return f"{words} '<answer>' {shlex.join(['--answer', *_where(work)])}"


def _where(work: Job) -> list[str]:
    workspace = ["--workspace", str(work.place.workspace)]
    words = [] if str(work.place.workspace) == "." else workspace
    return words if work.place.config is None else [*words, "--config", work.place.config]


def _nothing(_: Agent) -> str:
    return ""
