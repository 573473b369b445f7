"""Who is at the other end: a client per session, with what it proposed and started."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from mcp.server import ServerRequestContext
from starlette.requests import Request

from perstack.projection.inert import inert
from perstack.serving.verbs.verb import Client

SESSION_HEADER: Final = "mcp-session-id"
MOST: Final = 1_024
_NAME_LENGTH: Final = 60

Context = ServerRequestContext[dict[str, Any], Any]


class Clients:
    """Gives the client of a request.

    Requests that belong to no session (over standard input, or of the protocol's newer kind over
    HTTP) are one client's: who proposes in one request does not approve it in the next.
    """

    def __init__(self, user: str) -> None:
        """`user` is who runs the server, by whose right its clients act."""
        self._user = user
        self._known = OrderedDict[str | None, Client]()

    def __call__(self, context: Context) -> Client:
        """Return the client that asks."""
        key = _session_of(context)
        client = self._known.pop(key, None) or Client(f"{self._user} over MCP")
        self._known[key] = client
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        if (name := _name_of(context)) is not None:
            client.name = f"{self._user} over MCP ({name})"
        return client


def _session_of(context: Context) -> str | None:
    request = context.request
    return request.headers.get(SESSION_HEADER) if isinstance(request, Request) else None


def _name_of(context: Context) -> str | None:
    """Return what the client says it is, fit for records and screens."""
    told = context.session.client_params
    if told is None:
        return None
    return inert(told.client_info.name, newlines=False)[:_NAME_LENGTH].strip() or None
