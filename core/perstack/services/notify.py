"""Tells a person that something waits: a command of theirs, a webhook, or both.

What they configured gets one JSON object, on standard input or as the request's body. It may be
slow, broken or gone: that is logged, never raised, and takes `bound_s` seconds at most.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType
from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from anyio.abc import Process
from pydantic import JsonValue

from perstack.domain.settings import NotifySettings
from perstack.ports.notices import Notice

BOUND_S: Final = 10.0

_LOG: Final = logging.getLogger(__name__)
_PASSED: Final = frozenset(
    {
        "DBUS_SESSION_BUS_ADDRESS",
        "DISPLAY",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TERM",
        "TMPDIR",
        "TMUX",
        "TZ",
        "USER",
        "WAYLAND_DISPLAY",
        "XAUTHORITY",
        "XDG_RUNTIME_DIR",
    }
)


class ConfiguredNotifier:
    """Implements `ports.notices.Notifier` with what `[notify]` names; without it, does nothing.

    `env` is the user's environment, of which a command gets an allow-list.
    """

    def __init__(
        self, settings: NotifySettings, *, env: Mapping[str, str], bound_s: float = BOUND_S
    ) -> None:
        self._settings = settings
        self._env = {name: value for name, value in env.items() if _is_passed(name)}
        self._bound_s = bound_s

    async def notify(self, notice: Notice) -> None:
        """Tell; returns within the bound and never raises."""
        body = json.dumps(notice_json(notice)).encode()
        async with anyio.create_task_group() as group:
            if self._settings.command:
                group.start_soon(self._run, self._settings.command, body, name="notify:command")
            if self._settings.webhook:
                group.start_soon(self._post, self._settings.webhook, body, name="notify:webhook")

    async def _run(self, command: tuple[str, ...], body: bytes) -> None:
        try:
            process = await anyio.open_process(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._env,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            _LOG.warning("notify.command %r could not be started: %s", command[0], error)
            return
        try:
            with anyio.move_on_after(self._bound_s) as bound:
                await _feed(process, body)
                await process.wait()
        finally:
            await _end(process)
        if bound.cancelled_caught:
            _LOG.warning("notify.command %r was ended after %g s", command[0], self._bound_s)
        elif process.returncode:
            _LOG.warning("notify.command %r ended with %s", command[0], process.returncode)

    async def _post(self, url: str, body: bytes) -> None:
        # A webhook's path is its password, so only the host is named.
        host = _host(url)
        with anyio.move_on_after(self._bound_s) as bound:
            status = await _post(url, body, timeout_s=self._bound_s)
            if status is None:
                _LOG.warning("the notify webhook at %s could not be reached", host)
            elif not 200 <= status < 300:
                _LOG.warning("the notify webhook at %s answered %d", host, status)
        if bound.cancelled_caught:
            _LOG.warning("the notify webhook at %s did not answer in %g s", host, self._bound_s)


def notice_json(notice: Notice) -> dict[str, JsonValue]:
    """Return what a command or webhook gets; an absent risk, id or expiry is null."""
    return {
        "kind": notice.kind,
        "jobId": notice.job_id,
        "runId": notice.run_id,
        "expertKey": notice.expert_key,
        "title": notice.title,
        "risk": notice.risk,
        "id": notice.consensus_id,
        "expiresAt": notice.expires_at,
    }


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_passed(name: str) -> bool:
    return name in _PASSED or name.startswith("LC_")


async def _feed(process: Process, body: bytes) -> None:
    """Write the notice; a command that does not read it has not failed."""
    if process.stdin is None:
        return
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.send(body)
    with suppress(OSError):
        await process.stdin.aclose()


async def _end(process: Process) -> None:
    """Kill the command's whole process group if the command still runs, and collect it."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await process.aclose()


async def _post(url: str, body: bytes, *, timeout_s: float) -> int | None:
    """Return the answer's status, None when there was no answer. Its body is not read."""
    httpx2 = await to_thread.run_sync(_load_httpx2)
    headers = {"content-type": "application/json"}
    try:
        async with (
            httpx2.AsyncClient(timeout=timeout_s, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            return answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return None


def _load_httpx2() -> ModuleType:
    import httpx2

    # At INFO it logs whole URLs, and a webhook's is a secret.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return httpx2
