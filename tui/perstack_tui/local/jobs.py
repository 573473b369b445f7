"""The jobs that the cockpit's own process runs, and how one goes on without it."""

from __future__ import annotations

import subprocess
import sys
import threading

import anyio

from perstack.config.process_env import process_environment
from perstack.config.typed import Overrides
from perstack.domain.events import Delta, Event, SuspendRun
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.engine.control import StopControl
from perstack.engine.plan import JobOutcome
from perstack.errors import PerstackError
from perstack.project import Project, accept
from perstack.projection.run_state import RunState
from perstack.services.desk import AgentDesk


class LocalJob:
    """A job of this process, and the listener that notices when it gets going.

    What it says is not shown from here: the screen follows the history, as for every process.
    """

    def __init__(self, job_id: JobId, project: Project, overrides: Overrides) -> None:
        self.job_id = job_id
        self.project = project
        self.overrides = overrides
        self.control = StopControl()
        self.going = anyio.Event()
        self.over = anyio.Event()
        self.error: PerstackError | None = None
        self.expert_key = ExpertKey("")
        self.outcome: JobOutcome | None = None
        self._stopped_for: dict[RunId, str] = {}
        # Where its runs can be steered, once it is opened.
        self.desk: AgentDesk | None = None

    @property
    def was_detached(self) -> bool:
        """Whether it was stopped to be handed over, and by nobody else for another reason."""
        outcome = self.outcome
        if outcome is None or outcome.outcome.ending != "stopped":
            return False
        return self._stopped_for.get(outcome.run_id, self.control.reason) == "detach"

    def on_taken_up(self, run_id: RunId, state: RunState) -> None:
        """Nothing to remember: the history has it."""

    def on_event(self, event: Event) -> None:
        """The first event says that the job runs, and whose it is."""
        if isinstance(event.body, SuspendRun):
            self._stopped_for[event.run_id] = event.body.reason
        self.going.set()
        self.expert_key = self.expert_key or event.expert_key

    def on_delta(self, delta: Delta) -> None:
        """Shown from the workspace, like everything."""

    def on_warning(self, text: str) -> None:
        """Shown from the workspace, whose follower is told of damage as well."""


def spawn_headless(job: LocalJob) -> None:
    """Start a process of its own that goes on with the job. Blocks on the disk."""
    # The other process reads the file as it is then; what this job was started with is accepted.
    project = job.project
    accept(project, project.config.demands())
    named = ("--config", project.config.argument) if project.trust.named else ()
    logs = project.workspace / "perstack" / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "perstack", "run", job.expert_key),
        *("--continue-job", job.job_id, "--own-definitions"),
        *("--workspace", str(project.workspace), *named),
        *job.overrides.as_arguments(),
    ]
    with (logs / f"{job.job_id}.log").open("ab") as log:
        child = subprocess.Popen(
            command,
            cwd=project.workspace,
            env=process_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    # Reaped if this process is still here when it ends; it does not depend on that.
    threading.Thread(target=child.wait, name=f"detached:{job.job_id}", daemon=True).start()
