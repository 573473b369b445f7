"""`perstack session`: begin, end and look at sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.domain.sessions import Session, SessionReport

SessionId = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The session's id; else the active one.")
]
Status = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="Only active, ended or error.")
]


def session_app() -> typer.Typer:
    """Return the `session` commands."""
    return s.noun(
        "session",
        "Sessions: stretches of work that agents, tasks and memory belong to.",
        (start, end, status, list_, active),
    )


def start(
    metadata: s.Metadata = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Begin a session; others stay active."""
    from perstack.projection.session_text import session_lines

    kept = s.json_object(metadata, "--metadata")

    async def ask(made: Coordination) -> Session:
        return await made.sessions.start(kept)

    begun = s.with_services(a.Place(workspace, config, trust), ask, writes=True)
    s.show(as_json, lambda: s.json_of_one(begun), lambda: session_lines(begun))


def end(
    session_id: SessionId = None,
    failed: Annotated[bool, typer.Option("--failed", help="It was broken off.")] = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """End a session: its agents stop, its hooks run, what only it remembered is forgotten."""
    from perstack.projection.session_text import session_lines

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Session not found or already ended")

    async def ask(made: Coordination) -> Session:
        return await made.sessions.end(s.session_of(session_id), failed=failed)

    ended = s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(ended), lambda: session_lines(ended))


def status(
    session_id: SessionId = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show a session, and how many tasks it has."""
    from perstack.projection.session_text import report_lines

    place = a.Place(workspace, config, trust)
    s.refuse_empty(place, "Session not found" if session_id else "No active session")

    async def ask(made: Coordination) -> SessionReport:
        return await made.sessions.status(s.session_of(session_id))

    found = s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_one(found), lambda: report_lines(found))


def list_(
    status: Status = None,
    limit: s.Limit = 100,
    offset: s.Offset = 0,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List sessions, the last begun first."""
    from perstack.projection.session_text import session_rows

    async def ask(made: Coordination) -> list[Session]:
        return list(await made.sessions.list(status=status, limit=limit, offset=offset))

    place = a.Place(workspace, config, trust)
    found = [] if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_many("sessions", found), lambda: session_rows(found))


def active(
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Show the active session that was begun last; without one, say so."""
    from perstack.projection.session_text import NO_ACTIVE, session_lines

    async def ask(made: Coordination) -> Session | None:
        return await made.sessions.active()

    place = a.Place(workspace, config, trust)
    found = None if s.nothing_there(place) else s.with_services(place, ask, writes=False)
    s.show(
        as_json,
        lambda: (
            {"active": False}
            if found is None
            else {"active": True, "session": s.json_of_one(found)}
        ),
        lambda: [NO_ACTIVE] if found is None else session_lines(found),
    )
