"""Who asks: by the server's own token, by an access token, or whoever it is."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from starlette.requests import HTTPConnection

from perstack.domain.users import User, UserId
from perstack.errors import NotSignedInError
from perstack.services.users import UserService
from perstack.serving.http.limits import Buckets
from perstack.serving.rest.context import Principal
from perstack.serving.rest.signing import Signer

SERVER_TOKEN: Final = "PERSTACK_SERVER_TOKEN"  # noqa: S105  the name of a variable
LEAST_TOKEN: Final = 32
_PER_S: Final = 200.0
_BURST: Final = 400


class OpenDoor:
    """Asks nobody who they are. Only on loopback."""

    def __init__(self, name: str) -> None:
        self._principal = Principal(name, "admin")

    async def admit(self, connection: HTTPConnection) -> Principal:
        """Return the person whose machine it is."""
        return self._principal

    async def admit_token(self, token: str) -> Principal:
        """Return the person whose machine it is."""
        return self._principal

    async def again(self, principal: Principal) -> Principal:
        """Return the person whose machine it is."""
        return self._principal


class TokenDoor:
    """Believes the server's own token, which is an admin's, and those that were signed here."""

    def __init__(
        self,
        *,
        users: UserService,
        signer: Signer,
        name: str,
        server_token: str | None,
    ) -> None:
        self._users = users
        self._signer = signer
        self._owner = Principal(name, "admin")
        self._server_token = None if server_token is None else _digest(server_token)
        self._buckets = Buckets(per_s=_PER_S, burst=_BURST)

    async def admit(self, connection: HTTPConnection) -> Principal:
        """Return who it is.

        Raises:
            NotSignedInError: there is no token, or it is not believed.
            SlowDownError: somebody asks too often.
        """
        token = token_of(connection)
        if token is None:
            raise NotSignedInError(
                "No authentication token provided",
                hint="send Authorization: Bearer TOKEN, or x-api-key: TOKEN",
            )
        return await self.admit_token(token)

    async def admit_token(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            NotSignedInError: it is not believed.
            SlowDownError: somebody asks too often.
        """
        principal = await self._believe(token)
        self._buckets.take(principal.user_id or "")
        return principal

    async def _believe(self, token: str) -> Principal:
        ours = self._server_token
        if ours is not None and hmac.compare_digest(ours, _digest(token)):
            return self._owner
        claims = self._signer.believe(token)
        return await self._known(claims.user_id, claims.epoch)

    async def again(self, principal: Principal) -> Principal:
        """Return who somebody is now who was admitted before; the token may have expired since.

        Raises:
            NotSignedInError: they signed out, or are no user any more.
        """
        if principal.user_id is None:
            return principal
        return await self._known(UserId(principal.user_id), principal.epoch)

    async def _known(self, user_id: UserId, epoch: int) -> Principal:
        user = await self._users.find(user_id)
        if user is None:
            raise NotSignedInError("User not found")
        if user.epoch != epoch:
            raise NotSignedInError("Invalid token", hint="sign in again")
        return principal_of(user)


def principal_of(user: User) -> Principal:
    """Return a user as one who asks."""
    return Principal(user.username, user.role, user.id, user.epoch)


def token_of(connection: HTTPConnection) -> str | None:
    """Return the token that came along; in an address only with WebSockets, which allow no other.

    Addresses are written into logs and histories, headers are not.
    """
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and given.strip():
        return given.strip()
    key = connection.headers.get("x-api-key", "").strip()
    if key:
        return key
    return connection.query_params.get("token") if connection.scope["type"] == "websocket" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
