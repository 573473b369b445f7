"""What is selected, and whether it can be told anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from perstack.projection.views import JobView, RunView
from perstack_tui.deeds.items import why_not_act
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.steering import Steering, Target
from perstack_tui.state.cockpit import CockpitState
from perstack_tui.state.index import has_ended, is_at_work
from perstack_tui.text import flat


def is_coordinator(state: CockpitState, run: RunView) -> bool:
    """Say whether the run is the one that its job is about."""
    return state.index.jobs[run.job_id].coordinator_run_id == run.run_id


def target_of(run: RunView) -> Target:
    """Return what the gateway calls the run."""
    return Target(run.job_id, run.run_id)


def selected(host: Host) -> tuple[RunView, JobView] | None:
    """Return the selected run and its job."""
    run, job = host.state.run, host.state.job
    return None if run is None or job is None else (run, job)


def why_not_at_work(host: Host) -> str | None:
    """Return why the selected run cannot be told anything, None when it can."""
    state, job, run = host.state, host.state.job, host.state.run
    if (refused := why_not_act(host)) is not None:
        return refused
    if job is None or run is None:
        return "nothing is running here" if state.index.view.caught_up else "still reading"
    if not state.is_driven(job):
        ended = "this job has ended; i follows up"
        return ended if has_ended(job) else "nothing runs it; i goes on with it"
    return None if is_at_work(run) else f"{flat(run.expert_key)} has ended in this job"


def order(host: Host, work: Callable[[Steering], Awaitable[None]], told: str) -> None:
    """Have `work` done and tell what happened."""

    async def done(gateway: Gateway) -> None:
        await work(gateway.steering)
        host.tell(told, "good")

    host.command(done)
