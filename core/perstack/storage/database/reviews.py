"""Review loops in the database: each transition is one conditional update."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Final

import sqlalchemy as sa
from sqlalchemy import RowMapping

from perstack.domain.ids import SessionId
from perstack.domain.reviews import ACTIVE, LoopId, LoopStatus, Review, ReviewLoop
from perstack.errors import ConflictError, CorruptRecordError, NotFoundError
from perstack.ports.reviews import Lease
from perstack.storage.database.driven import DrivenRows
from perstack.storage.database.engine import Database
from perstack.storage.database.text import json_text, safe_text

Row = dict[str, str | int | None]

_METADATA: Final = sa.MetaData()
LOOPS: Final = sa.Table(
    "review_loops",
    _METADATA,
    sa.Column("number", sa.BigInteger),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Text),
    sa.Column("coder", sa.Text),
    sa.Column("adversarial", sa.Text),
    sa.Column("coder_id", sa.Text),
    sa.Column("adversarial_id", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("iteration", sa.Integer),
    sa.Column("max_iterations", sa.Integer),
    sa.Column("code_input", sa.Text),
    sa.Column("current_code", sa.Text),
    sa.Column("coder_job_id", sa.Text),
    sa.Column("final_verdict", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("completed_at", sa.BigInteger),
    sa.Column("driver", sa.Text),
    sa.Column("beat_at", sa.BigInteger),
)
REVIEWS: Final = sa.Table(
    "review_results",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("loop_id", sa.Text),
    sa.Column("review", sa.Text),
)
_DRIVEN: Final = DrivenRows(LOOPS, ACTIVE)
_NOT_OF_THE_LOOP: Final = frozenset({"number", "driver", "beat_at"})


class SqlReviewStore:
    """Implements `ports.reviews.ReviewStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, loop: ReviewLoop) -> None:
        """Write a new loop."""
        await self._database.write(partial(_add, loop=loop))

    async def get(self, loop_id: LoopId) -> ReviewLoop:
        """Return a loop with its reviews."""
        query = sa.select(LOOPS).where(LOOPS.c.id == safe_text(loop_id))
        found = await self._database.read(partial(_all, query=query))
        if not found:
            raise NotFoundError("Review loop not found", hint="list shows those that are active")
        return found[0]

    async def list(
        self,
        *,
        statuses: Sequence[LoopStatus] = (),
        session_id: SessionId | None = None,
        limit: int = 100,
    ) -> Sequence[ReviewLoop]:
        """Return loops, newest first."""
        query = sa.select(LOOPS).order_by(LOOPS.c.number.desc()).limit(limit)
        if statuses:
            query = query.where(LOOPS.c.status.in_(statuses))
        if session_id is not None:
            query = query.where(LOOPS.c.session_id == safe_text(session_id))
        return await self._database.read(partial(_all, query=query))

    async def claim(self, loop_id: LoopId, lease: Lease) -> bool:
        """Take over a loop that nobody living drives."""
        return await self._database.write(partial(_DRIVEN.claim, key=loop_id, lease=lease))

    async def beat(self, loop_id: LoopId, lease: Lease) -> bool:
        """Say that the driver lives."""
        return await self._database.write(partial(_DRIVEN.beat, key=loop_id, lease=lease))

    async def advance(
        self, loop: ReviewLoop, lease: Lease, *, expected: LoopStatus, review: Review | None = None
    ) -> bool:
        """Write the loop as it now stands, if nobody was faster."""
        return await self._database.write(
            partial(_advance, loop=loop, lease=lease, expected=expected, review=review)
        )

    async def abort(self, loop_id: LoopId, *, now_ms: int) -> bool:
        """End a loop that has not ended."""
        return await self._database.write(partial(_DRIVEN.abort, key=loop_id, now_ms=now_ms))

    async def release(self, loop_id: LoopId, lease: Lease) -> None:
        """Forget the driver."""
        await self._database.write(partial(_DRIVEN.release, key=loop_id, lease=lease))


def _add(connection: sa.Connection, *, loop: ReviewLoop) -> None:
    if connection.scalar(sa.select(LOOPS.c.id).where(LOOPS.c.id == safe_text(loop.id))):
        raise ConflictError(f"there is a review loop {loop.id[:40]!a} already")
    connection.execute(LOOPS.insert().values({**_to_row(loop), "beat_at": loop.started_at}))
    for review in loop.reviews:
        _add_review(connection, loop.id, review)


def _advance(
    connection: sa.Connection,
    *,
    loop: ReviewLoop,
    lease: Lease,
    expected: LoopStatus,
    review: Review | None,
) -> bool:
    update = _DRIVEN.held(loop.id, lease).where(LOOPS.c.status == expected)
    changed = _DRIVEN.change(connection, update, {**_to_row(loop), "beat_at": lease.now_ms})
    if changed and review is not None:
        _add_review(connection, loop.id, review)
    return changed


def _add_review(connection: sa.Connection, loop_id: LoopId, review: Review) -> None:
    stored = json_text(review.model_dump(exclude_none=True))
    connection.execute(REVIEWS.insert().values(loop_id=safe_text(loop_id), review=stored))


def _all(
    connection: sa.Connection, *, query: sa.Select[tuple[object, ...]]
) -> Sequence[ReviewLoop]:
    rows = connection.execute(query).mappings().all()
    reviews: defaultdict[str, list[Review]] = defaultdict(list)
    of_loops = sa.select(REVIEWS).where(REVIEWS.c.loop_id.in_([str(row["id"]) for row in rows]))
    for row in connection.execute(of_loops.order_by(REVIEWS.c.number)).mappings():
        reviews[str(row["loop_id"])].append(_to_review(row))
    return [_to_loop(row, reviews[str(row["id"])]) for row in rows]


def _to_row(loop: ReviewLoop) -> Row:
    values = loop.model_dump(by_alias=False, exclude={"reviews"})
    return {
        name: safe_text(value) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _to_loop(row: RowMapping, reviews: Sequence[Review]) -> ReviewLoop:
    values = {str(name): value for name, value in row.items() if str(name) not in _NOT_OF_THE_LOOP}
    try:
        return ReviewLoop.model_validate({**values, "reviews": tuple(reviews)})
    except ValueError as error:
        raise CorruptRecordError(
            f"the stored review loop {str(row['id'])[:40]!a} is damaged"
        ) from error


def _to_review(row: RowMapping) -> Review:
    try:
        return Review.model_validate(json.loads(str(row["review"])))
    except ValueError as error:
        raise CorruptRecordError(
            f"a stored review of the loop {str(row['loop_id'])[:40]!a} is damaged"
        ) from error
