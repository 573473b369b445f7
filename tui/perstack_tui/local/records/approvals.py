"""What was approved for the rest of a job."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from perstack.domain.ids import StandingId
from perstack.domain.standing import StandingApproval
from perstack.errors import NotFoundError
from perstack.services.whoami import whoami
from perstack.wiring import standing_over
from perstack_tui.local.records.rows import (
    age,
    moment,
    said,
    selected,
    state,
    stated,
    unknown,
    word,
)
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Column, Field, Row, Verb

_REVOKE: Final = Verb(
    "revoke", "x", "take back", warns="Such calls wait for a decision again, from the next one on."
)


class Approvals:
    """Exact tool calls that need no decision any more in their job, newest first."""

    empty = (
        "Nothing was approved for the rest of a job.\n"
        "In the review of a tool's call that can be said; never for what is of high risk."
    )
    columns = (
        Column("state", 9),
        Column("tool", 18),
        Column("arguments", 0),
        Column("job", 10),
        Column("by", 12),
        Column("age", 5, right=True),
    )
    verbs: tuple[Verb, ...] = ()

    def __init__(self, services: Services) -> None:
        self._own = services
        self._service = standing_over(services.tables)

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = await self._service.list_standing()
        row = partial(_row, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        for one in await self._service.list_standing():
            if one.id == record_id:
                return _fields(one)
        raise NotFoundError("the approval is gone")

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        if verb_id != "revoke" or record_id is None:
            raise unknown(verb_id)
        done = await self._service.revoke_standing(
            StandingId(record_id), by=whoami(), allow_self=True
        )
        return f"taken back: {done.tool_name} waits again"


def _word(one: StandingApproval) -> str:
    return "revoked" if one.is_revoked else "stands"


def _row(one: StandingApproval, *, now_ms: int) -> Row:
    return Row(
        one.id,
        (
            state(_word(one)),
            word(one.tool_name, "strong"),
            word(one.arguments),
            word(one.job_id[:10], "muted"),
            word(one.approved_by),
            age(one.approved_at, now_ms),
        ),
        () if one.is_revoked else (_REVOKE,),
    )


def _fields(one: StandingApproval) -> list[Field]:
    return [
        stated(_word(one)),
        *said("tool", one.tool_name),
        *said("skill", one.skill_name),
        *said("arguments", one.arguments),
        *said("approved by", one.approved_by),
        *moment("approved", one.approved_at),
        *said("taken back by", one.revoked_by),
        *moment("taken back", one.revoked_at),
        *said("job", one.job_id),
        *said("checkpoint", one.consensus_id),
        *said("id", one.id),
    ]
