"""What the shared tables hold."""

from __future__ import annotations

from collections.abc import Sequence

from perstack.errors import ConflictError
from perstack_tui.ports.records import Field, Page, RecordKind


class LocalRecords:
    """Implements `ports.records.Records`."""

    async def version(self) -> str:
        """Return what changes whenever any record does; cheap."""
        raise unmade("version")

    async def page(
        self, kind: RecordKind, *, needle: str = "", limit: int = 200, offset: int = 0
    ) -> Page:
        """Return records that match `needle`."""
        raise unmade("page")

    async def details(self, kind: RecordKind, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        raise unmade("details")

    async def act(
        self, kind: RecordKind, record_id: str | None, verb_id: str, text: str | None = None
    ) -> str:
        """Do a verb, to the kind itself where there is no id; return what to tell the user."""
        raise unmade("act")


def unmade(what: str) -> ConflictError:
    """Return that something is not made yet."""
    return ConflictError(f"{what} is not made yet")
