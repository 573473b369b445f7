"""The verbs of identities: the seed's eight."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from perstack.domain.identities import Capability, IdentityStatus, IdentityUpdate
from perstack.domain.identity_views import (
    IdentityAudit,
    IdentityChanged,
    IdentityFound,
    IdentityList,
    identity_audit,
    identity_list,
)
from perstack.domain.ids import IdentityId
from perstack.services.identities import (
    DESCRIPTION_LENGTH,
    MOST_CAPABILITIES,
    MOST_LISTED,
    NAME_LENGTH,
    REASON_LENGTH,
)
from perstack.serving.verbs.verb import MOST_ID, Asked, Call, Verb

Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
Actor = Annotated[str, Field(min_length=1, max_length=MOST_ID)]
Reason = Annotated[str, Field(max_length=REASON_LENGTH)]


class GivenCapability(Asked):
    """Something that an identity can do."""

    name: Name
    """What it is called"""
    version: Annotated[str | None, Field(max_length=NAME_LENGTH)] = None
    """Version of it"""
    enabled: bool = True
    """Whether it may be used"""
    metadata: dict[str, JsonValue] | None = None
    """Optional metadata, at most 64 KiB"""


Capabilities = Annotated[tuple[GivenCapability, ...], Field(max_length=MOST_CAPABILITIES)]


class CreateIdentity(Asked):
    """A new identity."""

    agent_type: Name
    """Type of agent (e.g., coder, researcher)"""
    display_name: Name | None = None
    """Human-readable name for the identity"""
    description: Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH)] = None
    """Description of the identity"""
    capabilities: Capabilities = ()
    """What it can do"""
    metadata: dict[str, JsonValue] | None = None
    """Optional metadata, at most 64 KiB"""
    created_by: Actor | None = None
    """Actor making it; written down with the client that says so"""
    auto_activate: bool = False
    """Automatically activate after creation"""


class FindIdentity(Asked):
    """An identity, by id or by display name; the id counts where both are given."""

    agent_id: Annotated[IdentityId | None, Field(max_length=MOST_ID)] = None
    """Identity UUID"""
    display_name: Annotated[str | None, Field(max_length=NAME_LENGTH)] = None
    """Display name lookup"""


class ListIdentities(Asked):
    """Which identities."""

    status: IdentityStatus | None = None
    """Filter by status"""
    agent_type: Annotated[str | None, Field(max_length=NAME_LENGTH)] = None
    """Filter by type of agent"""
    limit: Annotated[int | None, Field(ge=1, le=MOST_LISTED)] = None
    """Max identities (default: all)"""
    offset: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Identities to skip"""


class WhichIdentity(Asked):
    """An identity."""

    agent_id: Annotated[IdentityId, Field(min_length=1, max_length=MOST_ID)]
    """Identity UUID"""


class UpdateIdentity(WhichIdentity):
    """What to set. Metadata and capabilities are replaced as a whole."""

    display_name: Name | None = None
    """Human-readable name for the identity"""
    description: Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH)] = None
    """Description of the identity"""
    metadata: dict[str, JsonValue] | None = None
    """Optional metadata, at most 64 KiB"""
    capabilities: Capabilities | None = None
    """What it can do"""
    actor_id: Actor | None = None
    """Actor making the change; written down with the client that says so"""


class MoveIdentity(WhichIdentity):
    """A new status."""

    actor_id: Actor | None = None
    """Actor making the change; written down with the client that says so"""


class EndIdentity(MoveIdentity):
    """A new status, and why."""

    reason: Reason | None = None
    """Why"""


class AuditIdentity(WhichIdentity):
    """How far to look back."""

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = 100
    """Max entries"""


async def create(call: Call, asked: CreateIdentity) -> IdentityChanged:
    """Make one."""
    identity = await call.coordination.identities.create(
        asked.agent_type,
        display_name=asked.display_name,
        description=asked.description,
        capabilities=_capabilities(asked.capabilities),
        metadata=asked.metadata,
        created_by=_actor(call, asked.created_by),
        auto_activate=asked.auto_activate,
    )
    return IdentityChanged(identity=identity)


async def get(call: Call, asked: FindIdentity) -> IdentityFound:
    """Return one."""
    found = await call.coordination.identities.get(asked.agent_id, display_name=asked.display_name)
    return IdentityFound(identity=found)


async def list_(call: Call, asked: ListIdentities) -> IdentityList:
    """Return those that fit."""
    found = await call.coordination.identities.list(
        status=asked.status, agent_type=asked.agent_type, limit=asked.limit, offset=asked.offset
    )
    return identity_list(found)


async def update(call: Call, asked: UpdateIdentity) -> IdentityChanged:
    """Set what was given."""
    given = {
        "display_name": asked.display_name,
        "description": asked.description,
        "metadata": asked.metadata,
        "capabilities": None if asked.capabilities is None else _capabilities(asked.capabilities),
    }
    change = IdentityUpdate.model_validate({k: v for k, v in given.items() if v is not None})
    changed = await call.coordination.identities.update(
        asked.agent_id, change, actor_id=_actor(call, asked.actor_id)
    )
    return IdentityChanged(identity=changed)


async def activate(call: Call, asked: MoveIdentity) -> IdentityChanged:
    """Let agents carry it."""
    moved = await call.coordination.identities.activate(
        asked.agent_id, actor_id=_actor(call, asked.actor_id)
    )
    return IdentityChanged(identity=moved)


async def deactivate(call: Call, asked: EndIdentity) -> IdentityChanged:
    """Let it rest."""
    moved = await call.coordination.identities.deactivate(
        asked.agent_id, reason=asked.reason, actor_id=_actor(call, asked.actor_id)
    )
    return IdentityChanged(identity=moved)


async def retire(call: Call, asked: EndIdentity) -> IdentityChanged:
    """End it."""
    moved = await call.coordination.identities.retire(
        asked.agent_id, reason=asked.reason, actor_id=_actor(call, asked.actor_id)
    )
    return IdentityChanged(identity=moved)


async def audit(call: Call, asked: AuditIdentity) -> IdentityAudit:
    """Return what happened to it."""
    entries = await call.coordination.identities.audit(asked.agent_id, limit=asked.limit)
    return identity_audit(asked.agent_id, entries)


def _actor(call: Call, claimed: str | None) -> str:
    """Return who is written down: a claimed name proves nothing, so it is said who claims it."""
    return call.client.name if claimed is None else f"{claimed} (said {call.client.name})"


def _capabilities(given: tuple[GivenCapability, ...]) -> tuple[Capability, ...]:
    return tuple(Capability.model_validate(one.model_dump(by_alias=False)) for one in given)


IDENTITY_VERBS = (
    Verb(
        "identity_create",
        "Create a new persistent agent identity.",
        CreateIdentity,
        IdentityChanged,
        create,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "identity_get",
        "Get an identity by ID or display name.",
        FindIdentity,
        IdentityFound,
        get,
        fails_as="found",
    ),
    Verb(
        "identity_list",
        "List identities with optional filters.",
        ListIdentities,
        IdentityList,
        list_,
        emptied={"count": 0, "identities": []},
    ),
    Verb(
        "identity_update",
        "Update identity metadata (not status).",
        UpdateIdentity,
        IdentityChanged,
        update,
        effect="writes",
        fails_as="success",
        repeatable=True,
    ),
    Verb(
        "identity_activate",
        "Transition identity from created or dormant to active.",
        MoveIdentity,
        IdentityChanged,
        activate,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "identity_deactivate",
        "Transition identity from active to dormant.",
        EndIdentity,
        IdentityChanged,
        deactivate,
        effect="writes",
        fails_as="success",
    ),
    Verb(
        "identity_retire",
        "Permanently retire an identity (terminal state).",
        EndIdentity,
        IdentityChanged,
        retire,
        effect="destroys",
        fails_as="success",
    ),
    Verb(
        "identity_audit",
        "Get the audit trail for an identity, newest first.",
        AuditIdentity,
        IdentityAudit,
        audit,
        fails_as="success",
    ),
)
