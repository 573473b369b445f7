"""Runs of workflows and review loops: what they did, found and came to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from perstack.domain.reviews import ACTIVE, LoopId, Review, ReviewIssue, ReviewLoop
from perstack.domain.workflows import Finding, PhaseResult, WorkflowRun, WorkflowRunId
from perstack_tui.local.records.rows import (
    MOST,
    age,
    clock,
    many,
    moment,
    said,
    selected,
    state,
    stated,
    structure,
    unknown,
    word,
)
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Cell, Column, Field, Row, Verb
from perstack_tui.state.wording import precise_span, span_of_time

_STOP: Final = Verb(
    "abort", "x", "stop", warns="It ends for good within a second; its phases' results are kept."
)
_END: Final = Verb(
    "abort", "x", "stop", warns="It ends for good within a second; the reviews so far are kept."
)
_NOBODY: Final = Cell("", "text")


class WorkflowRuns:
    """Runs of workflows, newest first."""

    empty = (
        "No workflow was run yet.\n"
        "Hooks start them, and programs: team.workflows.run(…), see docs/workflows.md."
    )
    columns = (
        Column("state", 11),
        Column("workflow", 0),
        Column("verdict", 7),
        Column("phase", 14),
        Column("findings", 8, right=True),
        Column("lasted", 6, right=True),
        Column("age", 5, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = await self._own.workflows().list(limit=MOST)
        row = partial(_run_row, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        run = await self._own.workflows().get(WorkflowRunId(record_id))
        report = run.report
        return [
            Field("workflow", run.config.name, "strong"),
            stated(run.status),
            *said("error", run.error, "fail"),
            *([] if report is None else [_verdict(run)]),
            *many("phases", [_phase(result) for result in run.results]),
            *[field for result in run.results for field in _found(result)],
            *moment("begun", run.started_at),
            *moment("ended", run.completed_at),
            *structure("options", run.config.options),
            *said("session", run.session_id),
            *said("id", run.id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        if verb_id != "abort" or record_id is None:
            raise unknown(verb_id)
        run = await self._own.workflows().abort(WorkflowRunId(record_id))
        return f"{run.config.name} is {run.status}"


def _run_row(run: WorkflowRun, *, now_ms: int) -> Row:
    report, last = run.report, run.results[-1] if run.results else None
    verdict = _NOBODY
    if report is not None:
        verdict = Cell(report.verdict, "done" if report.verdict == "PASS" else "fail")
    findings = sum(len(result.findings) for result in run.results)
    return Row(
        run.id,
        (
            state(run.status),
            word(run.config.name, "strong"),
            verdict,
            word(last.phase if last else "", "muted"),
            word(str(findings or "")),
            word(span_of_time((run.completed_at or now_ms) - run.started_at)),
            age(run.started_at, now_ms),
        ),
        (_STOP,) if run.status == "running" else (),
    )


def _verdict(run: WorkflowRun) -> Field:
    report = run.report
    if report is None:
        return Field("verdict", "none yet", "muted")
    text = f"{report.verdict} by the {report.verdict_by}, confidence {report.confidence}"
    return Field("verdict", text, "done" if report.verdict == "PASS" else "fail")


def _phase(result: PhaseResult) -> str:
    glyph = "○" if result.skipped else "✓" if result.success else "✗"
    round_ = f", iteration {result.iteration}" if result.iteration else ""
    found = f", {len(result.findings)} found" if result.findings else ""
    return f"{glyph} {result.phase}{round_}: {precise_span(result.duration)}{found}"


def _found(result: PhaseResult) -> list[Field]:
    return many(f"found by {result.phase}", [_finding(one) for one in result.findings])


def _finding(one: Finding) -> str:
    where = f" ({one.file}{f':{one.line}' if one.line else ''})" if one.file else ""
    return f"{one.severity}: {one.claim} — {one.contradiction}{where}"


# --- review loops ---------------------------------------------------------------------------


class Reviews:
    """Review loops, newest first, those that have ended included."""

    empty = (
        "No review loop was begun yet.\n"
        "A program begins one: team.reviews.start(…), see docs/review-loops.md."
    )
    columns = (
        Column("state", 24),
        Column("what", 0),
        Column("round", 5, right=True),
        Column("grave", 5, right=True),
        Column("lasted", 6, right=True),
        Column("age", 5, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = await self._own.stores.ask(lambda stores: stores.reviews.list(limit=MOST))
        row = partial(_loop_row, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        at = LoopId(record_id)
        loop = await self._own.stores.ask(lambda stores: stores.reviews.get(at))
        return [
            stated(loop.status),
            *said("verdict", loop.final_verdict),
            *said("error", loop.error, "fail"),
            Field("round", f"{loop.iteration} of at most {loop.max_iterations}"),
            *[field for review in loop.reviews for field in _review(review)],
            *said("asked for", loop.code_input),
            *said("code now", loop.current_code),
            *said("coder", loop.coder),
            *said("reviewer", loop.adversarial),
            *said("model", loop.model),
            *moment("begun", loop.started_at),
            *moment("ended", loop.completed_at),
            *said("job", loop.coder_job_id),
            *said("session", loop.session_id),
            *said("id", loop.id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        if verb_id != "abort" or record_id is None:
            raise unknown(verb_id)
        loops = await self._own.reviews()
        loop = await loops.abort(LoopId(record_id))
        return f"the review loop is {loop.status}"


def _loop_row(loop: ReviewLoop, *, now_ms: int) -> Row:
    grave = [
        issue
        for review in loop.reviews[-1:]
        for issue in review.issues
        if issue.severity in ("CRITICAL", "HIGH")
    ]
    return Row(
        loop.id,
        (
            state(loop.status),
            word(loop.code_input),
            word(f"{loop.iteration}/{loop.max_iterations}"),
            word(str(len(grave) or ""), "fail"),
            word(span_of_time((loop.completed_at or now_ms) - loop.started_at)),
            age(loop.started_at, now_ms),
        ),
        (_END,) if loop.status in ACTIVE else (),
    )


def _review(review: Review) -> list[Field]:
    lines = [f"{review.verdict}  {clock(review.timestamp)}  {review.summary}"]
    lines += [_issue(issue) for issue in review.issues]
    return many(f"round {review.iteration}", lines)


def _issue(issue: ReviewIssue) -> str:
    where = f" ({issue.location})" if issue.location else ""
    return f"{issue.severity}: {issue.title}{where} — {issue.required_fix}"
