"""Who may do what at a registry that one hosts: organisations and their API keys."""

from __future__ import annotations

from typing import Final, Literal, get_args

from perstack.domain.base import Model
from perstack.domain.moments import Moment

Scope = Literal["read", "publish", "manage"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

KEY_START: Final = "psr_"
PREFIX_LENGTH: Final = 12
MOST_VERSIONS: Final = 2_000
MOST_TAGS: Final = 8


class Organisation(Model):
    """Whom Experts belong to. One with a name publishes under `@name/`, the others without."""

    id: str
    name: str | None = None
    created_at: Moment


class ApiKey(Model):
    """A key of an organisation. The key itself is kept nowhere: `prefix` is how it begins.

    `read` is needed where a registry is private, `publish` for new versions, `manage` for tags,
    status and unpublishing.
    """

    prefix: str
    organisation_id: str
    scopes: tuple[Scope, ...]
    created_at: Moment
    expires_at: Moment | None = None
    revoked_at: Moment | None = None
    last_used_at: Moment | None = None


class Holder(Model):
    """Who asks: the organisation of a key, and what the key is for. `prefix` names the key."""

    organisation: Organisation
    scopes: tuple[Scope, ...]
    prefix: str
