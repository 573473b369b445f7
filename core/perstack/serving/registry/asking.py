"""What is asked of the registry: by whom, and of which Expert."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import unquote_to_bytes

from starlette.requests import HTTPConnection, Request

from perstack.domain.registry import API, RegistryKey, parse_key
from perstack.domain.registry_hosting import Holder
from perstack.errors import UsageError
from perstack.services.registry import reasons
from perstack.services.registry.access import RegistryAccess, check_scope
from perstack.services.registry.publishing import RegistryPublishing
from perstack.services.registry.shelf import RegistryShelf
from perstack.serving.http.limits import Buckets

_KEY_PER_S: Final = 50.0
_KEY_BURST: Final = 200
_LONGEST_KEY: Final = 1_024
_VERSIONS: Final = "versions"


def _buckets() -> Buckets:
    return Buckets(per_s=_KEY_PER_S, burst=_KEY_BURST, what="too many requests with this API key")


@dataclass(frozen=True, slots=True)
class RegistryState:
    """What the application was made with; `app.state.registry` holds it.

    With `private` reading needs a key, too.
    """

    access: RegistryAccess
    shelf: RegistryShelf
    publishing: RegistryPublishing
    private: bool = False
    buckets: Buckets = field(default_factory=_buckets)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which Expert is asked for, and whether for its versions."""

    key: RegistryKey
    versions: bool


def state_of(connection: HTTPConnection) -> RegistryState:
    """Return what the application was made with."""
    return cast("RegistryState", connection.app.state.registry)


async def holder_of(request: Request) -> Holder:
    """Return whose key came along.

    Raises:
        RegistryRefusedError: there is none, or it is not believed (401).
        SlowDownError: it asks too often.
    """
    token = _token(request)
    if token is None:
        raise reasons.not_admitted("an API key is needed: Authorization: Bearer KEY")
    state = state_of(request)
    holder = await state.access.admit(token)
    state.buckets.take(holder.prefix)
    return holder


def keep_holder(connection: HTTPConnection, holder: Holder) -> None:
    """Remember for the route whose key it is."""
    connection.state.holder = holder


def known_holder(connection: HTTPConnection) -> Holder:
    """Return whose key it is, which was found out before the body was read."""
    return cast("Holder", connection.state.holder)


async def reader(request: Request) -> None:
    """Let those read who may: a key that came along must be a good one.

    Raises:
        RegistryRefusedError: none came and the registry is private, or it is not believed (401).
        SlowDownError: the key asks too often.
    """
    private = state_of(request).private
    if not private and _token(request) is None:
        return
    holder = await holder_of(request)
    if private:
        check_scope(holder, "read")


def _token(request: Request) -> str | None:
    if "authorization" not in request.headers:
        return None
    scheme, _, given = request.headers["authorization"].partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def asked_of(request: Request) -> Asked:
    """Return which Expert the path names, read as it was sent: a key holds a slash of its own.

    `/experts/%40acme%2Fx` is how clients send it. That of a person who typed `/experts/@acme/x`
    is understood, too.

    Raises:
        RegistryMissingError: the path is none of the API.
        RegistryRefusedError: it holds no key (422).
    """
    sent = cast("bytes", request.scope.get("raw_path", b"")).partition(b"?")[0]
    rest = sent.removeprefix(API.encode()).strip(b"/").split(b"/")
    parts = [_decoded(part) for part in rest]
    if len(parts) > 1 and parts[0].startswith("@") and "/" not in parts[0]:
        parts[:2] = [f"{parts[0]}/{parts[1]}"]
    if parts[1:] not in ([], [_VERSIONS]):
        raise reasons.refused("there is no such path", status=404)
    try:
        return Asked(parse_key(parts[0]), versions=len(parts) > 1)
    except UsageError as error:
        raise reasons.unfit(error.message) from error


def _decoded(part: bytes) -> str:
    try:
        return unquote_to_bytes(part[:_LONGEST_KEY]).decode()
    except UnicodeDecodeError as error:
        raise reasons.unfit("the path is not UTF-8") from error
