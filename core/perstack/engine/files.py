"""The files that a job's runs work on."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from perstack.domain.ids import JobId
from perstack.engine.plan import Deps, Listener, Plan
from perstack.ports.snapshots import FileKeeper


def kept_files(
    plan: Plan, deps: Deps, job_id: JobId, listener: Listener
) -> AbstractAsyncContextManager[FileKeeper]:
    """Return what keeps the files of a job while it is driven."""
    settings = plan.settings.snapshots
    return deps.snapshots.keep(job_id, plan.workspace, settings, listener.on_warning)
