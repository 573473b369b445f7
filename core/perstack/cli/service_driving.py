"""Drives what runs Experts for a while from the command line: a review loop, a workflow.

Progress goes to stderr; a signal stops it at a checkpoint, from where it can be gone on with.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Literal, TypeVar

import anyio

from perstack.cli.agent_options import Place
from perstack.cli.driving import StoppedBy, watch_signals
from perstack.cli.listeners import say
from perstack.cli.services import opened, project_of
from perstack.coordination import Coordination
from perstack.domain.consensus import ConsensusCheckpoint
from perstack.engine.groups import unwrapped
from perstack.errors import PerstackError
from perstack.project import Project
from perstack.runtime import log_to_file, warm_up
from perstack.services.bus import Message

LOOK_S: Final = 1.0
_MOST_WAITING: Final = 100

T = TypeVar("T")


class Driven(Generic[T]):
    """What is at work: `what` names it once it has begun, `done` is what came of it."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.what: str | None = None
        self.done: T | None = None

    def stop(self, reason: Literal["user", "signal"], *, now: bool = False) -> None:
        """Stop it at a checkpoint."""
        self.scope.cancel()


Work = Callable[[Coordination, Driven[T]], Awaitable[T]]
Lines = Callable[[Message], str | None]


def drive(place: Place, work: Work[T], *, runs: bool, again: Callable[[str], str]) -> T | int:
    """Return what came of `work`, or the exit code where a signal stopped it.

    With `runs` the model is opened beforehand. `again` makes of what was begun the command that
    goes on with it.

    Raises:
        PerstackError: it could not begin, or it failed.
    """
    project = project_of(place, writes=True)
    if runs:
        # As `run` does: importing the vendor's library takes longest.
        threading.Thread(target=warm_up, args=(project.config.settings,), daemon=True).start()
    log_to_file(project.workspace, project.secrets)
    stopped_by = StoppedBy()

    async def driving() -> Driven[T]:
        driven = Driven[T]()
        await _drive(project, work, driven, stopped_by, runs=runs)
        return driven

    driven = anyio.run(driving)
    if driven.done is not None:
        return driven.done
    if driven.what is None:
        say("Stopped before it began.")
    else:
        say(f"Stopped. Go on with: {again(driven.what)}")
    return 1 if stopped_by.number is None else 128 + stopped_by.number


async def _drive(
    project: Project, work: Work[T], driven: Driven[T], stopped_by: StoppedBy, *, runs: bool
) -> None:
    with unwrapped():
        async with opened(project, runs=runs) as made, anyio.create_task_group() as group:
            group.start_soon(watch_signals, driven, stopped_by)
            group.start_soon(_say_what_waits, made)
            with driven.scope:
                driven.done = await work(made, driven)
            group.cancel_scope.cancel()


async def _say_what_waits(made: Coordination) -> None:
    """Say what to type when something new waits for a person: an Expert at work, most likely."""
    known = {one.id for one in await _waiting(made)}
    while True:
        await anyio.sleep(LOOK_S)
        for one in await _waiting(made):
            if one.id not in known:
                known.add(one.id)
                say(f"A decision is awaited: perstack consensus show {one.id}")


async def _waiting(made: Coordination) -> Sequence[ConsensusCheckpoint]:
    try:
        return (await made.checkpoints.list_pending(limit=_MOST_WAITING)).checkpoints
    except PerstackError:
        # Whoever drives the work is told of tables that cannot be read.
        return ()


def tell(made: Coordination, sender: str, lines: Lines) -> Callable[[], object]:
    """Print on stderr what `lines` makes of what `sender` tells; what is returned ends that."""

    def heard(message: Message) -> None:
        if message.sender == sender and (line := lines(message)) is not None:
            say(line)

    return made.bus.subscribe_all(heard)
