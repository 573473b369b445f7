"""Identities: the verbs by which people make, change and retire them, and look back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from pydantic import JsonValue

from perstack.domain.agent_views import IdentityHistory
from perstack.domain.agents import AgentStatus
from perstack.domain.identities import (
    Capability,
    Identity,
    IdentityAuditEntry,
    IdentityStatus,
    IdentityUpdate,
)
from perstack.domain.ids import IdentityId
from perstack.errors import NotFoundError, UsageError
from perstack.ports.agents import AgentFilter
from perstack.ports.identities import Deed
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bounds import check_metadata, check_number, check_text, check_word
from perstack.services.handle import Handle

NAME_LENGTH: Final = 100
DESCRIPTION_LENGTH: Final = 1_000
MOST_LISTED: Final = 1_000
MOST_CAPABILITIES: Final = 100
REASON_LENGTH: Final = 1_000
ACTOR_LENGTH: Final = 1_000

_STATUSES: Final[tuple[IdentityStatus, ...]] = get_args(IdentityStatus)
_AGENT_STATUSES: Final[tuple[AgentStatus, ...]] = get_args(AgentStatus)


class IdentityService:
    """Makes identities and moves them through their lives. `ids` gives UUIDs."""

    def __init__(self, stores: Handle[Stores], *, clock: Clock, ids: Ids) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids

    async def create(
        self,
        agent_type: str,
        *,
        display_name: str | None = None,
        description: str | None = None,
        capabilities: Sequence[Capability] = (),
        metadata: Mapping[str, JsonValue] | None = None,
        created_by: str | None = None,
        auto_activate: bool = False,
    ) -> Identity:
        """Make an identity; `agent_type` is free text.

        Raises:
            UsageError: a text is too long or empty, or there are more than 100 capabilities or
                64 KiB of metadata.
            ConflictError: an identity that is not retired has the display name.
        """
        check_text(agent_type, "agentType", shortest=1, longest=NAME_LENGTH)
        check_text(created_by or "", "createdBy", longest=ACTOR_LENGTH)
        _check_texts(display_name, description)
        _check_details(capabilities, metadata)
        now = self._clock.now_ms()
        identity = Identity(
            agent_id=IdentityId(self._ids.new()),
            agent_type=agent_type,
            status="active" if auto_activate else "created",
            capabilities=tuple(capabilities),
            display_name=display_name,
            description=description,
            metadata=None if metadata is None else dict(metadata),
            created_at=now,
            last_active_at=now,
            created_by=created_by,
            updated_at=now,
        )
        await self._stores.ask(lambda s: s.identities.create(identity, actor_id=created_by))
        return identity

    async def get(
        self, identity_id: IdentityId | None = None, *, display_name: str | None = None
    ) -> Identity:
        """Return an identity by its id or else by its exact display name.

        Of several with that name it is the one that is not retired, or the one retired last.

        Raises:
            UsageError: neither was given.
            NotFoundError: `Identity not found`.
        """
        if identity_id:
            found = await self._stores.ask(lambda s: s.identities.find(identity_id))
        elif display_name:
            found = await self._stores.ask(
                lambda s: s.identities.find_by_display_name(display_name)
            )
        else:
            raise UsageError("Either agentId or displayName is required")
        if found is None:
            raise _not_found()
        return found

    async def list(
        self,
        *,
        status: str | None = None,
        agent_type: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Sequence[Identity]:
        """Return identities, the last active first; all of them unless `limit` (1-1000) is given.

        Raises:
            UsageError: there is no such status, or a number is out of bounds.
        """
        wanted = None if status is None else check_word(status, "status", _STATUSES)
        if limit is not None:
            check_number(limit, "limit", least=1, most=MOST_LISTED)
        check_number(offset, "offset", least=0, most=2**53)
        return await self._stores.ask(
            lambda s: s.identities.list(
                status=wanted, agent_type=agent_type, limit=limit, offset=offset
            )
        )

    async def update(
        self, identity_id: IdentityId, change: IdentityUpdate, *, actor_id: str | None = None
    ) -> Identity:
        """Set what `change` gives; metadata and capabilities are replaced as a whole.

        What changes nothing makes no new version.

        Raises:
            UsageError: as `create`.
            NotFoundError: `Identity not found`.
            ConflictError: it is retired, or another has the display name.
        """
        _check_texts(change.display_name, change.description)
        _check_details(change.capabilities, change.metadata)
        deed = self._deed(actor_id)
        try:
            return await self._stores.ask(lambda s: s.identities.update(identity_id, change, deed))
        except NotFoundError:
            raise _not_found() from None

    async def activate(self, identity_id: IdentityId, *, actor_id: str | None = None) -> Identity:
        """Let agents carry it.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is active already, or retired.
        """
        return await self._move(identity_id, "active", self._deed(actor_id))

    async def deactivate(
        self, identity_id: IdentityId, *, reason: str | None = None, actor_id: str | None = None
    ) -> Identity:
        """Let it rest until it is activated again.

        Raises:
            UsageError: the reason is longer than 1,000 characters.
            NotFoundError: there is none.
            ConflictError: it is not active.
        """
        return await self._move(identity_id, "dormant", self._deed(actor_id, reason))

    async def retire(
        self, identity_id: IdentityId, *, reason: str | None = None, actor_id: str | None = None
    ) -> Identity:
        """End it for good.

        Raises:
            UsageError: the reason is longer than 1,000 characters.
            NotFoundError: there is none.
            ConflictError: `Identity is already retired`.
        """
        return await self._move(identity_id, "retired", self._deed(actor_id, reason))

    async def record_spawn(
        self, identity_id: IdentityId, spawn_id: str, *, actor_id: str | None = None
    ) -> Identity:
        """Note that something that `spawn_id` names carries it.

        Raises:
            NotFoundError: there is none.
            ConflictError: it is retired.
        """
        deed = self._deed(actor_id)
        return await self._stores.ask(
            lambda s: s.identities.record_spawn(identity_id, spawn_id, deed)
        )

    async def touch(self, identity_id: IdentityId) -> bool:
        """Note that it was active now; False if there is none or it is retired."""
        now = self._clock.now_ms()
        return await self._stores.ask(lambda s: s.identities.touch(identity_id, now_ms=now))

    async def audit(
        self, identity_id: IdentityId, *, limit: int = 100
    ) -> Sequence[IdentityAuditEntry]:
        """Return what happened to it, newest first, at most `limit` (1-1000) entries.

        Raises:
            UsageError: the limit is out of bounds.
            NotFoundError: `Identity not found`.
        """
        check_number(limit, "limit", least=1, most=MOST_LISTED)
        await self.get(identity_id)
        return await self._stores.ask(lambda s: s.identities.audit(identity_id, limit=limit))

    async def history(self, identity_id: IdentityId, *, limit: int = 1_000) -> IdentityHistory:
        """Return the first `limit` agents that carried it, stopped ones included, and their jobs.

        Raises:
            NotFoundError: `Identity not found`.
        """
        identity = await self.get(identity_id)
        wanted = AgentFilter(identity_id=identity_id, statuses=_AGENT_STATUSES)
        agents = await self._stores.ask(lambda s: s.agents.list(wanted, limit=limit))
        jobs = dict.fromkeys(agent.job_id for agent in agents if agent.job_id is not None)
        return IdentityHistory(identity=identity, agents=tuple(agents), job_ids=tuple(jobs))

    async def _move(self, identity_id: IdentityId, to: IdentityStatus, deed: Deed) -> Identity:
        return await self._stores.ask(lambda s: s.identities.move(identity_id, to, deed))

    def _deed(self, actor_id: str | None, reason: str | None = None) -> Deed:
        check_text(actor_id or "", "actorId", longest=ACTOR_LENGTH)
        if reason is not None:
            check_text(reason, "reason", longest=REASON_LENGTH)
        return Deed(at=self._clock.now_ms(), actor_id=actor_id, reason=reason)


def _check_texts(display_name: str | None, description: str | None) -> None:
    if display_name is not None:
        check_text(display_name, "displayName", shortest=1, longest=NAME_LENGTH)
    if description is not None:
        check_text(description, "description", longest=DESCRIPTION_LENGTH)


def _check_details(
    capabilities: Sequence[Capability], metadata: Mapping[str, JsonValue] | None
) -> None:
    if len(capabilities) > MOST_CAPABILITIES:
        raise UsageError(f"there may be at most {MOST_CAPABILITIES} capabilities")
    check_metadata(metadata)
    for one in capabilities:
        check_text(one.name, "the name of a capability", shortest=1, longest=NAME_LENGTH)
        check_metadata(one.metadata, "the metadata of a capability")


def _not_found() -> NotFoundError:
    return NotFoundError("Identity not found")
