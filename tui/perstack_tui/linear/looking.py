"""Looking: lists, and all about one of what they number."""

from __future__ import annotations

from typing import Final

from perstack.projection.views import RunView
from perstack_tui.linear.commands import Command, help_lines
from perstack_tui.linear.deciding import read_gate
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.lists import (
    NEWEST,
    Listing,
    expert_lines,
    find_job,
    find_run,
    item_line,
    job_lines,
    job_words,
    run_lines,
    run_words,
    runs_to_list,
)
from perstack_tui.state.inbox import Item
from perstack_tui.state.review import Review
from perstack_tui.text import crop, flat

ENTRIES: Final = 10


class Looking:
    """Nothing here changes anything. `watching`: what runs do is printed."""

    def __init__(self, doing: Doing) -> None:
        self.watching = True
        self._doing = doing

    def list(self, command: Command) -> None:
        """List what is asked for, or do what needs nothing but a word."""
        hearing, say = self._doing.hearing, self._doing.talk.say
        match command.verb:
            case "help":
                say(*help_lines())
            case "experts":
                experts = hearing.pump.definitions.experts
                self._doing.listing = Listing("experts", tuple(one.key for one in experts))
                say(*expert_lines(hearing.pump.definitions))
            case "jobs":
                self._list_jobs(everything=command.what == "all")
            case "runs":
                self._list_runs(command.what)
            case "inbox":
                self._doing.listing = Listing("inbox")
                items = [(item, hearing.numbers.of(item.key)) for item in hearing.pending]
                lines = [item_line(item, number, hearing.now_ms) for item, number in items]
                say(*(lines or ["Nothing waits for you."]))
            case _:
                self._set_watching(command.what)

    def _list_jobs(self, *, everything: bool) -> None:
        jobs = self._doing.hearing.index.view.jobs
        shown = jobs if everything else jobs[:NEWEST]
        self._doing.listing = Listing("jobs", tuple(job.job_id for job in shown))
        here = self._doing.hearing.pump.local_jobs
        self._doing.talk.say(*job_lines(shown, here, len(jobs) - len(shown)))

    def _list_runs(self, word: str) -> None:
        job = find_job(word, self._doing.listing, self._doing.hearing.index) if word else None
        if isinstance(job, str):
            self._doing.talk.say(job)
            return
        runs = runs_to_list(self._doing.hearing.index, job)
        self._doing.listing = Listing("runs", tuple(run.run_id for run in runs))
        self._doing.talk.say(*run_lines(runs))

    def _set_watching(self, word: str) -> None:
        if word not in ("on", "off"):
            self._doing.talk.say("watch on, or watch off.")
            return
        self.watching = word == "on"
        told = "is printed" if self.watching else "is not printed; what waits for you still is"
        self._doing.talk.say(f"What the runs do {told}.")

    async def show(self, command: Command) -> None:
        """Say all about a number of the last list, or a run or job."""
        listing, hearing = self._doing.listing, self._doing.hearing
        if listing.kind == "inbox":
            if (item := self.item(command.what)) is not None:
                await self._show_item(item)
        elif listing.kind == "experts":
            found = listing.id_of(command.what)
            experts = hearing.pump.definitions.experts
            expert = next((one for one in experts if one.key == found), None)
            if expert is None:
                self._doing.talk.say(f"The last list, experts, has no number {flat(command.what)}.")
                return
            self._doing.talk.say(
                f"{flat(expert.key)} {flat(expert.version)}: {flat(expert.description)}"
            )
            if expert.delegates:
                self._doing.talk.say(f"Delegates to {flat(', '.join(expert.delegates))}.")
            await self._doing.talk.read_out(expert.instruction)
        elif isinstance(run := find_run(command.what, listing, hearing.index), str):
            self._doing.talk.say(run)
        else:
            await self._show_run(run)

    async def _show_item(self, item: Item) -> None:
        hearing = self._doing.hearing
        self._doing.talk.say(item_line(item, hearing.numbers.of(item.key), hearing.now_ms))
        if item.question is not None:
            await self._doing.talk.read_out(item.question.text)
            self._doing.talk.say(
                *(f"{at} {flat(one)}" for at, one in enumerate(item.question.choices, 1))
            )
        elif item.gate is not None:
            await read_gate(self._doing.talk, Review(item.gate), hearing.now_ms)

    async def _show_run(self, run: RunView) -> None:
        job = self._doing.hearing.index.jobs[run.job_id]
        lines = [
            f"Job {job_words(job, self._doing.hearing.pump.local_jobs)}",
            f"Run {run_words(run)}",
        ]
        lines += [f"Asked: {run.query}"]
        lines += [
            f"{entry.title}: {entry.text}" if entry.text else entry.title
            for entry in run.entries[-ENTRIES:]
        ]
        if live := self._doing.hearing.pump.fold.live(run.run_id).text:
            lines.append(f"Saying: {live}")
        await self._doing.talk.read_out("\n".join(lines))

    def item(self, word: str) -> Item | None:
        """Return the inbox item of that number; say why there is none."""
        hearing = self._doing.hearing
        key = hearing.numbers.key(word)
        item = None if key is None else hearing.item(key)
        if item is None:
            gone = "is not there any more" if key is not None else "is no number of the inbox"
            self._doing.talk.say(f"{crop(flat(word), 20)} {gone}: inbox lists what waits.")
        return item
