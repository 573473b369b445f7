"""What is listed with numbers, and what a number or the beginning of an id means. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from perstack.domain.ids import JobId, RunId
from perstack.projection.views import JobView, RunView
from perstack.projection.watch_plain import STATE_WORDS
from perstack_tui.ports.gateway import DefinitionsUpdate
from perstack_tui.state.definitions import definitions_problem
from perstack_tui.state.inbox import Item, ItemKey, headline
from perstack_tui.state.index import Index, is_at_work
from perstack_tui.state.wording import RISK_WORDS, count_of, countdown, short_id, tokens
from perstack_tui.text import crop, flat

NEWEST: Final = 20
_HEADLINE: Final = 200

Kind = Literal["experts", "registry", "jobs", "runs", "inbox"]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Listing:
    """What was listed last: `ids` in their order, number 1 first. The inbox has its own numbers."""

    kind: Kind
    ids: tuple[str, ...] = ()

    def id_of(self, word: str) -> str | None:
        """Return what a number means in it."""
        number = number_of(word)
        return self.ids[number - 1] if number and number <= len(self.ids) else None


@dataclass(slots=True)
class Numbers:
    """The numbers of inbox items. One is given once, so that it never comes to mean another."""

    _numbers: dict[ItemKey, int] = field(default_factory=dict[ItemKey, int])

    def of(self, key: ItemKey) -> int:
        """Return the item's number."""
        return self._numbers.setdefault(key, len(self._numbers) + 1)

    def knows(self, key: ItemKey) -> bool:
        """Say whether it has one already."""
        return key in self._numbers

    def key(self, word: str) -> ItemKey | None:
        """Return the item that a number means."""
        number = number_of(word)
        return next((key for key, known in self._numbers.items() if known == number), None)


def number_of(word: str) -> int | None:
    """Return what `word` says in digits, None when it says anything else."""
    return int(word) if word.isascii() and word.isdecimal() and len(word) <= 9 else None


# ------------------------------------------------------------------ lines


def expert_lines(definitions: DefinitionsUpdate) -> list[str]:
    """Return the Experts, numbered, and what is wrong with the file."""
    lines = [
        f"{at} {flat(expert.key)}: {crop(flat(expert.description), _HEADLINE)}"
        for at, expert in enumerate(definitions.experts, 1)
    ]
    if problem := definitions_problem(definitions):
        lines.append(f"perstack.toml cannot be used as it is: {flat(problem)}")
    return lines or ["No Expert is defined: write a perstack.toml."]


def job_lines(jobs: Sequence[JobView], here: frozenset[JobId], older: int) -> list[str]:
    """Return the jobs, numbered; those in `here` run in this process, `older` are not listed."""
    lines = [f"{at} {job_words(job, here)}" for at, job in enumerate(jobs, 1)]
    if older:
        lines.append(f"{older} older: jobs all lists them, too.")
    return lines or ["There is no job yet: start EXPERT begins one."]


def job_words(job: JobView, here: frozenset[JobId]) -> str:
    """Return how a job stands."""
    where = ", runs here" if job.job_id in here else f", pid {job.pid}" if job.alive else ""
    steps = f"{job.total_steps} of {count_of(job.max_steps, 'step')}"
    return (
        f"{short_id(job.job_id)} {flat(job.expert_key)}: {STATE_WORDS[job.state]}, {steps}{where}"
    )


def run_lines(runs: Sequence[RunView]) -> list[str]:
    """Return the runs, numbered."""
    lines = [f"{at} {run_words(run)}" for at, run in enumerate(runs, 1)]
    return lines or ["No run is at work."]


def run_words(run: RunView) -> str:
    """Return how a run stands."""
    state = STATE_WORDS[run.state]
    if run.paused is not None:
        state = f"paused by {flat(run.paused.by)}"
    doing = f", {crop(flat(run.doing), _HEADLINE)}" if run.doing else ""
    used = f"step {run.step_number}, {tokens(run.usage)} tokens"
    return f"{short_id(run.run_id)} {flat(run.expert_key)}: {state}{doing}, {used}"


def item_line(item: Item, number: int, now_ms: int) -> str:
    """Return what waits, its number first, and the command to type."""
    what = crop(headline(item), _HEADLINE)
    if item.question is not None:
        which = f", question 1 of {item.question.of}" if item.question.of > 1 else ""
        who = flat(item.question.expert_key)
        return f"{number} {who} asks{which}: {what} To answer: answer {number}"
    if item.pause is not None:
        who = flat(item.pause.expert_key)
        return f"{number} {who} is paused: {what} To go on: resume {short_id(item.pause.run_id)}"
    if item.gate is None:
        return f"{number} {what}"
    left = countdown(item.gate.expires_at, now_ms)
    who = flat(item.gate.expert_key)
    if item.gate.form:
        return f"{number} {who}: a tool server asks, {left}: {what} To answer: answer {number}"
    risk = RISK_WORDS[item.gate.risk_level]
    count = len(item.gate.proposed_subtasks)
    more = f" and {count - 1} more" if count > 1 else ""
    return (
        f"{number} {who} wants your approval, risk {risk}, {left}: {what.rstrip('.')}{more}."
        f" To decide: approve {number} or reject {number}"
    )


# ------------------------------------------------------------------ finding


def runs_to_list(index: Index, job: JobView | None) -> list[RunView]:
    """Return the runs of `job`, or else all that are at work or wait for somebody."""
    if job is not None:
        return list(job.runs)
    every = (run for each in index.view.jobs for run in each.runs)
    return [run for run in every if is_at_work(run) or run.state == "asks"]


def find_run(word: str, listing: Listing, index: Index) -> RunView | str:
    """Return the run that `word` means, or why none does. A job means its coordinator's run."""
    if number_of(word) is not None and len(word) < 6:
        return _numbered_run(word, listing, index)
    every = [run for job in index.view.jobs for run in job.runs]
    found = [run for run in every if run.run_id.startswith(word)]
    if not found:
        jobs = [job for job in index.view.jobs if job.job_id.startswith(word)]
        found = [index.runs[job.coordinator_run_id] for job in jobs if _has_coordinator(job, index)]
    if not found:
        found = [run for run in every if run.expert_key == word and is_at_work(run)]
    return _only(found, word, "run")


def find_job(word: str, listing: Listing, index: Index) -> JobView | str:
    """Return the job that `word` means, or why none does. A run means its job."""
    if number_of(word) is not None and len(word) < 6:
        run = _numbered_run(word, listing, index)
        return run if isinstance(run, str) else index.jobs[run.job_id]
    found = [job for job in index.view.jobs if job.job_id.startswith(word)]
    if not found:
        runs = [run for job in index.view.jobs for run in job.runs if run.run_id.startswith(word)]
        found = [index.jobs[job_id] for job_id in dict.fromkeys(run.job_id for run in runs)]
    return _only(found, word, "job")


def _numbered_run(word: str, listing: Listing, index: Index) -> RunView | str:
    if listing.kind not in ("jobs", "runs"):
        return "List jobs or runs first: numbers are those of the last list."
    found = listing.id_of(word)
    if found is None:
        return f"The last list, {listing.kind}, has no number {word}."
    if listing.kind == "runs":
        return index.run(RunId(found)) or "That run is not there any more."
    job = index.jobs.get(JobId(found))
    run = None if job is None else index.run(job.coordinator_run_id)
    return run or "That job is not there any more."


def _has_coordinator(job: JobView, index: Index) -> bool:
    return job.coordinator_run_id in index.runs


def _only(found: Sequence[Found], word: str, what: str) -> Found | str:
    if len(found) == 1:
        return found[0]
    shown = crop(flat(word), 40)
    if not found:
        return f"There is no {what} {shown}: {what}s lists them."
    return f"{shown} could be {count_of(len(found), what)}: {what}s lists them."
