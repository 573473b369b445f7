"""What is refused before any route is asked, in the words of this door."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp

from perstack.serving.http import guards
from perstack.serving.http.rules import Rules
from perstack.serving.rest.errors import answer_for, refusal

EVENTS: Final = "/events"


class _Answers:
    """Implements `guards.Answers`."""

    def refusal(
        self, status: int, error: str, code: str, *, hint: str | None = None, **headers: str
    ) -> Response:
        """Return an error as an answer."""
        return refusal(status, error, code, hint=hint, **headers)

    def answer_for(self, error: Exception) -> Response:
        """Return what is answered for an error."""
        return answer_for(error)


class Gate(guards.Gate):
    """Refuses foreign hosts and origins, paths that climb, and more than can be answered."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        super().__init__(app, rules, _Answers(), streams=frozenset({EVENTS}))


class Bodies(guards.Bodies):
    """Takes in bodies before anything works on them."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        super().__init__(app, rules, _Answers())
