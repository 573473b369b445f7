"""A registry of Experts over HTTP: bounded in time and size, true to one host."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import ModuleType
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import anyio
from anyio import to_thread

from perstack.config.registry_place import KEY_VARIABLE, URL_VARIABLE, RegistryPlace
from perstack.config.report import printable
from perstack.config.secrets import redact
from perstack.config.urls import place_of
from perstack.domain.registry import (
    API,
    DEFINITION_BYTES,
    ExpertPage,
    ExpertQuery,
    PublishRequest,
    RegistryExpert,
    RegistryKey,
    Status,
    VersionList,
    parse_key,
)
from perstack.errors import ConfigError, RegistryError, RegistryUnreachableError
from perstack.integrations.registry_answers import (
    Said,
    expert_in,
    page_in,
    refusal_in,
    versions_in,
)
from perstack.integrations.registry_refusals import AGAIN, busy, failing, refused, wait_in

if TYPE_CHECKING:
    import httpx2

BOUND_S: Final = 30.0
ANSWER_BYTES: Final = 4 * 1024 * 1024

_REFUSAL_BYTES: Final = 65_536
_CONNECT_S: Final = 10.0
_PAUSE_S: Final = 0.25
# A server may close what rests; what changes something must not be the one to find out.
_KEPT_OPEN_S: Final = 2.0
_LONGEST_KEY: Final = 4096
_SHOWN: Final = 200
_PASSING: Final = frozenset({502, 503, 504})
_WHOLE: Final = "/?"  # a path that every registry has
_ERRNO: Final = re.compile(r"^\[Errno -?\d+\] ")  # a number that tells the user nothing
_LOG: Final = logging.getLogger(__name__)

Method = Literal["GET", "POST", "DELETE"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Request:
    """One request. `what` is what messages call it; `body` is sent as it is."""

    method: Method
    path: str
    what: str
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    wait_s: float | None


class _PassingError(Exception):
    """What asking again may help against; `told` is raised if it does not."""

    def __init__(self, told: RegistryError, wait_s: float) -> None:
        super().__init__(told.message)
        self.told = told
        self.wait_s = wait_s


class HttpRegistry:
    """Implements `ports.registry.Registry`; each call gets `bound_s` seconds, retries included.

    The key goes with every request to the host of the URL, and nowhere else.
    """

    def __init__(self, place: RegistryPlace, *, bound_s: float = BOUND_S) -> None:
        _check(place)
        self._url = place.url.rstrip("/")
        self._host = printable(urlsplit(place.url).netloc, longest=_SHOWN)
        self._key = place.key
        self._bound_s = bound_s
        self._opening = anyio.Lock()
        self._client: httpx2.AsyncClient | None = None

    @property
    def url(self) -> str:
        """Where it is, without a slash at its end."""
        return self._url

    async def find(self, key: RegistryKey) -> RegistryExpert:
        """Return an Expert; without version and tag the `latest` one."""
        request = _Request("GET", _path_of(key), f"looking for {key}")
        return await self._asked(request, lambda body: expert_in(body, key))

    async def versions(self, key: RegistryKey, *, within_s: float | None = None) -> VersionList:
        """Return all versions of the name, asked for at most `within_s` seconds."""
        checked = parse_key(str(key))
        name = RegistryKey(checked.organisation, checked.base)
        request = _Request("GET", f"{_path_of(name)}/versions", f"looking for {name}")
        return await self._asked(request, lambda body: versions_in(body, key), within_s)

    async def search(self, query: ExpertQuery) -> ExpertPage:
        """Return a page of Experts; those that no key could name are left out of it."""
        wanted = urlencode(query.model_dump(mode="json", by_alias=True, exclude_none=True))
        page, dropped = await self._asked(_Request("GET", f"/?{wanted}", "searching"), page_in)
        if dropped:
            _LOG.warning("%d of the registry's Experts cannot be used and are left out", dropped)
        return page

    async def publish(self, request: PublishRequest) -> RegistryExpert:
        """Publish a version."""
        key = parse_key(request.key)
        if (size := len(request.content)) > DEFINITION_BYTES:
            raise RegistryError(
                f"{key} cannot be published: its definition has {size:,} bytes",
                hint=f"at most {DEFINITION_BYTES:,} are taken: shorten its instruction",
            )
        body = request.model_dump(mode="json", by_alias=True, exclude_none=True)
        return await self._changed(f"publishing {key}", "/", key, body)

    async def set_tags(self, key: RegistryKey, tags: Sequence[str]) -> RegistryExpert:
        """Make these the tags of a version; they move from other versions. `latest` stays out."""
        return await self._changed(f"tagging {key}", _path_of(key), key, {"tags": [*tags]})

    async def set_status(self, key: RegistryKey, status: Status) -> RegistryExpert:
        """Change the status of a version."""
        what = f"changing the status of {key}"
        return await self._changed(what, _path_of(key), key, {"status": status})

    async def unpublish(self, key: RegistryKey) -> None:
        """Remove a version."""
        request = _Request("DELETE", _path_of(key), f"unpublishing {key}")
        await self._asked(request, lambda _: None)

    async def aclose(self) -> None:
        """Close its connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # ------------------------------------------------------------- internals

    async def _changed(
        self, what: str, path: str, key: RegistryKey, change: Mapping[str, object]
    ) -> RegistryExpert:
        try:
            body = json.dumps(change, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:
            raise RegistryError(f"{what} failed: it holds what JSON cannot say") from error
        request = _Request("POST", path, what, body)
        return await self._asked(request, lambda answer: expert_in(answer, key))

    async def _asked(
        self, request: _Request, read: Callable[[bytes], T], within_s: float | None = None
    ) -> T:
        bound_s = self._bound_s if within_s is None else min(within_s, self._bound_s)
        with anyio.move_on_after(bound_s) as bound:
            body = await self._settled(request, bound)
            # Large answers take a while to be read, and screens are drawn meanwhile.
            return await to_thread.run_sync(read, body)
        raise self._unreachable(f"did not answer within {bound_s:g} s")

    async def _settled(self, request: _Request, bound: anyio.CancelScope) -> bytes:
        """Return an answer's body; a read is made once more where that may help in time."""
        try:
            return await self._once(request)
        except _PassingError as error:
            left_s = bound.deadline - anyio.current_time()
            if request.method != "GET" or error.wait_s >= left_s:
                raise error.told from error
            await anyio.sleep(error.wait_s)
        try:
            return await self._once(request)
        except _PassingError as error:
            raise error.told from error

    async def _once(self, request: _Request) -> bytes:
        async with self._translated():
            answer = await self._exchanged(request)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return answer.body
        raise self._failure(request, answer)

    async def _exchanged(self, request: _Request) -> _Answer:
        client = await self._opened()
        url = f"{self._url}{API}{request.path}"
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        async with client.stream(
            request.method, url, content=request.body, headers=headers
        ) as answer:
            longest = ANSWER_BYTES if answer.is_success else _REFUSAL_BYTES
            body = await self._body(answer, longest)
            return _Answer(answer.status_code, body, wait_in(answer.headers.get("retry-after")))

    async def _body(self, answer: httpx2.Response, longest: int) -> bytes:
        # Unpacked as it arrives, a small answer could become a very large one.
        if answer.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise RegistryError(f"the registry at {self._host} sent a packed answer unasked")
        data = bytearray()
        async for chunk in answer.aiter_raw():
            data += chunk
            if len(data) > longest and answer.is_success:
                raise RegistryError(
                    f"the answer of the registry at {self._host} is larger than {longest:,} bytes",
                    hint="ask for fewer at a time",
                )
            if len(data) > longest:
                break
        return bytes(data[:longest])

    def _failure(self, request: _Request, answer: _Answer) -> Exception:
        status = answer.status
        if status < HTTPStatus.BAD_REQUEST:
            return RegistryError(
                f"the registry at {self._host} leads on to another address, which is refused",
                hint=f"set {URL_VARIABLE} to the registry's own address",
            )
        said = refusal_in(answer.body)
        said = Said(self._veiled(said.error), self._veiled(said.reason))
        unheard = not (said.error or said.reason) or request.path.startswith(_WHOLE)
        if status == HTTPStatus.NOT_FOUND and unheard:
            return RegistryError(
                f"no registry of Experts was found at {self._host}: it answered 404",
                hint=f"is {URL_VARIABLE} right?",
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            # It says nothing of what was asked, so that what is kept can be used meanwhile.
            return busy(self._host, answer.wait_s)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return refused(status, said, what=request.what, host=self._host)
        told = failing(self._host, status, said, answer.wait_s)
        if status not in _PASSING:
            return told
        return _PassingError(told, _PAUSE_S if answer.wait_s is None else answer.wait_s)

    @asynccontextmanager
    async def _translated(self) -> AsyncGenerator[None]:
        """Make the client's errors ours. They hold no headers, so no key."""
        httpx2 = await to_thread.run_sync(_load_httpx2)
        try:
            yield
        except httpx2.TimeoutException as error:
            raise self._unreachable("did not answer in time") from error
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError) as error:
            told = self._unreachable("closed the connection before its answer was whole")
            raise _PassingError(told, _PAUSE_S) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            why = self._veiled(_ERRNO.sub("", printable(str(error), longest=_SHOWN)))
            raise self._unreachable(f"cannot be reached: {why or type(error).__name__}") from error

    def _unreachable(self, how: str) -> RegistryUnreachableError:
        return RegistryUnreachableError(
            f"the registry at {self._host} {how}",
            hint=AGAIN,
        )

    def _veiled(self, text: str) -> str:
        return redact(text, [self._key] if self._key else [])

    async def _opened(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._client is None:
                # Reading the certificates that are trusted takes a while.
                self._client = await to_thread.run_sync(self._made)
            return self._client

    def _made(self) -> httpx2.AsyncClient:
        import httpx2

        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        # What is on this machine is asked directly: a proxy would be told the key.
        own = place_of(urlsplit(self._url).hostname or "") == "loopback"
        limits = httpx2.Limits(max_connections=8, keepalive_expiry=_KEPT_OPEN_S)
        return httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(self._bound_s, connect=min(self._bound_s, _CONNECT_S)),
            limits=limits,
            follow_redirects=False,
            transport=httpx2.AsyncHTTPTransport(limits=limits) if own else None,
        )


def _check(place: RegistryPlace) -> None:
    if "?" in place.url or "#" in place.url:
        raise ConfigError(
            f"{printable(place.url.partition('?')[0], longest=_SHOWN)} cannot be a registry's URL: "
            "it has a query or a fragment",
            hint="leave out what follows ? or #",
        )
    key = place.key
    if key is not None and not (key.isascii() and key.isprintable() and len(key) <= _LONGEST_KEY):
        raise ConfigError(
            f"{KEY_VARIABLE} holds characters that no key has",
            hint="copy the key again, without line breaks or quotes",
        )


def _path_of(key: RegistryKey) -> str:
    """Return the path of a key; whatever was not checked yet is, so that no name breaks out.

    Raises:
        UsageError: it is no key.
    """
    return f"/{quote(str(parse_key(str(key))), safe='')}"


def _load_httpx2() -> ModuleType:
    import httpx2

    return httpx2
