"""Users of a server: who there is, their passwords, and what renews their access."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perstack.domain.users import (
    LONGEST_EMAIL,
    LONGEST_NAME,
    LONGEST_PASSWORD,
    REFRESH_S,
    SHORTEST_PASSWORD,
    Role,
    User,
    UserId,
    mailbox,
)
from perstack.errors import NotFoundError, NotSignedInError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.ports.users import Credentials, Passwords, RefreshToken
from perstack.services.bounds import check_text
from perstack.services.handle import Handle

_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+")
_TOKEN_BYTES: Final = 32
_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user who proved to be one, and the token that renews the access, told only now."""

    user: User
    refresh_token: str


class UserService:
    """Adds users, checks their passwords, renews and revokes what they are signed in with."""

    def __init__(
        self, stores: Handle[Stores], *, passwords: Passwords, clock: Clock, ids: Ids
    ) -> None:
        self._stores = stores
        self._passwords = passwords
        self._clock = clock
        self._ids = ids

    async def add(
        self, *, email: str, username: str, password: str, role: Role = "developer"
    ) -> User:
        """Add a user.

        Raises:
            UsageError: the address is none; the name or the password is too short or too long.
            ConflictError: the address or the name is taken.
        """
        check_text(username, "username", shortest=1, longest=LONGEST_NAME)
        if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email.strip()):
            raise UsageError("the e-mail address is none", hint="write NAME@HOST")
        _check_password(password)
        now = self._clock.now_ms()
        user = User(
            id=UserId(self._ids.new()),
            email=mailbox(email),
            username=username.strip(),
            role=role,
            created_at=now,
            updated_at=now,
        )
        made = Credentials(user, await self._passwords.hash(password))
        await self._stores.ask(lambda stores: stores.users.add(made))
        return user

    async def sign_in(self, *, email: str, password: str) -> SignedIn:
        """Return the user whose address and password these are.

        Raises:
            NotSignedInError: they are nobody's; which of the two is wrong is not told, nor does
                the time that it takes tell.
        """
        found = await self._stores.ask(lambda stores: stores.users.credentials(email=email))
        known = None if found is None else found.password_hash
        if not await self._passwords.matches(known, password) or found is None:
            raise NotSignedInError("Invalid credentials")
        now = self._clock.now_ms()
        await self._stores.ask(lambda stores: stores.users.note_login(found.user.id, now_ms=now))
        user = found.user.model_copy(update={"last_login_at": now})
        return SignedIn(user, await self._first_token(user, now))

    async def renew(self, refresh_token: str) -> SignedIn:
        """Take a refresh token, and give the next one.

        Raises:
            NotSignedInError: it is unknown, expired or revoked; or was taken before, which revokes
                all that follow from the same sign-in.
        """
        now, made = self._clock.now_ms(), secrets.token_urlsafe(_TOKEN_BYTES)
        user = await self._stores.ask(
            lambda stores: stores.users.rotate(
                _digest(refresh_token),
                new_digest=_digest(made),
                now_ms=now,
                expires_at=now + REFRESH_S * _S,
            )
        )
        if user is None:
            raise NotSignedInError("Invalid token", hint="sign in again")
        return SignedIn(user, made)

    async def sign_out(self, user_id: UserId) -> None:
        """Let nothing that was signed for the user be worth anything."""
        now = self._clock.now_ms()
        await self._stores.ask(lambda stores: stores.users.revoke_all(user_id, now_ms=now))

    async def change_password(self, user_id: UserId, *, old: str, new: str) -> None:
        """Change a password; the user has to sign in again everywhere.

        Raises:
            UsageError: the new one is too short or too long, or the old one is another.
            NotFoundError: no such user.
        """
        _check_password(new)
        found = await self._stores.ask(lambda stores: stores.users.credentials(user_id=user_id))
        if found is None:
            raise NotFoundError("User not found")
        if not await self._passwords.matches(found.password_hash, old):
            raise UsageError("the old password is another")
        await self._set_password(user_id, new)

    async def reset_password(self, email: str, new: str) -> User:
        """Set the password of the user with that address, whatever it was.

        Raises:
            UsageError: it is too short or too long.
            NotFoundError: no such user.
        """
        _check_password(new)
        user = await self.by_email(email)
        await self._set_password(user.id, new)
        return user

    async def find(self, user_id: UserId) -> User | None:
        """Return the user."""
        return await self._stores.ask(lambda stores: stores.users.find(user_id))

    async def by_email(self, email: str) -> User:
        """Return the user.

        Raises:
            NotFoundError: no such user.
        """
        found = await self._stores.ask(lambda stores: stores.users.credentials(email=email))
        if found is None:
            raise NotFoundError("User not found", hint="perstack user list shows them")
        return found.user

    async def list(self) -> Sequence[User]:
        """Return the users, at most 1,000, the oldest first."""
        return await self._stores.ask(lambda stores: stores.users.list())

    async def has_admin(self) -> bool:
        """Tell whether somebody could administer a server."""
        return await self._stores.ask(lambda stores: stores.users.count("admin")) > 0

    async def count(self) -> int:
        """Return how many users there are."""
        return await self._stores.ask(lambda stores: stores.users.count())

    async def set_role(self, user_id: UserId, role: Role) -> User:
        """Change the role.

        Raises:
            NotFoundError: no such user.
            ConflictError: it is the last admin.
        """
        now = self._clock.now_ms()
        return await self._stores.ask(
            lambda stores: stores.users.set_role(user_id, role, now_ms=now)
        )

    async def delete(self, user_id: UserId) -> None:
        """Remove a user.

        Raises:
            NotFoundError: no such user.
            ConflictError: it is the last admin.
        """
        await self._stores.ask(lambda stores: stores.users.delete(user_id))

    async def _set_password(self, user_id: UserId, new: str) -> None:
        hashed, now = await self._passwords.hash(new), self._clock.now_ms()
        await self._stores.ask(
            lambda stores: stores.users.set_password(user_id, hashed, now_ms=now)
        )

    async def _first_token(self, user: User, now: int) -> str:
        made = secrets.token_urlsafe(_TOKEN_BYTES)
        token = RefreshToken(
            _digest(made), user.id, self._ids.new(), created_at=now, expires_at=now + REFRESH_S * _S
        )
        # The password may have been changed since it was looked at.
        if not await self._stores.ask(
            lambda stores: stores.users.add_token(token, epoch=user.epoch)
        ):
            raise NotSignedInError("Invalid credentials")
        return made


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _check_password(password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UsageError(
            f"a password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        )
