"""Starting jobs, going on with them, and steering the runs at work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from perstack.domain.ids import ExpertKey
from perstack.projection.views import JobView, RunView
from perstack_tui.linear.commands import Command
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.lists import find_job, find_run
from perstack_tui.linear.registry import ASKING
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.steering import Steering, Target
from perstack_tui.state.definitions import is_here
from perstack_tui.state.index import is_at_work
from perstack_tui.state.wording import count_of, short_id
from perstack_tui.text import crop, flat

_NAME = 60


class Steers:
    """Commands about jobs and runs."""

    def __init__(self, doing: Doing) -> None:
        self._doing = doing

    async def start(self, command: Command) -> None:
        """Start a job of an Expert; ask for the text if there is none."""
        doing, text = self._doing, command.text
        has_experts = doing.listing.kind in ("experts", "registry")
        numbered = doing.listing.id_of(command.what) if has_experts else None
        expert = ExpertKey(numbered or command.what)
        if not text:
            text = await doing.talk.ask(f"What should {crop(flat(expert), _NAME)} do? ") or ""
        if not text:
            doing.talk.say("Nothing was started.")
            return

        async def start(gateway: Gateway) -> None:
            job_id = await doing.wait(gateway.start(expert, text))
            doing.talk.say(f"Started job {short_id(job_id)}.")

        self._say_who_is_asked(expert)
        await doing.do(start)

    def _say_who_is_asked(self, expert: ExpertKey) -> None:
        if not is_here(self._doing.hearing.pump.definitions, expert):
            self._doing.talk.say(ASKING)

    async def follow(self, command: Command) -> None:
        """Go on with a job that has ended or that nothing runs."""
        doing = self._doing
        job = find_job(command.what, doing.listing, doing.hearing.index)
        if isinstance(job, str):
            doing.talk.say(job)
            return
        text = command.text
        if not text and job.state == "done":
            text = await doing.talk.ask("It is completed. What is to be done next? ") or ""
            if not text:
                doing.talk.say("Nothing was sent.")
                return
        self._say_who_is_asked(job.expert_key)
        if await doing.do(lambda gateway: doing.wait(gateway.follow_up(job.job_id, text))):
            doing.talk.say(f"Job {short_id(job.job_id)} goes on.")

    async def say(self, command: Command) -> None:
        """Have a run read something before its next step."""
        if (run := self._at_work(command.what)) is None:
            return
        name, text = crop(flat(run.expert_key), _NAME), command.text
        if not text:
            text = await self._doing.talk.ask(f"What should {name} read? ") or ""
        if text:
            told = f"{name} reads it before its next step."
            await self._order(lambda s: s.say(_target(run), text), told)

    async def pause(self, command: Command) -> None:
        """Have a run wait before its next step."""
        if (run := self._at_work(command.what)) is not None:
            told = f"{flat(run.expert_key)} waits before its next step; resume lets it go on."
            await self._order(lambda s: s.pause(_target(run)), told)

    async def resume(self, command: Command) -> None:
        """Let a paused run go on, or the one above it that is."""
        if (run := self._at_work(command.what)) is None:
            return
        path = self._doing.hearing.index.path_to(run)
        paused = next((one for one in reversed(path) if one.paused is not None), run)
        await self._order(lambda s: s.resume(_target(paused)), f"{flat(run.expert_key)} goes on.")

    async def stop(self, command: Command) -> None:
        """Ask, then stop a run and what it delegated."""
        doing, now = self._doing, command.text == "now"
        if command.text not in ("", "now"):
            doing.talk.say("stop RUN, or stop RUN now.")
            return
        if (run := self._at_work(command.what)) is None:
            return
        below = self._below(run)
        also = f" and {count_of(len(below), 'run')} that it delegated to" if below else ""
        whole = doing.hearing.index.jobs[run.job_id].coordinator_run_id == run.run_id
        what = "the job's checkpoints stay" if whole else "the run above it goes on"
        doing.talk.say(f"This stops {flat(run.expert_key)}{also}; {what}.")
        if await doing.talk.ask("Type yes to stop, or Enter not to: ") != "yes":
            doing.talk.say("Nothing was stopped.")
            return
        told = "Stopping." if now else "It stops at its next step."
        await self._order(lambda s: s.stop(_target(run), now=now), told)

    def _below(self, run: RunView) -> list[RunView]:
        index, found = self._doing.hearing.index, dict[str, RunView]()
        waiting = [*run.children]
        while waiting:
            child = index.run(waiting.pop())
            if child is not None and child.run_id not in found:
                found[child.run_id] = child
                waiting += child.children
        return [one for one in found.values() if is_at_work(one)]

    def _at_work(self, word: str) -> RunView | None:
        """Return the run that is meant, if it can be told anything; say why it cannot."""
        doing = self._doing
        run = find_run(word, doing.listing, doing.hearing.index)
        if isinstance(run, str):
            doing.talk.say(run)
            return None
        job = doing.hearing.index.jobs[run.job_id]
        if (why := self._why_not(run, job)) is not None:
            doing.talk.say(why)
            return None
        return run

    def _why_not(self, run: RunView, job: JobView) -> str | None:
        if run.state == "asks":
            return "It asks you something: inbox says which number to answer."
        driven = job.alive or job.job_id in self._doing.hearing.pump.local_jobs
        if not driven:
            return f"Nothing runs it: follow {short_id(job.job_id)} goes on with the job."
        return None if is_at_work(run) else f"{flat(run.expert_key)} has ended in this job."

    async def _order(self, work: Callable[[Steering], Awaitable[None]], told: str) -> None:
        if await self._doing.do(lambda gateway: work(gateway.steering)):
            self._doing.talk.say(told)


def _target(run: RunView) -> Target:
    return Target(run.job_id, run.run_id)
