"""Identities as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.identities import Capability, Identity, IdentityAuditEntry
from perstack.projection.cutting import one_line
from perstack.projection.log_header import moment
from perstack.projection.table_text import field, in_columns

NO_IDENTITIES: Final = "No identities."
_REASON_CHARACTERS: Final = 60
_HEAD: Final = ("ID", "TYPE", "NAME", "STATUS", "VERSION", "LAST ACTIVE")
_AUDIT_HEAD: Final = ("TIME", "ACTION", "STATUS", "BY", "REASON")


def identity_rows(identities: Sequence[Identity]) -> Iterator[str]:
    """Yield a heading and a line an identity; a sentence where there are none."""
    if not identities:
        yield NO_IDENTITIES
        return
    yield from in_columns([_HEAD, *map(_row, identities)])


def identity_lines(identity: Identity) -> Iterator[str]:
    """Yield what an identity is; what it lacks is left out."""
    yield field("ID", identity.agent_id)
    yield field("Type", identity.agent_type)
    yield field("Name", identity.display_name or "-")
    yield field("Status", identity.status)
    yield field("Version", str(identity.version))
    if identity.description:
        yield field("Description", identity.description)
    if identity.capabilities:
        yield field("Capabilities", ", ".join(map(_capability, identity.capabilities)))
    if identity.metadata:
        yield field("Metadata", json.dumps(identity.metadata, ensure_ascii=False))
    yield field("Created", _by(moment(identity.created_at), identity.created_by))
    yield field("Last active", moment(identity.last_active_at))
    if identity.retired_at is not None:
        why = f": {identity.retirement_reason}" if identity.retirement_reason else ""
        yield field("Retired", moment(identity.retired_at) + why)


def audit_rows(entries: Sequence[IdentityAuditEntry]) -> Iterator[str]:
    """Yield a heading and a line for each thing that happened."""
    yield from in_columns([_AUDIT_HEAD, *map(_audit_row, entries)])


def _row(identity: Identity) -> tuple[str, ...]:
    return (
        identity.agent_id,
        identity.agent_type,
        identity.display_name or "-",
        identity.status,
        str(identity.version),
        moment(identity.last_active_at),
    )


def _audit_row(entry: IdentityAuditEntry) -> tuple[str, ...]:
    before, after = entry.previous_status, entry.new_status
    status = f"{before} -> {after}" if before and after else after or before or "-"
    why = one_line(entry.reason, _REASON_CHARACTERS) if entry.reason else "-"
    return moment(entry.timestamp), entry.action, status, entry.actor_id or "-", why


def _capability(one: Capability) -> str:
    version = f" {one.version}" if one.version else ""
    return f"{one.name}{version}{'' if one.enabled else ' (off)'}"


def _by(text: str, who: str | None) -> str:
    return f"{text} by {who}" if who else text
