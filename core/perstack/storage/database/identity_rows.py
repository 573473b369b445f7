"""Identities and their audit trail as rows, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from pydantic import JsonValue, ValidationError

from perstack.domain.identities import (
    ACTIONS,
    Identity,
    IdentityAction,
    IdentityAuditEntry,
    IdentityStatus,
)
from perstack.domain.ids import IdentityId
from perstack.errors import CorruptRecordError
from perstack.ports.identities import Deed
from perstack.storage.database.text import json_text, safe_text

Row = dict[str, str | int | None]

_METADATA: Final = sa.MetaData()
_JSON: Final = ("capabilities", "metadata")

IDENTITIES: Final = sa.Table(
    "identities",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("agent_id", sa.Text),
    sa.Column("agent_type", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("capabilities", sa.Text),
    sa.Column("version", sa.BigInteger),
    sa.Column("display_name", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("created_at", sa.BigInteger),
    sa.Column("last_active_at", sa.BigInteger),
    sa.Column("retired_at", sa.BigInteger),
    sa.Column("retirement_reason", sa.Text),
    sa.Column("created_by", sa.Text),
    sa.Column("updated_at", sa.BigInteger),
)
IDENTITY_AUDIT: Final = sa.Table(
    "identity_audit",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("action", sa.Text),
    sa.Column("previous_status", sa.Text),
    sa.Column("new_status", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("actor_id", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("created_at", sa.BigInteger),
)


def to_row(identity: Identity) -> Row:
    """Return the column values of an identity."""
    values = identity.model_dump(by_alias=False, exclude={*_JSON})
    row: Row = {
        name: safe_text(value) if isinstance(value, str) else value
        for name, value in values.items()
    }
    row["capabilities"] = json_text([one.model_dump() for one in identity.capabilities])
    row["metadata"] = None if identity.metadata is None else json_text(identity.metadata)
    return row


def from_row(row: sa.RowMapping) -> Identity:
    """Return the identity that a row holds.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        values = {str(name): value for name, value in row.items() if name != "number"}
        for name in _JSON:
            values[name] = None if row[name] is None else json.loads(str(row[name]))
        return Identity.model_validate(values)
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError(
            f"the stored identity {str(row['agent_id'])[:40]!a} is damaged"
        ) from error


def to_entry(row: sa.RowMapping) -> IdentityAuditEntry:
    """Return what an audit row says.

    Raises:
        CorruptRecordError: the row holds something else.
    """
    try:
        metadata = None if row["metadata"] is None else json.loads(str(row["metadata"]))
        return IdentityAuditEntry.model_validate(
            {
                "id": row["id"],
                "action": row["action"],
                "previous_status": row["previous_status"],
                "new_status": row["new_status"],
                "reason": row["reason"],
                "actor_id": row["actor_id"],
                "metadata": metadata,
                "timestamp": row["created_at"],
            }
        )
    except (ValueError, ValidationError) as error:
        raise CorruptRecordError("an audit entry of an identity is damaged") from error


def entry(
    entry_id: str,
    identity_id: IdentityId,
    action: IdentityAction,
    deed: Deed,
    *,
    before: IdentityStatus | None = None,
    after: IdentityStatus | None = None,
    metadata: Mapping[str, JsonValue] | None = None,
) -> Row:
    """Return an audit row."""
    return {
        "id": entry_id,
        "agent_id": safe_text(identity_id),
        "action": action,
        "previous_status": before,
        "new_status": after,
        "reason": None if deed.reason is None else safe_text(deed.reason),
        "actor_id": None if deed.actor_id is None else safe_text(deed.actor_id),
        "metadata": None if metadata is None else json_text(dict(metadata)),
        "created_at": deed.at,
    }


def move_entry(entry_id: str, identity: Identity, to: IdentityStatus, deed: Deed) -> Row:
    """Return the audit row of a change of status."""
    return entry(entry_id, identity.agent_id, ACTIONS[to], deed, before=identity.status, after=to)
