"""How many entries there are, counted again only after something was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import sqlalchemy as sa

from perstack.domain.memory import NamespaceCount, Scope
from perstack.storage.database.memory import reading
from perstack.storage.database.memory.tables import CLOCK

T = TypeVar("T")

MOST: Final = 64
_NOW: Final = sa.select(CLOCK.c.revision)


class Counted:
    """Counts that pass every entry of a scope, kept as long as the table's revision is the same.

    Every write of any process raises the revision within its transaction. At most `MOST` counts
    are kept. For the handle's one thread.
    """

    def __init__(self) -> None:
        self._revision = -1
        self._totals: dict[Scope, int] = {}
        self._namespaces: dict[Scope, Sequence[NamespaceCount]] = {}

    def total(self, connection: sa.Connection, scope: Scope) -> int:
        """Return how many entries are in `scope`."""
        self._look(connection)
        return _kept(self._totals, scope, lambda: reading.total(connection, scope))

    def namespaces(self, connection: sa.Connection, scope: Scope) -> Sequence[NamespaceCount]:
        """Return the namespaces in `scope` by name."""
        self._look(connection)
        return _kept(self._namespaces, scope, lambda: reading.namespaces(connection, scope))

    def _look(self, connection: sa.Connection) -> None:
        revision = int(connection.execute(_NOW).scalar_one())
        if revision != self._revision:
            self._totals.clear()
            self._namespaces.clear()
            self._revision = revision


def _kept(known: dict[Scope, T], scope: Scope, count: Callable[[], T]) -> T:
    if scope not in known:
        if len(known) >= MOST:
            known.clear()
        known[scope] = count()
    return known[scope]
