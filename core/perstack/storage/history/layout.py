"""Where each file of the history lies, below `perstack` in the workspace.

jobs/{jobId}/job.json                       the job, replaced in one go
jobs/{jobId}/lock                           held by the process that drives the job
jobs/{jobId}/runs/{runId}/run-setting.json  what the run was started with
jobs/{jobId}/runs/{runId}/events.jsonl      what happened, a record a line
live/{jobId}.jsonl                          who drives the job now, and what is new; scratch
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perstack.domain.ids import JobId, RunId, check_path_id
from perstack.errors import UsageError

LIVE_SUFFIX: Final = ".jsonl"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `workspace`, or in `folder` if the history is kept elsewhere.

    Every method raises `UsageError` for an id that is no safe name.
    """

    workspace: Path
    folder: Path | None = None

    @property
    def storage(self) -> Path:
        """The folder of everything."""
        return self.folder or self.workspace / "perstack"

    @property
    def jobs(self) -> Path:
        """The folder of jobs."""
        return self.storage / "jobs"

    @property
    def live(self) -> Path:
        """The folder that followers watch."""
        return self.storage / "live"

    def job(self, job_id: JobId) -> Path:
        """The job's folder."""
        return self.jobs / check_path_id("job id", job_id)

    def record(self, job_id: JobId) -> Path:
        """The job's record."""
        return self.job(job_id) / "job.json"

    def lock(self, job_id: JobId) -> Path:
        """The job's lock; its time of last change is when the job was last taken up."""
        return self.job(job_id) / "lock"

    def live_file(self, job_id: JobId) -> Path:
        """The job's live file, there while a process drives it."""
        return self.live / (check_path_id("job id", job_id) + LIVE_SUFFIX)

    def runs(self, job_id: JobId) -> Path:
        """The folder of the job's runs."""
        return self.job(job_id) / "runs"

    def run(self, job_id: JobId, run_id: RunId) -> Path:
        """The run's folder."""
        return self.runs(job_id) / check_path_id("run id", run_id)

    def setting(self, job_id: JobId, run_id: RunId) -> Path:
        """The run's setting."""
        return self.run(job_id, run_id) / "run-setting.json"

    def events(self, job_id: JobId, run_id: RunId) -> Path:
        """The run's events."""
        return self.run(job_id, run_id) / "events.jsonl"


def is_path_id(value: str) -> bool:
    """Say whether `value` can name a directory of the history."""
    try:
        check_path_id("id", value)
    except UsageError:
        return False
    return True
