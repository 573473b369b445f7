"""What services ask of the table of identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.identities import (
    Identity,
    IdentityAuditEntry,
    IdentityStatus,
    IdentityUpdate,
)
from perstack.domain.ids import IdentityId


@dataclass(frozen=True, slots=True)
class Deed:
    """Who changes an identity, why, and when (Unix ms)."""

    at: int
    actor_id: str | None = None
    reason: str | None = None


class IdentityStore(Protocol):
    """Identities and their audit trail; a change and its entry are one transaction."""

    async def create(self, identity: Identity, *, actor_id: str | None = None) -> None:
        """Write a new identity, created or already active, with its first audit entries.

        Raises:
            ConflictError: an identity that is not retired has its display name.
        """
        ...

    async def find(self, identity_id: IdentityId) -> Identity | None:
        """Return it, or None."""
        ...

    async def find_by_display_name(self, display_name: str) -> Identity | None:
        """Return the identity of exactly that name.

        It is the one that is not retired, or else the one that was retired last.
        """
        ...

    async def list(
        self,
        *,
        status: IdentityStatus | None = None,
        agent_type: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Sequence[Identity]:
        """Return identities, the last active first."""
        ...

    async def update(self, identity_id: IdentityId, change: IdentityUpdate, deed: Deed) -> Identity:
        """Change what is given; what changes nothing writes nothing.

        Raises:
            NotFoundError: no such identity.
            ConflictError: it is retired, or another has the display name.
        """
        ...

    async def move(self, identity_id: IdentityId, to: IdentityStatus, deed: Deed) -> Identity:
        """Change its status, if that is legal now; of several at once one succeeds.

        Raises:
            NotFoundError: no such identity.
            ConflictError: it is not legal.
        """
        ...

    async def release(self, identity_id: IdentityId, deed: Deed) -> bool:
        """Make an active identity dormant if no live agent carries it; say whether it was.

        Live are spawned agents that are not stopped, and runs that are at work.
        """
        ...

    async def record_spawn(self, identity_id: IdentityId, spawn_id: str, deed: Deed) -> Identity:
        """Note that an agent carries it.

        Raises:
            NotFoundError: no such identity.
            ConflictError: it is retired.
        """
        ...

    async def touch(self, identity_id: IdentityId, *, now_ms: int) -> bool:
        """Move `last_active_at`, never backwards; False if there is none or it is retired."""
        ...

    async def audit(
        self, identity_id: IdentityId, *, limit: int = 100
    ) -> Sequence[IdentityAuditEntry]:
        """Return what happened to it, newest first."""
        ...
