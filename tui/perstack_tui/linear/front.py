"""The conversation from its opening to its end: updates, commands, signals, leaving."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

from perstack.domain.ids import JobId
from perstack.errors import PerstackError
from perstack.ports.frontend import CockpitRequest
from perstack.ports.system import SystemClock
from perstack_tui.linear.commands import Command, Refused, parse
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.hearing import Heard, Hearing
from perstack_tui.linear.keyboard import Keyboard, remember, terminal_as_it_was, terminal_input
from perstack_tui.linear.lists import Listing
from perstack_tui.linear.obeying import Obeying
from perstack_tui.linear.paper import Paper
from perstack_tui.linear.talk import Talk
from perstack_tui.ports.gateway import Gateway
from perstack_tui.state.pump import Fold
from perstack_tui.state.wording import ENDED, count_of, short_id
from perstack_tui.text import flat

PROMPT: Final = "> "
TWICE_S: Final = 1.5
LEAVE_S: Final = 10.0
SIGNAL_LEAVE_S: Final = 1.5
LAST_RESORT_S: Final = 4.0
TICK_S: Final = 2.0
OPEN_WITHIN_S: Final = 10.0
_SETTLE_S: Final = 1.0
_CODES: Final[Mapping[int, int]] = {signal.SIGTERM: 143, signal.SIGHUP: 129}
_TERMINAL_GONE: Final = 129
_OVER: Final = ENDED | {"stop", "asks"}


@dataclass(frozen=True, slots=True)
class Front:
    """What a conversation is opened with.

    `end_after(code, seconds)` sees to it that the process has ended by then, come what may.
    """

    request: CockpitRequest
    open_gateway: Callable[[], Awaitable[Gateway]]
    make_fold: Callable[[], Fold]
    environ: Mapping[str, str]
    reviewer: str
    end_after: Callable[[int, float], None]
    rings: bool = True
    monotonic: Callable[[], float] = field(default=time.monotonic)


def converse(front: Front) -> int:
    """Hold the conversation until the user leaves; return the program's exit code.

    Raises:
        PerstackError: the workspace could not be opened.
    """
    with terminal_as_it_was():
        return anyio.run(_converse, front)


async def _converse(front: Front) -> int:
    paper = Paper()
    paper.say(f"Perstack, folder {front.request.workspace.name}. Type help for the commands.")
    gateway = await front.open_gateway()
    conversation = Conversation(front, paper, gateway)
    code = await conversation.hold()
    await anyio.to_thread.run_sync(paper.settle, _SETTLE_S, abandon_on_cancel=True)
    return code


class Conversation:
    """Commands are obeyed one after another; what happens is said between them."""

    def __init__(self, front: Front, paper: Paper, gateway: Gateway) -> None:
        self._front = front
        self._paper = paper
        self._gateway = gateway
        self._token = current_token()
        self._keyboard = Keyboard(paper, terminal_input(front.environ, front.monotonic))
        self._hearing = Hearing(front.make_fold(), SystemClock(), front.monotonic)
        self._talk = Talk(paper, self._keyboard)
        doing = Doing(self._talk, self._hearing, gateway, front.reviewer, Listing("inbox"))
        self._doing = doing
        self._obeying = Obeying(doing, self._ask_to_quit, observing=front.request.observe)
        self._opened = anyio.Event()
        self._left = anyio.Event()
        self._code = 0
        self._within_s = LEAVE_S
        self._interrupted = -TWICE_S
        paper.on_broken = self._terminal_gone

    async def hold(self) -> int:
        """Talk until somebody leaves; return the exit code."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._hear, name="linear:updates")
            group.start_soon(self._heed_signals, name="linear:signals")
            group.start_soon(self._tick, name="linear:time")
            group.start_soon(self._obey, name="linear:commands")
            await self._left.wait()
            await self._close()
            group.cancel_scope.cancel()
        self._keyboard.close()
        return self._code

    # --- what happens -----------------------------------------------------------------------

    async def _hear(self) -> None:
        try:
            async with aclosing(self._gateway.updates()) as updates:
                async for update in updates:
                    self._opened.set()
                    self._tell(await self._hearing.take(update))
        except PerstackError as error:
            self._doing.tell(error)
        except ExceptionGroup as group:
            told, others = group.split(PerstackError)
            if others is not None:
                raise
            if (error := _first_of(told)) is not None:
                self._doing.tell(error)

    async def _tick(self) -> None:
        """Let time go on for runs that stall and processes that vanish without a word."""
        while True:
            await anyio.sleep(TICK_S)
            if self._hearing.lives:
                self._tell(self._hearing.tick())

    def _tell(self, heard: Heard) -> None:
        if self._obeying.looking.watching:
            self._paper.announce(heard.runs)
        self._paper.announce(heard.told)
        if heard.calls and self._front.rings:
            self._paper.ring()

    # --- commands ---------------------------------------------------------------------------

    async def _obey(self) -> None:
        with anyio.move_on_after(OPEN_WITHIN_S):
            await self._opened.wait()
        await self._begin()
        while not self._left.is_set():
            line = await self._talk.command(PROMPT)
            if line is None:
                self._talk.say("")
                line = "quit"
            match parse(line):
                case Refused(why=why):
                    if why:
                        self._talk.say(why)
                case Command() as command:
                    remember(line.strip())
                    await self._obeying.obey(command)

    async def _begin(self) -> None:
        """Do what the conversation was opened for."""
        request = self._front.request
        if request.goes_on:

            async def go_on(gateway: Gateway) -> None:
                job_id = await self._doing.wait(gateway.go_on())
                self._talk.say(f"Going on with job {short_id(job_id)}.")

            await self._doing.do(go_on)
        elif request.expert_key is not None and not request.observe:
            command = Command("start", request.expert_key, (request.query or "").strip())
            await self._obeying.obey(command)

    # --- leaving ----------------------------------------------------------------------------

    async def _ask_to_quit(self) -> None:
        here = self._at_work_here()
        if not here:
            self._leave(0)
            return
        jobs = [self._hearing.index.jobs.get(job_id) for job_id in here]
        names = ", ".join(flat(job.expert_key) for job in jobs if job is not None)
        self._talk.say(f"At work in this process: {names or count_of(len(here), 'job')}.")
        self._talk.say("stop: at the next step, checkpoints kept. detach: they go on without this.")
        answer = await self._talk.ask("Type stop or detach, or Enter to stay: ")
        if answer == "stop" or self._talk.ended:
            self._leave(0)
        elif answer == "detach":
            self._talk.say("Detaching.")
            if await self._doing.do(lambda gateway: gateway.detach(here)):
                self._leave(0)
        else:
            self._talk.say("You stay.")

    def _at_work_here(self) -> list[JobId]:
        """Return the jobs that leaving would affect; one that has just ended is still closing."""
        jobs = self._hearing.index.jobs
        found = sorted(self._hearing.pump.local_jobs)
        return [one for one in found if one not in jobs or jobs[one].state not in _OVER]

    def _leave(self, code: int, within_s: float = LEAVE_S) -> None:
        if self._left.is_set():
            return
        self._code, self._within_s = code, within_s
        self._front.end_after(code, within_s + LAST_RESORT_S)
        self._left.set()

    async def _close(self) -> None:
        """Close the gateway while its updates are still taken: what it runs, runs inside them."""
        self._paper.stand(None)
        self._paper.release()
        if self._at_work_here():
            self._paper.say("Stopping at the next step.")
        with anyio.move_on_after(self._within_s):
            try:
                await self._gateway.aclose()
            except PerstackError as error:
                self._code = self._code or error.exit_code
                self._doing.tell(error)

    async def _heed_signals(self) -> None:
        numbers = (signal.SIGINT, *(signal.Signals(number) for number in _CODES))
        with anyio.open_signal_receiver(*numbers) as signals:
            async for number in signals:
                if number == signal.SIGINT:
                    self._interrupt()
                else:
                    self._leave(_CODES[number], SIGNAL_LEAVE_S)

    def _interrupt(self) -> None:
        """Give up what is waited for; else warn at the first, leave at the second within 1.5 s."""
        if self._doing.give_up():
            return
        now = self._front.monotonic()
        if now - self._interrupted <= TWICE_S:
            self._leave(130)
            return
        self._interrupted = now
        count = len(self._at_work_here())
        what = f"stops {count_of(count, 'job')} here at the next step and " if count else ""
        self._paper.say(f"Ctrl+C again {what}quits.")

    def _terminal_gone(self) -> None:
        """Leave; called by the thread that writes."""
        leave = partial(self._leave, _TERMINAL_GONE, SIGNAL_LEAVE_S)
        with suppress(RuntimeError):  # The conversation has ended: so has what there was to do.
            from_thread.run_sync(leave, token=self._token)


def _first_of(group: BaseExceptionGroup[PerstackError] | None) -> PerstackError | None:
    """Return the first error in the group."""
    error: BaseException | None = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, PerstackError) else None
