"""What the command line hands to a front end (entry-point group `perstack.frontends`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from perstack.domain.ids import ExpertKey, JobId


@dataclass(frozen=True, slots=True)
class CockpitRequest:
    """What the cockpit opens on.

    `expert_key` and `query` together start a job at once; an `expert_key` alone opens the prompt
    with it; `job_id` selects a job. `observe` only watches: nothing can be started. `theme` names
    a palette, None for the default. `runtime` is whatever the gateway needs to open the runtime;
    the screen does not look into it.
    """

    workspace: Path
    expert_key: ExpertKey | None = None
    query: str | None = None
    job_id: JobId | None = None
    observe: bool = False
    theme: str | None = None
    runtime: object = field(default=None, repr=False)
