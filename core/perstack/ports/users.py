"""What services ask of the table of users, and of whoever hashes passwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from perstack.domain.users import Role, User, UserId


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user, and the hash of the password."""

    user: User
    password_hash: str


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A token that access is renewed with, once. `digest` is its SHA-256; no other form is kept.

    Those that follow from one sign-in are a family. Times are Unix milliseconds.
    """

    digest: str
    user_id: UserId
    family: str
    created_at: int
    expires_at: int


class UserStore(Protocol):
    """Users and their refresh tokens, shared by all processes of a workspace."""

    async def add(self, credentials: Credentials) -> None:
        """Write a new user.

        Raises:
            ConflictError: the address or the name is taken.
        """
        ...

    async def find(self, user_id: UserId) -> User | None:
        """Return the user."""
        ...

    async def credentials(
        self, *, user_id: UserId | None = None, email: str | None = None
    ) -> Credentials | None:
        """Return the user of that id, or else of that address, with the hash of the password."""
        ...

    async def list(self, *, limit: int = 1_000) -> Sequence[User]:
        """Return users, the oldest first."""
        ...

    async def count(self, role: Role | None = None) -> int:
        """Return how many there are, of a role or in all."""
        ...

    async def set_role(self, user_id: UserId, role: Role, *, now_ms: int) -> User:
        """Change the role.

        Raises:
            NotFoundError: no such user.
            ConflictError: it is the last admin.
        """
        ...

    async def set_password(self, user_id: UserId, password_hash: str, *, now_ms: int) -> None:
        """Change the hash, and let nothing that was signed before be worth anything.

        Raises:
            NotFoundError: no such user.
        """
        ...

    async def note_login(self, user_id: UserId, *, now_ms: int) -> None:
        """Write when the user last signed in."""
        ...

    async def delete(self, user_id: UserId) -> None:
        """Remove a user with all tokens.

        Raises:
            NotFoundError: no such user.
            ConflictError: it is the last admin.
        """
        ...

    async def add_token(self, token: RefreshToken, *, epoch: int) -> bool:
        """Write the first token of a family; those long expired are forgotten.

        Returns:
            Whether it was written: not if the user is gone, or no longer of that epoch.
        """
        ...

    async def rotate(
        self, digest: str, *, new_digest: str, now_ms: int, expires_at: int
    ) -> User | None:
        """Take a token for the last time, and write the next one of its family.

        Returns:
            Whose it is, None if it is unknown, expired, revoked, or was taken before. The last is
            a theft of one of the two, so that the whole family is revoked.
        """
        ...

    async def revoke_all(self, user_id: UserId, *, now_ms: int) -> None:
        """Let nothing that was signed for the user be worth anything."""
        ...


class Passwords(Protocol):
    """Hashes passwords, slowly on purpose, in threads and few at once."""

    async def hash(self, password: str) -> str:
        """Return what is stored of it."""
        ...

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Tell whether it is that password; None, of an unknown user, takes as long to deny."""
        ...
