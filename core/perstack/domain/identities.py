"""Identities: who an agent is from one spawn to the next, and what may become of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, JsonValue

from perstack.domain.base import Model
from perstack.domain.ids import IdentityId
from perstack.domain.moments import Moment

IdentityStatus = Literal["created", "active", "dormant", "retired"]
IdentityAction = Literal["created", "activated", "deactivated", "retired", "updated", "spawned"]

TRANSITIONS: Final[Mapping[IdentityStatus, tuple[IdentityStatus, ...]]] = {
    "created": ("active", "retired"),
    "active": ("dormant", "retired"),
    "dormant": ("active", "retired"),
    "retired": (),
}
ACTIONS: Final[Mapping[IdentityStatus, IdentityAction]] = {
    "created": "created",
    "active": "activated",
    "dormant": "deactivated",
    "retired": "retired",
}


class Capability(Model):
    """Something that an identity can do."""

    name: str
    version: str | None = None
    enabled: bool
    metadata: dict[str, JsonValue] | None = None


class Identity(Model):
    """An identity. Its id is `agent_id`, as the seed has it. Times in Unix milliseconds.

    `version` counts updates, from 1; a change of status is none. `last_active_at` moves when it is
    activated, spawned or touched.
    """

    agent_id: IdentityId
    agent_type: str
    status: IdentityStatus
    capabilities: tuple[Capability, ...] = ()
    version: int = 1
    display_name: str | None = None
    description: str | None = None
    metadata: dict[str, JsonValue] | None = None
    created_at: Moment
    last_active_at: Moment
    retired_at: Moment | None = None
    retirement_reason: str | None = None
    created_by: str | None = None
    updated_at: Moment


class IdentityAuditEntry(Model):
    """One thing that happened to an identity. `timestamp` in Unix milliseconds."""

    id: str
    action: IdentityAction
    previous_status: IdentityStatus | None = None
    new_status: IdentityStatus | None = None
    reason: str | None = None
    actor_id: str | None = None
    metadata: dict[str, JsonValue] | None = None
    timestamp: Moment


class IdentityUpdate(Model):
    """What to set; a field that is not given keeps its value, one that is None is cleared."""

    display_name: str | None = None
    description: str | None = None
    metadata: dict[str, JsonValue] | None = None
    capabilities: tuple[Capability, ...] = Field(default=())


def allowed_from(status: IdentityStatus) -> str:
    """Return the statuses that may follow `status` as a sentence lists them."""
    return ", ".join(TRANSITIONS[status]) or "none"


def illegal_move(current: IdentityStatus, wanted: IdentityStatus) -> str | None:
    """Return why an identity cannot go from `current` to `wanted`, None if it can."""
    if wanted in TRANSITIONS[current]:
        return None
    if wanted == "retired":
        return "Identity is already retired"
    return (
        f"Invalid status transition: {current} -> {wanted}."
        f" Allowed transitions from {current}: {allowed_from(current)}"
    )


def why_unspawnable(identity: Identity) -> str | None:
    """Return why no agent can carry the identity now, None if one can."""
    if identity.status == "retired":
        return f"Cannot spawn with retired identity: {identity.agent_id}"
    if identity.status != "active":
        return f"Identity must be active to spawn, current status: {identity.status}"
    return None


def updated(
    identity: Identity, change: IdentityUpdate, *, at: int
) -> tuple[Identity, tuple[str, ...]]:
    """Return the identity after `change`, and the camelCase names of what really changed.

    When nothing did, it is the identity as it was, with its version.
    """
    given = {name: getattr(change, name) for name in sorted(change.model_fields_set)}
    changed = {name: value for name, value in given.items() if value != getattr(identity, name)}
    if not changed:
        return identity, ()
    after = identity.model_copy(
        update={**changed, "version": identity.version + 1, "updated_at": at}
    )
    fields = type(identity).model_fields
    return after, tuple(fields[name].alias or name for name in changed)


def moved(identity: Identity, wanted: IdentityStatus, *, reason: str | None, at: int) -> Identity:
    """Return the identity with the status `wanted`, which must be a legal one."""
    change: dict[str, object] = {"status": wanted, "updated_at": at}
    if wanted == "active":
        change["last_active_at"] = at
    if wanted == "retired":
        change |= {"retired_at": at, "retirement_reason": reason}
    return identity.model_copy(update=change)
