"""Why a registry refuses, in the words that clients are told.

Statuses are those of Perstack's registry API: 400 for what its rules forbid, 401 for keys, 404,
and 422 for what has not the shape that is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from perstack.config.report import printable
from perstack.domain.registry import LATEST, RegistryKey, Status
from perstack.errors import RegistryMissingError, RegistryRefusedError

_SHOWN = 80
_LISTED = 5


def refused(reason: str, *, status: int = 400) -> RegistryRefusedError:
    """Return the error for a refusal."""
    return RegistryRefusedError(reason, status=status, reason=reason)


def unfit(what: str) -> RegistryRefusedError:
    """Return the error for what has not the shape that is taken."""
    return refused(what, status=422)


def not_admitted(why: str) -> RegistryRefusedError:
    """Return the error for a key that is missing, not believed, or not for this."""
    return refused(why, status=401)


def not_found(key: RegistryKey) -> RegistryMissingError:
    """Return the error for what is not there."""
    reason = f"{key} is not found"
    return RegistryMissingError(reason, status=404, reason=reason)


def not_owned(name: str) -> RegistryRefusedError:
    """Return the error for what belongs to others."""
    return refused(f"not owned: {name} belongs to another organisation")


def name_taken(name: str) -> RegistryRefusedError:
    """Return the error for a name that is somebody's."""
    return refused(f"the name {name} is already taken")


def must_be_scoped(name: str, organisation: str) -> RegistryRefusedError:
    """Return the error for a name without the organisation's before it."""
    return refused(f"the name must be scoped: @{organisation}/{name}")


def must_not_be_scoped(base: str) -> RegistryRefusedError:
    """Return the error for a scope where the organisation has no name."""
    return refused(f"the name must not be scoped, your organisation has no name: {base}")


def already_published(key: str) -> RegistryRefusedError:
    """Return the error for a version that is there: it never changes."""
    return refused(f"{key} is already published, and a version never changes")


def was_other(key: str) -> RegistryRefusedError:
    """Return the error for a version that was there with other content."""
    return refused(f"{key} was already published with other content, and then unpublished")


def too_many_versions(name: str, most: int) -> RegistryRefusedError:
    """Return the error for one version more than there may be."""
    return refused(f"{name} has {most:,} versions already, more are not taken")


def base_required() -> RegistryRefusedError:
    """Return the error for an Expert without the base skill."""
    return refused("the skill @perstack/base is required")


def delegate_not_found(delegate: str) -> RegistryRefusedError:
    """Return the error for a delegate that nobody could resolve."""
    return refused(f"the delegate {printable(delegate, longest=_SHOWN)} is not found")


def still_delegated(key: str, by: Sequence[str]) -> RegistryRefusedError:
    """Return the error for what others need."""
    more = f" and {len(by) - _LISTED} more" if len(by) > _LISTED else ""
    return refused(f"{key} is still delegated to by {', '.join(by[:_LISTED])}{more}")


def same_status(key: str, status: Status) -> RegistryRefusedError:
    """Return the error for a change that is none."""
    return refused(f"same status: {key} is already {status}")


def is_disabled(key: str) -> RegistryRefusedError:
    """Return the error for a change of what was disabled."""
    return refused(f"{key} is disabled, and what is disabled is immutable")


def cannot_go_back(key: str) -> RegistryRefusedError:
    """Return the error for a status that was left behind."""
    return refused(f"{key} is deprecated and cannot go back to available")


def latest_by_hand() -> RegistryRefusedError:
    """Return the error for the tag that nobody moves."""
    return refused(
        f"the tag {LATEST} cannot be set or removed by hand: it is at the highest version"
    )
