"""Stopping, pausing and changing runs at work, of any process."""

from __future__ import annotations

from perstack.projection.views import JobView
from perstack_tui.deeds.items import why_not_act
from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.steering import Target
from perstack_tui.screens.confirm import Choice, ConfirmSheet
from perstack_tui.state.index import has_ended
from perstack_tui.state.wording import short_id
from perstack_tui.text import flat


class SteeringDeeds:
    """What is done to the selected run."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {"stop": Deed(self._stop, self._why_not_stop)}

    def _why_not_stop(self) -> str | None:
        state, job = self._host.state, self._host.state.job
        if (refused := why_not_act(self._host)) is not None:
            return refused
        if job is None:
            return "nothing is running here to stop"
        if not state.is_driven(job):
            ended = "this job has ended; i follows up"
            return ended if has_ended(job) else "nothing runs it; i goes on with it"
        return None

    def _stop(self) -> None:
        job = self._host.state.job
        if job is not None:
            self._ask_to_stop(job)

    def _ask_to_stop(self, job: JobView) -> None:
        names = [
            flat(run.expert_key)
            for run in job.runs
            if run.state in ("run", "waits", "gate", "stall")
        ]
        lines = [
            f"Job {short_id(job.job_id)}: what stops with it:",
            "  " + (", ".join(names) or flat(job.expert_key)),
            "",
            "Its checkpoints stay; i goes on with it later.",
        ]
        choices = (Choice("s", "stop at the next step"), Choice("n", "stop now"))
        sheet = ConfirmSheet(self._host, "Stop this job?", lines, choices, "keep running")
        target = Target(job.job_id, job.coordinator_run_id)
        self._host.open_sheet(sheet, lambda key: self._stopped(target, key))

    def _stopped(self, target: Target, key: str | None) -> None:
        if key is None:
            return
        now = key == "n"

        async def stop(gateway: Gateway) -> None:
            await gateway.steering.stop(target, now=now)
            self._host.tell("stopping" if now else "stops at its next step")

        self._host.command(stop)
