"""What is told of identities, in the seed's shapes: dump them without None values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from perstack.domain.base import Model
from perstack.domain.identities import Identity, IdentityAuditEntry
from perstack.domain.ids import IdentityId


class IdentityChanged(Model):
    """An identity that was made or changed."""

    success: Literal[True] = True
    identity: Identity


class IdentityFound(Model):
    """An identity that was looked for."""

    found: Literal[True] = True
    identity: Identity


class IdentityList(Model):
    """Identities, the last active first."""

    count: int
    identities: tuple[Identity, ...]


class IdentityAudit(Model):
    """What happened to an identity, newest first."""

    agent_id: IdentityId
    count: int
    entries: tuple[IdentityAuditEntry, ...]


def identity_list(identities: Sequence[Identity]) -> IdentityList:
    """Return identities as the seed's `identity_list` answers them."""
    return IdentityList(count=len(identities), identities=tuple(identities))


def identity_audit(agent_id: IdentityId, entries: Sequence[IdentityAuditEntry]) -> IdentityAudit:
    """Return entries as the seed's `identity_audit` answers them."""
    return IdentityAudit(agent_id=agent_id, count=len(entries), entries=tuple(entries))
