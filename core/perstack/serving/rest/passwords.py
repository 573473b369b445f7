"""Hashes of passwords: argon2id, in threads, two at once."""

from __future__ import annotations

from typing import Final

from anyio import CapacityLimiter, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

AT_ONCE: Final = 2
_MEMORY_KIB: Final = 19_456


class Argon2Passwords:
    """Implements `ports.users.Passwords`. Two hashes at once are 40 MB and two cores at most."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=_MEMORY_KIB, parallelism=1)
        self._limiter = CapacityLimiter(AT_ONCE)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        """Return what is stored of a password."""
        return await to_thread.run_sync(self._hash, password, limiter=self._limiter)

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Tell whether it is that password; of an unknown user it takes as long to deny."""
        if password_hash is None:
            if self._nobodys is None:
                self._nobodys = await self.hash("nobody has this")
            await to_thread.run_sync(self._verify, self._nobodys, password, limiter=self._limiter)
            return False
        return await to_thread.run_sync(
            self._verify, password_hash, password, limiter=self._limiter
        )

    def _hash(self, password: str) -> str:
        return self._hasher.hash(_bytes(password))

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
