"""/api/v1/identities."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field, JsonValue

from perstack.domain.identities import (
    Capability,
    Identity,
    IdentityStatus,
    IdentityUpdate,
)
from perstack.domain.identity_views import (
    IdentityAudit,
    IdentityList,
    identity_audit,
    identity_list,
)
from perstack.serving.rest.context import Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import (
    ID_LENGTH,
    REASON_LENGTH,
    Body,
    IdentityPath,
    Limit,
    Offset,
    Yes,
)

router = APIRouter(prefix="/identities", tags=["identities"])
READS = Depends(needs("identities", "read"))
Writer = Annotated[Principal, Depends(needs("identities", "write"))]
Name = Annotated[str | None, Field(min_length=1, max_length=100)]
Description = Annotated[str | None, Field(max_length=1_000)]
Actor = Annotated[str | None, Field(min_length=1, max_length=ID_LENGTH)]
Reason = Annotated[str | None, Field(max_length=REASON_LENGTH)]
ActorQuery = Annotated[str | None, Query(alias="actorId", min_length=1, max_length=ID_LENGTH)]
NamePath = Annotated[str, Path(alias="name", min_length=1, max_length=100)]


class CapabilityBody(Body):
    """Something that an identity can do."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[str | None, Field(max_length=100)] = None
    enabled: Yes
    metadata: dict[str, JsonValue] | None = None


class CreateBody(Body):
    """An identity that is to be."""

    agent_type: Annotated[str, Field(min_length=1, max_length=100)]
    """Free text"""
    display_name: Name = None
    description: Description = None
    capabilities: Annotated[list[CapabilityBody], Field(max_length=1_000)] = []  # noqa: RUF012
    metadata: dict[str, JsonValue] | None = None
    created_by: Actor = None
    """Counts only where nobody is signed in"""
    auto_activate: Yes = False


class UpdateBody(Body):
    """What to set; what is not given keeps its value, what is null is cleared."""

    display_name: Name = None
    description: Description = None
    metadata: dict[str, JsonValue] | None = None
    capabilities: Annotated[list[CapabilityBody], Field(max_length=1_000)] = []  # noqa: RUF012


class ActivateBody(Body):
    """Who lets agents carry an identity."""

    actor_id: Actor = None
    """Counts only where nobody is signed in"""


class RestBody(ActivateBody):
    """Who lets an identity rest or ends it, and why."""

    reason: Reason = None


def _actor(principal: Principal, claimed: str | None) -> str:
    """Return who does it: what a request claims counts only where nobody is asked who they are."""
    return claimed or principal.name if principal.user_id is None else principal.name


@router.post("", status_code=201)
async def create(services: Services, principal: Writer, body: CreateBody) -> Envelope[Identity]:
    """Make an identity."""
    made = await services.coordination.identities.create(
        body.agent_type,
        display_name=body.display_name,
        description=body.description,
        capabilities=_capabilities(body.capabilities),
        metadata=body.metadata,
        created_by=_actor(principal, body.created_by),
        auto_activate=body.auto_activate,
    )
    return ok(made)


@router.get("", dependencies=[READS])
async def list_identities(
    services: Services,
    status: Annotated[IdentityStatus | None, Query()] = None,
    agent_type: Annotated[
        str | None, Query(alias="agentType", min_length=1, max_length=100)
    ] = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Envelope[IdentityList]:
    """List identities, the last active first."""
    found = await services.coordination.identities.list(
        status=status, agent_type=agent_type, limit=limit, offset=offset
    )
    return ok(identity_list(found))


@router.get("/name/{name}", dependencies=[READS])
async def get_by_name(services: Services, display_name: NamePath) -> Envelope[Identity]:
    """Return the identity of exactly that display name."""
    return ok(await services.coordination.identities.get(display_name=display_name))


@router.get("/{id}", dependencies=[READS])
async def get_identity(services: Services, identity_id: IdentityPath) -> Envelope[Identity]:
    """Return an identity."""
    return ok(await services.coordination.identities.get(identity_id))


@router.patch("/{id}")
async def update(
    services: Services,
    principal: Writer,
    identity_id: IdentityPath,
    body: UpdateBody,
    actor_id: ActorQuery = None,
) -> Envelope[Identity]:
    """Change an identity; metadata and capabilities are replaced as a whole."""
    given: dict[str, object] = {name: getattr(body, name) for name in body.model_fields_set}
    if "capabilities" in given:
        given["capabilities"] = _capabilities(body.capabilities)
    change = IdentityUpdate.model_validate(given)
    actor = _actor(principal, actor_id)
    return ok(await services.coordination.identities.update(identity_id, change, actor_id=actor))


@router.post("/{id}/activate")
async def activate(
    services: Services,
    principal: Writer,
    identity_id: IdentityPath,
    body: ActivateBody | None = None,
) -> Envelope[Identity]:
    """Let agents carry an identity."""
    actor = _actor(principal, body.actor_id if body else None)
    return ok(await services.coordination.identities.activate(identity_id, actor_id=actor))


@router.post("/{id}/deactivate")
async def deactivate(
    services: Services, principal: Writer, identity_id: IdentityPath, body: RestBody | None = None
) -> Envelope[Identity]:
    """Let an identity rest until it is activated again."""
    told = body or RestBody()
    actor = _actor(principal, told.actor_id)
    identities = services.coordination.identities
    return ok(await identities.deactivate(identity_id, reason=told.reason, actor_id=actor))


@router.post("/{id}/retire")
async def retire(
    services: Services, principal: Writer, identity_id: IdentityPath, body: RestBody | None = None
) -> Envelope[Identity]:
    """End an identity for good."""
    told = body or RestBody()
    actor = _actor(principal, told.actor_id)
    identities = services.coordination.identities
    return ok(await identities.retire(identity_id, reason=told.reason, actor_id=actor))


@router.get("/{id}/audit", dependencies=[READS])
async def audit(
    services: Services, identity_id: IdentityPath, limit: Limit = 100
) -> Envelope[IdentityAudit]:
    """Return what happened to an identity, newest first."""
    found = await services.coordination.identities.audit(identity_id, limit=limit)
    return ok(identity_audit(identity_id, found))


def _capabilities(given: list[CapabilityBody]) -> tuple[Capability, ...]:
    return tuple(Capability.model_validate(dict(one)) for one in given)
