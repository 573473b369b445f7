"""What no handler of errors knows, answered all the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG: Final = logging.getLogger(__name__)


class Unexpected:
    """Answers with `answer_for`, which logs what is not for clients; the server lives on."""

    def __init__(self, app: ASGIApp, answer_for: Callable[[Exception], Response]) -> None:
        self._app = app
        self._answer_for = answer_for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; an exception before the answer began is answered."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            if begun or scope["type"] != "http":
                _LOG.exception("an answer broke off")
                raise
            await self._answer_for(error)(scope, receive, send)
