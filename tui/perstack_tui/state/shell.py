"""The command that says the same in a shell."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from perstack.projection.cutting import CUT_MARK
from perstack.projection.inert import inert
from perstack.projection.views import JobView, RunView
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack.domain.consensus import ConsensusCheckpoint


def command(*words: str) -> str:
    """Return `perstack` with `words`, each quoted so that a shell takes it as it is."""
    return shlex.join(("perstack", *(flat(word) for word in words)))


def job_form(job_id: str) -> str:
    """Return what shows a job."""
    return command("log", "--job", job_id)


def run_form(run: RunView, job: JobView | None) -> str:
    """Return what answers the run's question, starts the same once it has ended, or shows it."""
    if run.question is not None:
        return command("start", run.expert_key, "--continue-job", run.job_id, "-i")
    ended = job is not None and not job.alive and job.coordinator_run_id == run.run_id
    if ended and (query := _quoted(run.query)) is not None:
        # What begins like an option is none behind the two dashes.
        apart = ("--",) if run.query.startswith("-") else ()
        return f"{command('start', run.expert_key, *apart)} {query}"
    return command("log", "--job", run.job_id, "--run", run.run_id)


def _quoted(query: str) -> str | None:
    """Return a query on one line for a shell, None when it is cut or hides something."""
    seen = query.replace("\t", " ")
    if not query.strip() or query.endswith(CUT_MARK) or inert(seen) != seen:
        return None
    if flat(query) == query:
        return shlex.quote(query)
    escaped = query.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + escaped.replace("\n", "\\n").replace("\t", "\\t") + "'"


def gate_form(gate: ConsensusCheckpoint) -> str:
    """Return what decides a gate, or shows it once that is done."""
    verb = "approve" if gate.status == "pending" and gate.form is None else "show"
    return command("consensus", verb, gate.id)


def expert_form(name: str) -> str:
    """Return what starts an Expert."""
    return command("start", name)


def run_json(run: RunView) -> str:
    """Return all that is known of a run as JSON."""
    return json.dumps(asdict(run), ensure_ascii=True, indent=2, default=str)
