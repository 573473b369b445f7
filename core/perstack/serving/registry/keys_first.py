"""Keys before bodies: who may not change anything is told so before what they send is kept."""

from __future__ import annotations

from typing import Final

import anyio
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from perstack.errors import PerstackError
from perstack.serving.http.rules import Rules
from perstack.serving.registry.answers import ANSWERS
from perstack.serving.registry.asking import holder_of, keep_holder

_CHANGES: Final = frozenset({"POST", "DELETE"})


class KeysFirst:
    """Hands on what changes something once the key that came along is believed."""

    def __init__(self, app: ASGIApp, rules: Rules, within_s: float) -> None:
        self._app = app
        self._rules = rules
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or refuse."""
        if scope["type"] != "http" or scope["method"] not in _CHANGES:
            await self._app(scope, receive, send)
            return
        try:
            with anyio.fail_after(self._within_s):
                keep_holder(HTTPConnection(scope), await holder_of(Request(scope)))
        except (PerstackError, TimeoutError) as error:
            await self._take_no_notice(receive)
            await ANSWERS.answer_for(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _take_no_notice(self, receive: Receive) -> None:
        """Read what was sent and keep nothing: while it is being sent, no answer is read."""
        left = self._rules.body_bytes
        with anyio.move_on_after(self._rules.body_s):
            while left > 0:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
