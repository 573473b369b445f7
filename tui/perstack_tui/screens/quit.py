"""What is asked when somebody leaves while runs of this process are at work."""

from __future__ import annotations

from perstack_tui.ports.host import Host
from perstack_tui.screens.confirm import Choice, ConfirmSheet

DETACH = "d"
STOP = "s"
SEND = "w"
TAKE_BACK = "u"


def quit_sheet(host: Host) -> ConfirmSheet:
    """Return the question; it names what is at work."""
    state = host.state
    held = host.holding.in_words()
    if not state.local_jobs:
        choices = (
            Choice(SEND, "write it now and quit"),
            Choice(TAKE_BACK, "take it back and quit; it waits on"),
        )
        return ConfirmSheet(host, "Leave with a decision held?", [held], choices, "stay")
    jobs = [job for job in state.index.view.jobs if job.job_id in state.local_jobs]
    names = ", ".join(job.expert_key for job in jobs) or f"{len(state.local_jobs)} jobs"
    body = [
        f"At work in this process: {names}.",
        "Detached runs go on without a screen; any cockpit in this folder shows them.",
        "A command that still runs after ten seconds is stopped, and shown as in doubt.",
        *((f"Held, and written as you leave: {held}.",) if held else ()),
    ]
    choices = (
        Choice(DETACH, "detach: they go on, this screen closes"),
        Choice(STOP, "stop them at their next step, checkpoints kept, and quit"),
    )
    return ConfirmSheet(host, "Leave with runs at work?", body, choices, "stay")
