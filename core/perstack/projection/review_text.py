"""Review loops as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue, ValidationError

from perstack.domain.reviews import Review, ReviewIssue, ReviewLoop
from perstack.projection.cutting import one_line
from perstack.projection.inert import inert
from perstack.projection.log_header import moment
from perstack.projection.table_text import between_rules, block, field, in_columns

NO_LOOPS: Final = "No review loops."
NO_REVIEWS: Final = "No reviews yet."
NO_CODE: Final = "No code yet."
_INPUT_CHARACTERS: Final = 40
_HEAD: Final = ("ID", "STATUS", "ITERATION", "STARTED", "INPUT")


def loop_rows(loops: Sequence[ReviewLoop]) -> Iterator[str]:
    """Yield a heading and a line a loop; a sentence where there are none."""
    if not loops:
        yield NO_LOOPS
        return
    yield from in_columns([_HEAD, *map(_row, loops)])


def loop_lines(loop: ReviewLoop) -> Iterator[str]:
    """Yield how a loop stands."""
    yield field("ID", loop.id)
    yield field("Status", loop.status)
    yield field("Iteration", f"{loop.iteration} of {loop.max_iterations}")
    yield field("Experts", f"{loop.coder}, {loop.adversarial}")
    yield field("Started", moment(loop.started_at))
    if loop.completed_at is not None:
        yield field("Ended", moment(loop.completed_at))
    if loop.reviews:
        yield field("Latest", _said(loop.reviews[-1]))
    if loop.final_verdict is not None:
        yield field("Verdict", loop.final_verdict)
    if loop.error is not None:
        yield field("Error", loop.error)


def outcome_lines(loop: ReviewLoop) -> Iterator[str]:
    """Yield what came of a loop: its code between rules, and the verdict."""
    if loop.current_code is not None:
        yield from between_rules(loop.current_code)
    yield from loop_lines(loop)


def code_lines(loop: ReviewLoop) -> Iterator[str]:
    """Yield the coder's latest code, and nothing else."""
    yield from inert(loop.current_code).split("\n") if loop.current_code is not None else [NO_CODE]


def issue_lines(loop: ReviewLoop) -> Iterator[str]:
    """Yield what each review found."""
    if not loop.reviews:
        yield NO_REVIEWS
    for review in loop.reviews:
        yield inert(f"Review {review.iteration}: {_said(review)}", newlines=False)
        for issue in review.issues:
            yield from _issue_lines(issue)


def progress_line(event: str, payload: Mapping[str, JsonValue]) -> str | None:
    """Return what is said of something that happened to a loop, None for what says nothing new."""
    try:
        loop = ReviewLoop.model_validate(payload.get("state"))
    except ValidationError:
        return None
    match event:
        case "loop:start":
            return f"{loop.coder} writes the code."
        case "loop:iteration":
            return f"Review {loop.iteration} of {loop.max_iterations} by {loop.adversarial}."
        case "loop:review" if loop.reviews:
            return f"Review {loop.iteration}: {_said(loop.reviews[-1])}."
        case _:
            return None


def _row(loop: ReviewLoop) -> tuple[str, ...]:
    return (
        loop.id,
        loop.status,
        f"{loop.iteration}/{loop.max_iterations}",
        moment(loop.started_at),
        one_line(loop.code_input, _INPUT_CHARACTERS),
    )


def _said(review: Review) -> str:
    count = len(review.issues)
    return f"{review.verdict}, {count} issue{'' if count == 1 else 's'}"


def _issue_lines(issue: ReviewIssue) -> Iterator[str]:
    place = f" ({issue.location})" if issue.location else ""
    yield inert(f"  [{issue.severity}] {issue.title}{place}", newlines=False)
    for label, text in (("Attack", issue.attack_vector), ("Impact", issue.impact)):
        if text:
            yield from block(f"{label}: {text}")
    yield from block(f"Fix: {issue.required_fix}")
