"""A configuration at a URL: fetched once from the one host that is allowed, never followed on."""

from __future__ import annotations

import hashlib
import importlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from perstack.config import limits
from perstack.config.find import CONFIG_NAME, ConfigUrl
from perstack.config.report import printable
from perstack.errors import ConfigError

if TYPE_CHECKING:
    import httpx2

ORIGIN: Final = "https://raw.githubusercontent.com"
TIMEOUT_S: Final = 10.0
_HINT: Final = f"give a path, or a URL such as {ORIGIN}/owner/repository/main/{CONFIG_NAME}"


class ConfigFetcher:
    """Fetches configurations from one origin; everything else is refused before it is asked."""

    def __init__(self, *, _origin: str = ORIGIN, _timeout_s: float = TIMEOUT_S) -> None:
        self._origin = _origin
        self._timeout_s = _timeout_s

    def fetch(self, url: ConfigUrl) -> bytes:
        """Return the file's bytes. Blocks on the network, for 10 s at most.

        Raises:
            ConfigError: the URL is not allowed, leads on to another, or cannot be read in time,
                or the file is too large. The URL's query, which may hold a token, is not told.
        """
        self._check(url)
        importlib.import_module("httpx2")  # takes time that is not the host's
        answer: Future[bytes] = Future()
        threading.Thread(target=self._answer, args=(url, answer), daemon=True).start()
        try:
            return answer.result(timeout=self._timeout_s)
        except TimeoutError as error:
            raise self._late(url) from error

    def _answer(self, url: str, answer: Future[bytes]) -> None:
        # The client bounds each wait, not their number: a head that arrives byte by byte has many.
        try:
            answer.set_result(self._ask(url))
        except Exception as error:  # noqa: BLE001  raised again by who waits
            answer.set_exception(error)

    def _ask(self, url: str) -> bytes:
        import httpx2

        try:
            with httpx2.Client(follow_redirects=False, timeout=self._timeout_s) as client:
                return self._read(client, url)
        except httpx2.TimeoutException as error:
            raise self._late(url) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise ConfigError(
                f"{shown_url(url)} cannot be fetched: {printable(str(error), longest=160)}",
                hint="is the network there? Or give the path of a local file",
            ) from error

    def _check(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = None
        origin = f"{parts.scheme}://{parts.netloc.lower()}" if parts else ""
        if origin != self._origin or not url.isascii() or not url.isprintable():
            raise ConfigError(
                f"{shown_url(url)} is not allowed: a remote configuration comes from "
                f"{self._origin} only",
                hint=_HINT,
            )

    def _read(self, client: httpx2.Client, url: str) -> bytes:
        # Unpacked as it arrives, a small answer could become a very large one.
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            _check_status(url, response.status_code)
            return self._bounded(url, response.iter_raw())

    def _bounded(self, url: str, chunks: Iterator[bytes]) -> bytes:
        ends_at = time.monotonic() + self._timeout_s
        data = bytearray()
        for chunk in chunks:
            data += chunk
            if len(data) > limits.FILE_BYTES:
                raise ConfigError(
                    f"{shown_url(url)} is larger than {limits.FILE_BYTES:,} bytes",
                    hint="is it the right file?",
                )
            if time.monotonic() > ends_at:
                raise self._late(url)
        return bytes(data)

    def _late(self, url: str) -> ConfigError:
        return ConfigError(
            f"{shown_url(url)} was not there within {self._timeout_s:g} seconds",
            hint="try again, or give the path of a local file",
        )


def place_of_remote(workspace: Path, url: ConfigUrl) -> Path:
    """Return the path that stands for a remote configuration: its folder is the workspace.

    No file is there, and what is accepted of it is accepted of no file.
    """
    digest = hashlib.sha256(url.encode(errors="replace")).hexdigest()
    return workspace / f"remote-{digest[:16]}.toml"


def shown_url(url: str) -> str:
    """Return the URL as it may be shown and stored: without a user's name, query or fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    host = parts.netloc.rpartition("@")[2]
    return printable(f"{parts.scheme}://{host}{parts.path}", longest=300)


def _check_status(url: str, status: int) -> None:
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.NOT_FOUND:
        raise ConfigError(f'Given config path "{shown_url(url)}" is not found', hint=_HINT)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise ConfigError(
            f"{shown_url(url)} leads on to another address, which is refused",
            hint="give the file's own address",
        )
    raise ConfigError(
        f"{shown_url(url)} cannot be fetched: its host answered {status}",
        hint="try again, or give the path of a local file",
    )
