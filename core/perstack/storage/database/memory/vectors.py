"""Vector search: a matrix in memory that takes in what changed since it was last asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

import anyio
import sqlalchemy as sa
from anyio import to_thread

from perstack.domain.memory import SESSION_PREFIX, MemoryHit, Scope
from perstack.storage.database.engine import Database
from perstack.storage.database.memory import rows
from perstack.storage.database.memory.tables import (
    BYTES_A_NUMBER,
    CLOCK,
    ENTRIES,
    REMOVED,
    VECTORS,
)
from perstack.storage.database.memory.writing import REMOVALS_KEPT
from perstack.storage.database.text import safe_text

if TYPE_CHECKING:
    from perstack.ports.memory import Embedding
    from perstack.storage.database.memory.matrix import Matrix, Row, View

_BATCH: Final = 10_000
_SPARE: Final = 8
_E: Final = ENTRIES.c

Mark = tuple[int, int]
"""Revision and number of the last vector that was read."""


class VectorSearch:
    """Searches the vectors of one embedder at a time; another's are read when it is asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = anyio.Lock()
        self._embedder: str | None = None
        self._matrix: Matrix | None = None
        self._revision: int | None = None
        self._mark: Mark = (0, 0)
        self._complete = False

    async def search(
        self, scope: Scope, query: Embedding, *, limit: int, threshold: float
    ) -> Sequence[MemoryHit]:
        """Return the most similar entries, with their exact cosines."""
        async with self._turn:
            matrix = await self._refreshed(safe_text(query.embedder), len(query.vector))
            look = partial(
                matrix.search, query.vector, _view(scope), limit=limit, threshold=threshold
            )
            candidates = await to_thread.run_sync(look)
        if not candidates:
            return []
        work = partial(
            _hits,
            numbers=candidates,
            scope=scope,
            query=query,
            limit=limit,
            threshold=threshold,
        )
        return await self._database.read(work)

    async def _refreshed(self, embedder: str, dimensions: int) -> Matrix:
        """Return the matrix as the database is now, read in parts so that others get their turn."""
        # NumPy takes a moment to load.
        await to_thread.run_sync(import_module, "perstack.storage.database.memory.matrix")
        from perstack.storage.database.memory.matrix import Matrix

        while True:
            matrix = self._matrix
            if (
                matrix is None
                or (self._embedder, matrix.dimensions) != (embedder, dimensions)
                or matrix.wasted
            ):
                matrix = self._matrix = Matrix(dimensions)
                self._embedder, self._mark = embedder, (0, 0)
                self._revision, self._complete = None, False
            seen = self._revision if self._complete else None
            news = await self._database.read(
                partial(
                    _news, embedder=embedder, seen=seen, removed=self._revision, mark=self._mark
                )
            )
            if news is None:
                return matrix
            if self._revision is not None and news.revision > self._revision + REMOVALS_KEPT:
                # What is gone since is no longer known in full.
                self._matrix = None
                continue
            await to_thread.run_sync(partial(_take_in, matrix, news))
            self._revision, self._complete = news.revision, len(news.added) < _BATCH
            self._mark = news.mark


@dataclass(frozen=True, slots=True)
class _News:
    """What is gone, and what came, up to `mark`."""

    revision: int
    removed: Sequence[int]
    added: Sequence[Row]
    mark: Mark


def _take_in(matrix: Matrix, news: _News) -> None:
    # In this order: what was removed and came again is there.
    matrix.remove(news.removed)
    matrix.add(news.added)


def _news(
    connection: sa.Connection, *, embedder: str, seen: int | None, removed: int | None, mark: Mark
) -> _News | None:
    """Return what is gone after revision `removed` and came after `mark`; None: still at `seen`."""
    from perstack.storage.database.memory.matrix import Row

    revision = int(connection.execute(sa.select(CLOCK.c.revision)).scalar_one())
    if revision == seen:
        return None
    gone = sa.select(REMOVED.c.entry).where(REMOVED.c.revision > (removed or 0))
    after = sa.tuple_(VECTORS.c.revision, VECTORS.c.entry) > sa.tuple_(
        sa.literal(mark[0], sa.BigInteger), sa.literal(mark[1], sa.BigInteger)
    )
    came = (
        sa.select(VECTORS.c.revision, VECTORS.c.entry, VECTORS.c.vector, _E.namespace, _E.agent_id)
        .join(ENTRIES, _E.number == VECTORS.c.entry)
        .where(VECTORS.c.embedder == embedder, after)
        .order_by(VECTORS.c.revision, VECTORS.c.entry)
        .limit(_BATCH)
    )
    found = connection.execute(came).all()
    return _News(
        revision=revision,
        removed=[int(number) for number in connection.scalars(gone)] if removed is not None else [],
        added=[Row(number, stored, space, agent) for _, number, stored, space, agent in found],
        mark=(found[-1][0], found[-1][1]) if found else mark,
    )


def _hits(
    connection: sa.Connection,
    *,
    numbers: Sequence[int],
    scope: Scope,
    query: Embedding,
    limit: int,
    threshold: float,
) -> Sequence[MemoryHit]:
    """Return the best entries among `numbers` that are in `scope`, by their exact cosines."""
    from perstack.storage.database.memory.matrix import unpack

    # The embedder is compared here: as a condition it makes SQLite read all of its vectors.
    stored = sa.select(VECTORS.c.entry, VECTORS.c.embedder, VECTORS.c.vector).where(
        VECTORS.c.entry.in_(numbers)
    )
    embedder = safe_text(query.embedder)
    cosines = {
        int(number): max(0.0, min(1.0, float(unpack(vector) @ query.vector)))
        for number, its, vector in connection.execute(stored)
        if its == embedder and len(vector) == BYTES_A_NUMBER * len(query.vector)
    }
    ranked = sorted(cosines, key=lambda number: (-cosines[number], -number))
    # A few more, since some may just have been moved out of the scope.
    best = [number for number in ranked if cosines[number] >= threshold][: limit + _SPARE]
    entries = rows.by_numbers(connection, best, scope)
    return [
        MemoryHit(
            entry=entries[number],
            score=round(cosines[number], 6),
            match_type="vector",
            similarity=round(cosines[number], 6),
        )
        for number in best
        if number in entries
    ][:limit]


def _view(scope: Scope) -> View:
    from perstack.storage.database.memory.matrix import View

    return View(
        namespace=None if scope.namespace is None else safe_text(scope.namespace),
        closed_prefix=SESSION_PREFIX if scope.isolated else None,
        own=safe_text(scope.own_session),
        agent_id=None if scope.agent_id is None else safe_text(scope.agent_id),
        include_shared=scope.include_shared,
    )
