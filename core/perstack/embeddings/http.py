"""One JSON request to who makes vectors: bounded in time and size, and it follows no redirect."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Final

import anyio
from anyio import to_thread

from perstack.config.table import is_list, is_table
from perstack.config.urls import place_of
from perstack.errors import ProviderError

if TYPE_CHECKING:
    import httpx2

BOUND_S: Final = 60.0
MOST_BYTES: Final = 64 * 1024 * 1024
TRIES: Final = 3
PAUSE_S: Final = 0.5

_MOST_PAUSE_S: Final = 10.0
_CONNECT_S: Final = 10.0
_LONGEST_DETAIL: Final = 200
_SHORTEST_SECRET: Final = 6
_KEY_LIKE: Final = re.compile(r"\b(?:(?:sk|key)[-_]|Bearer )[A-Za-z0-9*._-]{6,}")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\u00a1-\ufffd]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where vectors are asked for. `vendor` is what messages say; `key` never appears in them.

    `bound_s` is for all tries together, in seconds. `pause_s` is the first wait between two.
    """

    vendor: str
    url: str
    key: str = field(default="", repr=False)
    key_name: str = ""
    proxy: str | None = field(default=None, repr=False)
    bound_s: float = BOUND_S
    pause_s: float = PAUSE_S


class JsonClient:
    """Posts JSON to one endpoint; connections are kept between requests."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._client: httpx2.AsyncClient | None = None

    async def post(self, body: Mapping[str, object]) -> object:
        """Return the answer's JSON; what may pass is asked again, three times in all.

        Raises:
            ProviderError: the vendor cannot be reached, refuses, or answers with no JSON.
        """
        endpoint = self._endpoint
        content = await to_thread.run_sync(_encode, body)
        with anyio.move_on_after(endpoint.bound_s):
            for left in reversed(range(TRIES)):
                try:
                    return await self._ask(content)
                except ProviderError as error:
                    if not error.retryable or not left:
                        raise
                    doubled = endpoint.pause_s * 2 ** (TRIES - 1 - left)
                    await anyio.sleep(min(error.retry_after_s or doubled, _MOST_PAUSE_S))
        raise ProviderError(
            f"{endpoint.vendor} did not answer within {endpoint.bound_s:g} s", retryable=True
        )

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _ask(self, content: bytes) -> object:
        httpx2 = await to_thread.run_sync(_load_httpx2)
        endpoint = self._endpoint
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if endpoint.key:
            headers["authorization"] = f"Bearer {endpoint.key}"
        try:
            client = self._opened(httpx2)
            async with client.stream(
                "POST", endpoint.url, content=content, headers=headers
            ) as answer:
                said = await self._body(answer)
                if not answer.is_success:
                    raise self._refused(answer.status_code, answer.headers, said)
        except httpx2.TimeoutException as error:
            raise ProviderError(f"{endpoint.vendor} did not answer in time", retryable=True) from (
                error
            )
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            detail = self._shown(str(error))
            raise ProviderError(
                f"the connection to {endpoint.vendor} failed{detail and f': {detail}'}",
                retryable=True,
            ) from error
        return await to_thread.run_sync(self._decode, said)

    def _opened(self, httpx2: ModuleType) -> httpx2.AsyncClient:
        # Nothing is awaited in between, so that no two are made.
        client = self._client
        if client is None:
            bound_s = self._endpoint.bound_s
            client = self._client = httpx2.AsyncClient(
                timeout=httpx2.Timeout(bound_s, connect=min(bound_s, _CONNECT_S)),
                follow_redirects=False,
                proxy=self._endpoint.proxy,
            )
        return client

    async def _body(self, answer: httpx2.Response) -> bytes:
        coding = answer.headers.get("content-encoding", "identity").lower()
        if coding not in ("", "identity"):
            raise ProviderError(f"{self._endpoint.vendor} sent a compressed answer unasked")
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.aiter_raw():
            size += len(piece)
            if size > MOST_BYTES:
                raise ProviderError(f"the answer of {self._endpoint.vendor} is too large")
            pieces.append(piece)
        return b"".join(pieces)

    def _decode(self, said: bytes) -> object:
        try:
            found: object = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise ProviderError(
                f"{self._endpoint.vendor} sent an answer that cannot be read"
            ) from error
        return found

    def _refused(self, status: int, headers: Mapping[str, str], said: bytes) -> ProviderError:
        detail = self._shown(_detail_in(said))
        if 300 <= status < 400:
            detail = "it redirects to another address, which is not followed"
        hint = None
        if status == 401 and self._endpoint.key_name:
            hint = f"check {self._endpoint.key_name}"
        elif status == 404:
            hint = "check memory.vectorSearch.model in perstack.toml"
        return ProviderError(
            f"{self._endpoint.vendor} refused or failed (HTTP {status}){detail and f': {detail}'}",
            hint=hint,
            retryable=status in (408, 409, 425, 429) or status >= 500,
            retry_after_s=_seconds(headers.get("retry-after")),
            status=status,
        )

    def _shown(self, said: str) -> str:
        """Return `said` on one printable line, without keys, cut short."""
        for secret in (self._endpoint.key, self._endpoint.proxy or ""):
            if len(secret) >= _SHORTEST_SECRET:
                said = said.replace(secret, "***")
        line = _UNPRINTABLE.sub(" ", _KEY_LIKE.sub("***", said)).strip()
        return line if len(line) <= _LONGEST_DETAIL else line[:_LONGEST_DETAIL] + "…"


def proxy_for(url: str, env: Mapping[str, str]) -> str | None:
    """Return the proxy for model vendors, None for this machine and where none is set."""
    from urllib.parse import urlsplit

    if place_of(urlsplit(url).hostname or "") == "loopback":
        return None
    return env.get("PERSTACK_PROXY_URL", "").strip() or None


def items_of(said: object, key: str) -> Sequence[object]:
    """Return the list at `key` of an answer; nothing where there is none."""
    found = _at(said, key)
    return found if is_list(found) else ()


def _at(said: object, key: str) -> object:
    return said.get(key) if is_table(said) else None


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body).encode()


def _detail_in(said: bytes) -> str:
    """Return what an error's body says: OpenAI's `error.message`, or Ollama's `error`."""
    try:
        error = _at(json.loads(said[:65_536]), "error")
    except (ValueError, RecursionError):
        return ""
    message = _at(error, "message") if is_table(error) else error
    return message if isinstance(message, str) else ""


def _seconds(said: str | None) -> float | None:
    try:
        value = float(said or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _load_httpx2() -> ModuleType:
    import httpx2

    return httpx2
