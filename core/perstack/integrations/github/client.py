"""gidgethub over our own HTTP client: bounded, without redirects, true to one host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio
import gidgethub
import httpx2
from gidgethub.abc import GitHubAPI

from perstack.errors import ProviderError
from perstack.integrations.github.failures import failed

MOST_BYTES: Final = 16 * 1024 * 1024
_HINTS: Final = {
    401: 'give a token: [github] token = "${GITHUB_TOKEN}"',
    403: "the token may lack a permission",
    404: "the token may lack access: to GitHub that looks like absence",
}


class _Refused(gidgethub.GitHubException):
    """What came is not to be used."""


class Client(GitHubAPI):
    """One GitHub. The token goes to the host of `base_url` and nowhere else."""

    failures: Final = (gidgethub.GitHubException, httpx2.HTTPError, httpx2.InvalidURL, OSError)

    def __init__(self, base_url: str, token: str | None, *, timeout_s: float) -> None:
        super().__init__("perstack", oauth_token=token, base_url=base_url)
        self._token = token
        self._origin = _origin(base_url)
        self._http = httpx2.AsyncClient(
            timeout=timeout_s, follow_redirects=False, headers={"Accept-Encoding": "identity"}
        )

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await anyio.sleep(seconds)

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    def explained(self, error: Exception) -> ProviderError:
        """Return what went wrong as ours."""
        status: int | None = None
        if isinstance(error, gidgethub.HTTPException):
            status = int(error.status_code)
        retry_after_s: float | None = None
        if isinstance(error, gidgethub.RateLimitExceeded):
            retry_after_s = _seconds(error.headers.get("retry-after", "") if error.headers else "")
        if isinstance(error, httpx2.HTTPError | httpx2.InvalidURL | OSError):
            what = f"{urlsplit(self.base_url).hostname} cannot be reached ({type(error).__name__})"
        elif isinstance(error, gidgethub.RedirectionException):
            what = f"it answered with a redirect ({status}): the repository may have another name"
        else:
            what = str(error)
        hint = _HINTS.get(status) if status is not None else None
        return failed(
            what, token=self._token, hint=hint, status=status, retry_after_s=retry_after_s
        )

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        if _origin(url) != self._origin:
            # A page of results names where the next one is.
            raise _Refused("its answer leads to another host")
        async with self._http.stream(method, url, headers=dict(headers), content=body) as response:
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > MOST_BYTES:
                    raise _Refused(f"its answer is larger than {MOST_BYTES >> 20} MiB")
            return response.status_code, response.headers, bytes(read)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
