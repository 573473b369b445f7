"""Drives the creating job: an ordinary job of the workspace, whose tools are answered here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from perstack.cli.create_again import again_command
from perstack.cli.create_trials import TrialRunner
from perstack.cli.driving import StoppedBy, exit_code, warn, watch_signals
from perstack.cli.listeners import Plain, say
from perstack.cli.prompting import confirm_meanwhile
from perstack.config.creator import CREATOR, creator
from perstack.config.report import printable
from perstack.config.typed import Overrides
from perstack.config.untrusted import Demand
from perstack.domain.events import Event
from perstack.domain.ids import JobId
from perstack.domain.jobs import SomeLimits
from perstack.engine.control import StopControl
from perstack.engine.groups import unwrapped
from perstack.engine.plan import JobOutcome, Plan
from perstack.errors import NotFoundError
from perstack.ports.frontend import Continuation
from perstack.ports.system import RandomIds
from perstack.project import Project
from perstack.runtime import Runtime, log_to_file, open_runtime
from perstack.services.creating import (
    Creating,
    CreatingParts,
    Progress,
    query_of,
    usable_draft,
)
from perstack.services.creating_budget import SharedBudget
from perstack.services.creating_draft import Draft, Ground
from perstack.services.own_tools import WithOwnTools
from perstack.skills.opener import Skills
from perstack.storage.files import explained
from perstack.storage.new_file import new_file

_FOLDER: Final = Path("perstack", "creating")
_PROGRESS: Final = "progress.json"
_DRAFT: Final = "draft.toml"


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be created, and how. `job_id` is that of a job that goes on.

    `definition` is that of an Expert to be improved. Unless it `asks`, nobody is asked, and
    `allows_all` says whether drafts may be tried whatever they start or connect to. `words` say
    where the project is; `over` is what else was typed.
    """

    project: Project
    ground: Ground
    progress: Progress
    definition: str
    trials: int
    asks: bool
    allows_all: bool
    words: tuple[str, ...]
    over: Overrides
    typed: SomeLimits
    job_id: JobId | None = None

    def folder(self, job_id: JobId) -> Path:
        """Return where the draft and the trials of the job are."""
        return self.project.workspace / _FOLDER / job_id


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it: the exit code, the draft if there is one, whether it was tried."""

    code: int
    draft: Draft | None
    tried: bool
    folder: Path


def find_progress(workspace: Path, job_id: str | None) -> tuple[JobId, Progress]:
    """Return the creation that `job_id` is of, or else the latest. Blocks on the disk.

    Raises:
        NotFoundError: there is none, or it cannot be read.
    """
    found = sorted((workspace / _FOLDER).glob(f"*/{_PROGRESS}"), key=_changed, reverse=True)
    for path in found:
        if job_id is None or path.parent.name == job_id:
            try:
                progress = Progress.model_validate_json(path.read_bytes())
            except (OSError, ValueError) as error:
                raise NotFoundError(f"{path} cannot be read", hint="create it anew") from error
            return JobId(path.parent.name), progress
    raise NotFoundError(
        "there is nothing to go on with" if job_id is None else f"nothing was created by {job_id}",
        hint='perstack create NAME "what it should do"',
    )


def drive(work: Work) -> Made:
    """Have the Expert create what is wanted; a signal stops it at a checkpoint.

    Raises:
        PerstackError: it could not begin, or its history could not be written.
    """
    work.project.admit(work.project.config.experts)
    if work.job_id is not None and work.progress.is_done:
        # Only the user's word is missing.
        draft, folder = usable_draft(work.ground, work.progress), work.folder(work.job_id)
        return Made(0, draft, work.progress.tried, folder)
    log_to_file(work.project.workspace, work.project.secrets)
    # What was said of the registry was said when it was asked.
    warn(replace(work.project, fetch_warnings=()))
    return anyio.run(_drive, work)


async def _drive(work: Work) -> Made:
    job_id = work.job_id or JobId(RandomIds().new())
    folder = work.folder(job_id)
    control, stopped_by = StopControl(), StoppedBy()
    limits, before = work.project.config.settings.budget, work.progress
    budget = SharedBudget(limits, tokens=before.tokens, usd=before.usd)
    listener = _Lines(budget, control)
    listener.output.on_broken = lambda: control.stop("user")
    trials = TrialRunner(work.project, folder, budget, listener.output.line)
    consent = _Consent(asks=work.asks, allows_all=work.allows_all)
    keep = partial(_keep, folder, budget)
    parts = CreatingParts(work.ground, trials, consent, keep, lambda: budget.used_up, work.trials)
    draft = await anyio.to_thread.run_sync(usable_draft, work.ground, work.progress)
    creating = Creating(parts, work.progress, draft)
    await keep(creating.progress)
    skills = WithOwnTools(Skills(), CREATOR, creating.tools)
    endings: list[JobOutcome] = []
    with unwrapped():
        async with (
            open_runtime(work.project, skills=skills) as runtime,
            anyio.create_task_group() as group,
        ):
            group.start_soon(watch_signals, control, stopped_by)
            endings.append(await _started(runtime, work, job_id, listener, control))
            group.cancel_scope.cancel()
    ended = endings[0]
    listener.on_end(ended)
    if creating.progress.trials > work.progress.trials:
        say(f"Together with the trials: {budget.tokens:,} tokens")
    code = exit_code(
        ended, stopped_by, listener.output, again_command(work.words, work.over, ended, budget)
    )
    if ended.outcome.ending == "stopped" and budget.used_up is not None:
        code = 6
    # What was used since the last call counts as well.
    await (creating.finish() if code == 0 else keep(creating.progress))
    return Made(code, creating.draft, creating.progress.tried, folder)


async def _started(
    runtime: Runtime, work: Work, job_id: JobId, listener: _Lines, control: StopControl
) -> JobOutcome:
    plan = _plan(runtime.project)
    if work.job_id is None:
        query = query_of(work.ground, work.progress.wish, work.definition)
        return await runtime.runs.start(
            plan, CREATOR, query, listener=listener, control=control, job_id=job_id
        )
    wanted = Continuation(job_id=job_id, expert_key=CREATOR, typed=work.typed)
    return await runtime.runs.go_on(plan, wanted, listener=listener, control=control)


def _plan(project: Project) -> Plan:
    """Return what the creating job runs with: itself alone, whatever the file calls by its name."""
    return replace(project.plan(), experts={CREATOR: creator()})


async def _keep(folder: Path, budget: SharedBudget, progress: Progress) -> None:
    used = progress.model_copy(update={"tokens": budget.tokens, "usd": budget.usd})
    await anyio.to_thread.run_sync(_write_down, folder, used)


def _write_down(folder: Path, progress: Progress) -> None:
    with explained("make", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if progress.draft is not None:
        with new_file(folder / _DRAFT, replaces=True) as file:
            file.write(progress.draft)
    with new_file(folder / _PROGRESS, replaces=True) as file:
        file.write(progress.model_dump_json(indent=2))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class _Lines(Plain):
    """Progress lines; what is used is counted together with the trials', and ends the job."""

    def __init__(self, budget: SharedBudget, control: StopControl) -> None:
        super().__init__()
        self._budget = budget
        self._control = control

    def on_event(self, event: Event) -> None:
        """Print what there is to say."""
        self._budget.note(event)
        super().on_event(event)
        if not self._control.stopping and (over := self._budget.used_up) is not None:
            self._control.stop("user", by=f"its budget: {over}")


class _Consent:
    """Asks in the terminal; where there is none, what was typed answers."""

    def __init__(self, *, asks: bool, allows_all: bool) -> None:
        self._asks = asks
        self._allows_all = allows_all

    async def allows(self, demands: tuple[Demand, ...]) -> bool:
        """Tell whether drafts that are tried may do all of this."""
        say("To be tried, the draft would, in a folder with files that the model writes:")
        for demand in demands:
            say(f"  {printable(demand.text)}")
        if self._allows_all:
            say("Allowed by --try-all.")
            return True
        if not self._asks:
            say("Not allowed: nobody can be asked; --try-all allows it.")
            return False
        return await confirm_meanwhile("Allow this?")
