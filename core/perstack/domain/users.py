"""Users of a server: people with a role, who sign in with a password."""

from __future__ import annotations

from typing import Final, Literal, NewType

from perstack.domain.base import Model
from perstack.domain.moments import Moment

UserId = NewType("UserId", str)
Role = Literal["admin", "developer", "viewer"]

SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 256
LONGEST_NAME: Final = 64
LONGEST_EMAIL: Final = 254
ACCESS_S: Final = 15 * 60
REFRESH_S: Final = 7 * 24 * 60 * 60


class User(Model):
    """A person that a server knows. The hash of the password is never part of it.

    `epoch` grows whenever all that was signed for the user before is worth nothing any more.
    """

    id: UserId
    email: str
    username: str
    role: Role
    epoch: int = 0
    created_at: Moment
    updated_at: Moment
    last_login_at: Moment | None = None


def mailbox(email: str) -> str:
    """Return an address as it is compared: two that differ in case are one."""
    return email.strip().casefold()
