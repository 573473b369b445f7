"""/api/v1/review-loops: one Expert writes code, another tries to break it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from perstack.domain.ids import SessionId
from perstack.domain.review_views import (
    LoopSummary,
    ReviewReport,
    loop_code,
    loop_issues,
    loop_summary,
)
from perstack.domain.reviews import (
    ACTIVE,
    DEFAULT_ITERATIONS,
    MAX_CODE,
    MAX_ITERATIONS,
    LoopId,
    LoopStatus,
    ReviewLoop,
)
from perstack.serving.backend import Served
from perstack.serving.rest.context import Jobs, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import (
    ID_LENGTH,
    Body,
    Limit,
    SessionQuery,
    Whole,
)

router = APIRouter(prefix="/review-loops", tags=["review-loops"])
READS = Depends(needs("reviews", "read"))
WRITES = Depends(needs("reviews", "write"))

LoopPath = Annotated[LoopId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]


class StartLoop(Body):
    """What is reviewed, or what is to be written and reviewed then."""

    code_input: Annotated[str, Field(min_length=1, max_length=MAX_CODE, pattern=r"\S")]
    """Code, or what code is asked for"""
    max_iterations: Annotated[Whole, Field(ge=1, le=MAX_ITERATIONS)] = DEFAULT_ITERATIONS
    """How many reviews at most"""
    session_id: Annotated[SessionId | None, Field(min_length=1, max_length=ID_LENGTH)] = None
    """The session that it belongs to"""


class LoopDetail(LoopSummary):
    """A loop, with its reviews and the code as it stands."""

    code_input: str
    current_code: str | None
    reviews: tuple[ReviewReport, ...]


@router.get("", dependencies=[READS])
async def list_loops(
    services: Services,
    sessionId: SessionQuery = None,  # noqa: N803
    status: LoopStatus | None = None,
    limit: Limit = 100,
) -> Envelope[tuple[LoopSummary, ...]]:
    """List loops, newest first: those that have not ended, or those of a status."""
    found = await services.coordination.reviews.list(
        statuses=ACTIVE if status is None else (status,), session_id=sessionId, limit=limit
    )
    return ok(tuple(loop_summary(one) for one in found))


@router.post("", dependencies=[WRITES], status_code=202)
async def start_loop(services: Services, jobs: Jobs, body: StartLoop) -> Envelope[LoopSummary]:
    """Start a loop; it goes on in the server, whoever listens."""
    jobs.check_room()
    await services.be_able()
    loop = await services.coordination.reviews.create(
        body.code_input, max_iterations=body.max_iterations, session_id=body.session_id
    )

    _drive(jobs, loop.id)
    return ok(loop_summary(loop))


@router.get("/{id}", dependencies=[READS])
async def get_loop(services: Services, loop_id: LoopPath) -> Envelope[LoopDetail]:
    """Return a loop, with its reviews and the code as it stands."""
    return ok(_detail(await services.coordination.reviews.get(loop_id)))


@router.post("/{id}/resume", dependencies=[WRITES], status_code=202)
async def resume_loop(services: Services, jobs: Jobs, loop_id: LoopPath) -> Envelope[LoopSummary]:
    """Go on with a loop that nobody drives; one that has ended is just told."""
    loop = await services.coordination.reviews.get(loop_id)
    if loop.status in ACTIVE:
        jobs.check_room()
        await services.be_able()
        _drive(jobs, loop_id)
    return ok(loop_summary(loop))


@router.post("/{id}/abort", dependencies=[WRITES])
async def abort_loop(services: Services, loop_id: LoopPath) -> Envelope[LoopSummary]:
    """End a loop, whoever drives it."""
    return ok(loop_summary(await services.coordination.reviews.abort(loop_id)))


def _drive(jobs: Jobs, loop_id: LoopId) -> None:
    """Have the server drive a loop, whoever listens, unless another process does."""

    async def work(served: Served) -> object:
        return await served.coordination.reviews.resume(loop_id)

    jobs.spawn(f"review loop {loop_id}", work)


def _detail(loop: ReviewLoop) -> LoopDetail:
    brief, code = loop_summary(loop), loop_code(loop)
    return LoopDetail(
        **{name: getattr(brief, name) for name in LoopSummary.model_fields},
        code_input=code.original_input,
        current_code=code.current_code,
        reviews=loop_issues(loop).reviews,
    )
