"""Rows that one process at a time drives: claimed, kept by signs of life, released."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from perstack.ports.reviews import Lease
from perstack.storage.database.text import safe_text


class DrivenRows:
    """The rows of a table with the columns `id`, `status`, `driver` and `beat_at`.

    `active` are the statuses of what has not ended. With `reopens`, what has that status is made
    active[0] again by a claim.
    """

    def __init__(
        self, table: sa.Table, active: Sequence[str], *, reopens: str | None = None
    ) -> None:
        self._table = table
        self._active = tuple(active)
        self._reopens = reopens

    def claim(self, connection: sa.Connection, key: str, lease: Lease) -> bool:
        """Take over a row that has not ended and whose driver is gone; say whether."""
        columns = self._table.c
        gone = sa.or_(columns.driver.is_(None), columns.beat_at < lease.lost_before)
        values: dict[str, str | int | None] = {"driver": lease.driver, "beat_at": lease.now_ms}
        statuses = self._active
        if self._reopens is not None:
            statuses = (*statuses, self._reopens)
            values |= {"status": self._active[0], "error": None, "completed_at": None}
        update = self._of(key).where(columns.status.in_(statuses), gone)
        return self.change(connection, update, values)

    def beat(self, connection: sa.Connection, key: str, lease: Lease) -> bool:
        """Write a sign of life; False when the row has ended or is driven by another."""
        return self.change(connection, self.held(key, lease), {"beat_at": lease.now_ms})

    def abort(self, connection: sa.Connection, key: str, *, now_ms: int) -> bool:
        """End a row that has not ended, whoever drives it; say whether."""
        update = self._of(key).where(self._table.c.status.in_(self._active))
        return self.change(connection, update, {"status": "aborted", "completed_at": now_ms})

    def release(self, connection: sa.Connection, key: str, lease: Lease) -> bool:
        """Forget the driver, if it is this one."""
        mine = self._of(key).where(self._table.c.driver == lease.driver)
        return self.change(connection, mine, {"driver": None})

    def held(self, key: str, lease: Lease) -> sa.Update:
        """Return an update of the row, as long as it has not ended and is driven by this driver."""
        columns = self._table.c
        return self._of(key).where(columns.status.in_(self._active), columns.driver == lease.driver)

    @staticmethod
    def change(
        connection: sa.Connection, update: sa.Update, values: dict[str, str | int | None]
    ) -> bool:
        """Run an update; say whether a row met its conditions."""
        return connection.execute(update.values(values)).rowcount == 1

    def _of(self, key: str) -> sa.Update:
        return self._table.update().where(self._table.c.id == safe_text(key))
