"""The verbs of review loops; offered where the settings ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import anyio
from pydantic import Field, JsonValue

from perstack.domain.ids import SessionId
from perstack.domain.review_views import (
    LoopAborted,
    LoopCode,
    LoopIssues,
    LoopList,
    LoopOutcome,
    LoopReport,
    loop_code,
    loop_issues,
    loop_list,
    loop_outcome,
    loop_report,
)
from perstack.domain.reviews import DEFAULT_ITERATIONS, MAX_CODE, MAX_ITERATIONS, LoopId, ReviewLoop
from perstack.errors import ConflictError
from perstack.serving.verbs.verb import Asked, Call, Nothing, Verb

if TYPE_CHECKING:
    from perstack.services.bus import Message

ABORT_WITHIN_S: Final = 5.0
_STEPS_A_ROUND: Final = 2
_HAPPENED: Final = {
    "loop:start": "the coder writes",
    "loop:iteration": "the code is there, and is reviewed",
    "loop:review": "reviewed",
}


class StartLoop(Asked):
    """What is to be written, or reviewed."""

    code: Annotated[str, Field(min_length=1, max_length=MAX_CODE)]
    """Code or task description to review"""
    max_iterations: Annotated[int, Field(ge=1, le=MAX_ITERATIONS)] = DEFAULT_ITERATIONS
    """Maximum review iterations (default: 3, max: 10)"""
    session_id: SessionId | None = None
    """Session ID to associate with"""


class WhichLoop(Asked):
    """A review loop."""

    loop_id: LoopId
    """Review loop ID"""


async def start(call: Call, asked: StartLoop) -> LoopOutcome:
    """Drive a loop to its end; a client that cancels the call aborts it."""
    await call.served.be_able()
    loops = call.coordination.reviews
    loop = await loops.create(
        asked.code, max_iterations=asked.max_iterations, session_id=asked.session_id
    )
    forget = call.coordination.bus.subscribe_all(_Progress(call, loop).hear)
    try:
        return loop_outcome(await loops.resume(loop.id))
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(ABORT_WITHIN_S, shield=True):
            await _end(call, loop.id)
        raise
    finally:
        forget()


async def status(call: Call, asked: WhichLoop) -> LoopReport:
    """Return how one stands."""
    return loop_report(await call.coordination.reviews.get(asked.loop_id))


async def abort(call: Call, asked: WhichLoop) -> LoopAborted:
    """End one, whoever drives it."""
    ended = await call.coordination.reviews.abort(asked.loop_id)
    return LoopAborted(loop_id=ended.id)


async def issues(call: Call, asked: WhichLoop) -> LoopIssues:
    """Return what was found."""
    return loop_issues(await call.coordination.reviews.get(asked.loop_id))


async def list_(call: Call, _: Nothing) -> LoopList:
    """Return those that have not ended."""
    return loop_list(await call.coordination.reviews.list())


async def get_code(call: Call, asked: WhichLoop) -> LoopCode:
    """Return the code as it stands."""
    return loop_code(await call.coordination.reviews.get(asked.loop_id))


class _Progress:
    """Tells the client what happens to its loop. Each round is two steps: code, review.

    Progress must grow with each notification, so nothing is told between the steps.
    """

    def __init__(self, call: Call, loop: ReviewLoop) -> None:
        self._tell = call.progress
        self._sender = f"review-loop:{loop.id}"
        self._loop_id = loop.id
        self._total = loop.max_iterations * _STEPS_A_ROUND
        self._done = 0

    async def hear(self, message: Message) -> None:
        """Take a message off the bus; others' are left alone."""
        if message.sender != self._sender or message.type not in _HAPPENED:
            return
        if message.type != "loop:start":
            self._done += 1
        what = f"review loop {self._loop_id}: {_HAPPENED[message.type]}{_verdict(message.payload)}"
        await self._tell(float(self._done), float(self._total), what)


def _verdict(payload: dict[str, JsonValue]) -> str:
    result = payload.get("result")
    verdict = result.get("verdict") if isinstance(result, dict) else None
    return f": {verdict}" if isinstance(verdict, str) else ""


async def _end(call: Call, loop_id: LoopId) -> None:
    try:
        await call.coordination.reviews.abort(loop_id)
    except ConflictError:
        # It came to its end meanwhile.
        return


REVIEW_LOOP_VERBS = (
    Verb(
        "review_loop_start",
        "Start a new adversarial review loop where a coder agent generates code and an "
        "adversarial agent reviews it iteratively. It answers when the loop has ended.",
        StartLoop,
        LoopOutcome,
        start,
        effect="destroys",
        fails_as="success",
        outside=True,
    ),
    Verb(
        "review_loop_status",
        "Get the current status and details of a review loop.",
        WhichLoop,
        LoopReport,
        status,
        fails_as="found",
    ),
    Verb(
        "review_loop_abort",
        "Stop a running review loop.",
        WhichLoop,
        LoopAborted,
        abort,
        effect="destroys",
        fails_as="success",
    ),
    Verb(
        "review_loop_issues",
        "Get detailed issues from all reviews in a loop.",
        WhichLoop,
        LoopIssues,
        issues,
        fails_as="found",
    ),
    Verb("review_loop_list", "List all active review loops.", Nothing, LoopList, list_),
    Verb(
        "review_loop_get_code",
        "Get the current code from a review loop.",
        WhichLoop,
        LoopCode,
        get_code,
        fails_as="found",
    ),
)
