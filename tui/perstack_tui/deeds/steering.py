"""Stopping and pausing runs at work, of any process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from perstack.domain.ids import RunId
from perstack.errors import PerstackError
from perstack.projection.views import RunView
from perstack_tui.deeds.at_work import (
    is_at_work,
    is_coordinator,
    order,
    selected,
    target_of,
    why_not_at_work,
)
from perstack_tui.deeds.items import why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.screens.confirm import Choice, ConfirmSheet
from perstack_tui.state.wording import count_of, short_id
from perstack_tui.text import flat


class SteeringDeeds:
    """What is done to the selected run, or to those that are marked."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "stop": Deed(self._stop, self._why_not_stop),
            "pause": Deed(self._pause, lambda: why_not_at_work(self._host)),
        }

    # --- what it is done to -----------------------------------------------------------------

    @property
    def _marked(self) -> Sequence[RunView]:
        """The marked runs that somebody drives."""
        state = self._host.state
        runs = (state.index.run(RunId(key)) for key in state.marks if isinstance(key, str))
        found = [run for run in runs if run is not None and is_at_work(run)]
        return [run for run in found if state.is_driven(state.index.jobs[run.job_id])]

    # --- stopping ---------------------------------------------------------------------------

    def _why_not_stop(self) -> str | None:
        if (refused := why_not_act(self._host)) is not None or self._marked:
            return refused
        if self._host.state.job is None:
            reading = not self._host.state.index.view.caught_up
            return "still reading what runs here" if reading else "nothing is running here to stop"
        return why_not_at_work(self._host)

    def _stop(self) -> None:
        marked = self._marked
        if marked:
            self._ask_to_stop(marked)
        elif (found := selected(self._host)) is not None:
            self._ask_to_stop([found[0]])

    def _ask_to_stop(self, runs: Sequence[RunView]) -> None:
        lines: list[str] = []
        for run in runs:
            lines += self._what_stops(run)
        jobs = {run.job_id for run in runs}
        if len(runs) > 1:
            title = f"Stop {count_of(len(runs), 'run')} of {count_of(len(jobs), 'job')}?"
        else:
            title = (
                "Stop this job?" if is_coordinator(self._host.state, runs[0]) else "Stop this run?"
            )
        choices = (Choice("s", "stop at the next step"), Choice("n", "stop now"))
        sheet = ConfirmSheet(self._host, title, lines, choices, "keep running")
        self._host.open_sheet(sheet, partial(self._stopped, runs))

    def _what_stops(self, run: RunView) -> list[str]:
        job = self._host.state.index.jobs[run.job_id]
        below = [one for one in self._below(run) if is_at_work(one)]
        names = ", ".join(flat(one.expert_key) for one in (run, *below))
        lines = [f"Job {short_id(job.job_id)}: what stops with it:", f"  {names}"]
        if is_coordinator(self._host.state, run):
            return [*lines, "", "Its checkpoints stay; i goes on with it later."]
        parent = self._host.state.index.run(run.parent_run_id)
        whose = flat(parent.expert_key) if parent is not None else "the run that delegated it"
        return [*lines, "", f"{whose} is told that it failed, and goes on."]

    def _below(self, run: RunView) -> list[RunView]:
        index, found, waiting = self._host.state.index, dict[RunId, RunView](), [*run.children]
        while waiting:
            child = index.run(waiting.pop(0))
            if child is not None and child.run_id not in found:
                found[child.run_id] = child
                waiting += child.children
        return list(found.values())

    def _stopped(self, runs: Sequence[RunView], key: str | None) -> None:
        if key is None:
            return
        now = key == "n"

        async def stop(gateway: Gateway) -> None:
            failed: list[tuple[RunView, PerstackError]] = []
            for run in runs:
                try:
                    await gateway.steering.stop(target_of(run), now=now)
                except PerstackError as error:
                    failed.append((run, error))
            lost = {run.run_id for run, _ in failed}
            self._host.state.marks -= {run.run_id for run in runs} - lost
            if len(failed) == len(runs):
                raise failed[0][1]
            self._tell_stopped(len(runs) - len(failed), failed, now=now)

        self._host.command(stop)

    def _tell_stopped(
        self, count: int, failed: Sequence[tuple[RunView, PerstackError]], *, now: bool
    ) -> None:
        which = f"{count_of(count, 'run')}: " if count + len(failed) > 1 else ""
        told = which + ("stopping" if now else "stops at its next step")
        if failed:
            run, error = failed[0]
            told += f"; {len(failed)} not: {flat(run.expert_key)}: {flat(error.message)}"
        self._host.tell(told, "bad" if failed else "info")

    # --- pausing, doing again ---------------------------------------------------------------

    def _pause(self) -> None:
        if (found := selected(self._host)) is None:
            return
        run, _ = found
        name = flat(run.expert_key)
        if (paused := self._paused_above(run)) is not None:
            order(self._host, lambda s: s.resume(target_of(paused)), f"{name} goes on")
        else:
            order(
                self._host,
                lambda s: s.pause(target_of(run)),
                f"{name} waits before its next step; z resumes",
            )

    def _paused_above(self, run: RunView) -> RunView | None:
        path = self._host.state.index.path_to(run)
        return next((one for one in reversed(path) if one.paused is not None), None)
