"""Access tokens for Google Cloud: one that is given, or those of Google's library (an extra)."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio
import anyio.to_thread

from perstack.errors import ConfigError, ProviderError
from perstack.providers.failures import read_key

VARIABLE: Final = "GOOGLE_VERTEX_ACCESS_TOKEN"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_HINT: Final = (
    f"export {VARIABLE}=$(gcloud auth print-access-token), or pip install 'perstack[vertex]'"
)


class _Credentials(Protocol):
    @property
    def valid(self) -> bool: ...

    @property
    def token(self) -> str | None: ...

    def refresh(self, request: object) -> None: ...


class GoogleToken:
    """Hands out a token that is valid now; asks for a new one when the old one has run out.

    Google's library looks for credentials where the user's own environment says: a file of
    credentials can name programs to start, so one that an env file names is not looked at.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        """Read what there is; nothing is imported or connected yet.

        Raises:
            ConfigError: there is no token, and no library to get one.
        """
        self._given = read_key(env, VARIABLE) if env.get(VARIABLE, "").strip() else None
        self._refreshing = anyio.Lock(fast_acquire=True)
        self._credentials: _Credentials | None = None
        if self._given is None and not _installed():
            raise ConfigError(f"{VARIABLE} is not set", hint=_HINT)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        return (self._given,) if self._given else ()

    async def get(self) -> str:
        """Return a token.

        Raises:
            ProviderError: Google's library found no credentials, or could not renew them. Its own
                words are not shown: they can hold parts of keys.
        """
        if self._given is not None:
            return self._given
        async with self._refreshing:
            if self._credentials is None or not self._credentials.valid:
                # Abandoned when cancelled: the library's waits cannot be interrupted.
                self._credentials = await anyio.to_thread.run_sync(
                    self._renew, abandon_on_cancel=True
                )
            return self._credentials.token or ""

    def _renew(self) -> _Credentials:
        google = _library()
        try:
            credentials = self._credentials or google.find(scopes=_SCOPES)[0]
            credentials.refresh(google.new_request())
        except google.unreachable as error:
            message = "Google's server for access tokens cannot be reached"
            raise ProviderError(message, retryable=True) from error
        except (google.failure, OSError, ValueError) as error:
            raise ProviderError(
                f"Google Cloud gave no access token ({type(error).__name__})", hint=_HINT
            ) from error
        return credentials


@dataclass(frozen=True, slots=True)
class _Library:
    """What is used of Google's library, which is untyped and may not be there."""

    find: Callable[..., tuple[_Credentials, str | None]]
    new_request: Callable[[], object]
    failure: type[Exception]
    unreachable: type[Exception]


def _library() -> _Library:
    auth: Any = importlib.import_module("google.auth")
    errors: Any = importlib.import_module("google.auth.exceptions")
    transport: Any = importlib.import_module("google.auth.transport.requests")
    return _Library(
        auth.default,
        transport.Request,
        errors.GoogleAuthError,
        errors.TransportError,
    )


def _installed() -> bool:
    try:
        return all(importlib.util.find_spec(name) for name in ("google.auth", "requests"))
    except (ImportError, ValueError):  # `google` itself is not there, or stands for something else.
        return False
