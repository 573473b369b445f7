"""Access tokens: JWTs that say who somebody is for a quarter of an hour."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from perstack.domain.users import ACCESS_S, User, UserId
from perstack.errors import NotSignedInError, UsageError
from perstack.ports.system import Clock

SECRET: Final = "JWT_SECRET"  # noqa: S105  the name of a variable
ALGORITHM: Final = "HS256"
ISSUER: Final = "perstack"
AUDIENCE: Final = "perstack-rest"
LEAST_SECRET_BYTES: Final = 32
LONGEST_TOKEN: Final = 4_096
_REQUIRED: Final = ("iss", "aud", "sub", "exp", "iat", "jti", "epoch")
_S: Final = 1_000


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token that is believed says. It is worth nothing once the user's epoch is another."""

    user_id: UserId
    epoch: int


class Signer:
    """Signs access tokens and believes those that it signed."""

    def __init__(self, secret: bytes, *, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    def sign(self, user: User) -> str:
        """Return a token for a user."""
        now = self._clock.now_ms() // _S
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user.id,
            "iat": now,
            "exp": now + ACCESS_S,
            "jti": secrets.token_hex(16),
            "userId": user.id,
            "email": user.email,
            "username": user.username,
            "role": user.role,
            "epoch": user.epoch,
        }
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def believe(self, token: str) -> Claims:
        """Return what a token says.

        Raises:
            NotSignedInError: it is expired, or not one that was signed here.
        """
        if len(token) > LONGEST_TOKEN:
            raise NotSignedInError("Invalid token")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": list(_REQUIRED)},
            )
        except jwt.ExpiredSignatureError as error:
            raise NotSignedInError("Token expired", hint="renew it at /api/v1/auth/refresh") from (
                error
            )
        except (jwt.InvalidTokenError, ValueError) as error:
            raise NotSignedInError("Invalid token", hint="sign in again") from error
        epoch = claims["epoch"]
        if not isinstance(epoch, int):
            raise NotSignedInError("Invalid token", hint="sign in again")
        return Claims(UserId(str(claims["sub"])), epoch)


def secret_of(env: Mapping[str, str]) -> bytes:
    """Return what tokens are signed with: the environment's, else one that ends with the process.

    Raises:
        UsageError: the environment's is too short.
    """
    given = env.get(SECRET, "").strip().encode("utf-8", "surrogateescape")
    if not given:
        return secrets.token_bytes(LEAST_SECRET_BYTES)
    if len(given) < LEAST_SECRET_BYTES:
        raise UsageError(
            f"{SECRET} must have at least {LEAST_SECRET_BYTES} bytes",
            hint="openssl rand -hex 32 makes one",
        )
    return given
