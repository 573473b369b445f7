"""Tells a Slack channel through an incoming webhook, which may be slow or gone: nobody waits."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Final, Self
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from anyio.abc import ObjectReceiveStream
from anyio.streams.memory import MemoryObjectSendStream
from pydantic import JsonValue

from perstack.config.interpolate import filled
from perstack.config.urls import fault_of_url
from perstack.domain.coordination import SlackSettings
from perstack.integrations.slack_text import is_wanted, mrkdwn_of
from perstack.ports.announcements import Announcement

BOUND_S: Final = 5.0
WAITING: Final = 256

_LOG: Final = logging.getLogger(__name__)


class SlackAnnouncer:
    """Implements `ports.announcements.Announcer` with what `[slack]` names.

    It tells while it is open; before and after, or with a full queue, announcements are dropped.
    `env` fills in the webhook's `${NAME}`s. Each message gets `bound_s` seconds. `redact` takes
    secrets out of texts.
    """

    def __init__(
        self,
        settings: SlackSettings,
        *,
        env: Mapping[str, str],
        redact: Callable[[str], str],
        bound_s: float = BOUND_S,
    ) -> None:
        self._settings = settings
        self._url = filled(settings.webhook_url or "", env).strip()
        self._redact = redact
        self._bound_s = bound_s
        self._queue: MemoryObjectSendStream[Announcement] | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Self]:
        """Tell in the background until the block ends; what waits then gets `bound_s` seconds."""
        if not self._is_usable():
            yield self
            return
        queue, waiting = anyio.create_memory_object_stream[Announcement](WAITING)
        sent = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._send_all, waiting, sent, name="slack")
            self._queue = queue
            try:
                yield self
            finally:
                self._queue = None
                queue.close()
                with anyio.move_on_after(self._bound_s, shield=True):
                    await sent.wait()
                group.cancel_scope.cancel()

    def announce(self, said: Announcement) -> None:
        """Tell; returns at once and never raises."""
        if self._queue is None or not is_wanted(said.kind, self._settings):
            return
        try:
            self._queue.send_nowait(said)
        except anyio.WouldBlock:
            _LOG.warning("slack is slow: an announcement (%s) was dropped", said.kind)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return

    def _is_usable(self) -> bool:
        if not self._settings.enabled:
            return False
        if not self._url:
            _LOG.warning("slack is enabled, but its webhookUrl is empty")
            return False
        if fault := fault_of_url(self._url):
            _LOG.warning("slack's webhookUrl %s", fault)
            return False
        return True

    async def _send_all(
        self, waiting: ObjectReceiveStream[Announcement], sent: anyio.Event
    ) -> None:
        try:
            async with waiting:
                async for said in waiting:
                    await self._send(said)
        finally:
            sent.set()

    async def _send(self, said: Announcement) -> None:
        # A webhook's path is its password, so only the host is named.
        host = urlsplit(self._url).hostname
        with anyio.move_on_after(self._bound_s) as bound:
            status = await _post(self._url, self._body(said), timeout_s=self._bound_s)
            if status is None:
                _LOG.warning("the slack webhook at %s could not be reached", host)
            elif not 200 <= status < 300:
                _LOG.warning("the slack webhook at %s answered %d", host, status)
        if bound.cancelled_caught:
            _LOG.warning("the slack webhook at %s did not answer in %g s", host, self._bound_s)

    def _body(self, said: Announcement) -> dict[str, JsonValue]:
        text = mrkdwn_of(said, self._redact)
        body: dict[str, JsonValue] = {
            "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}],
            "username": self._settings.username,
            "icon_emoji": self._settings.icon_emoji,
        }
        if self._settings.channel:
            body["channel"] = self._settings.channel
        return body


async def _post(url: str, body: dict[str, JsonValue], *, timeout_s: float) -> int | None:
    """Return the answer's status, None when there was no answer. Its body is not read."""
    httpx2 = await to_thread.run_sync(_load_httpx2)
    try:
        async with (
            httpx2.AsyncClient(timeout=timeout_s, follow_redirects=False) as client,
            client.stream("POST", url, json=body) as answer,
        ):
            return answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError):
        return None


def _load_httpx2() -> ModuleType:
    import httpx2

    # At INFO it logs whole URLs, and a webhook's is a secret.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return httpx2
