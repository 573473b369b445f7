"""Sessions and identities: stretches of work, and who agents are from one to the next."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from perstack.domain.identities import Identity, IdentityAuditEntry
from perstack.domain.ids import IdentityId, SessionId
from perstack.domain.sessions import Session
from perstack.ports.tasks import TaskFilter
from perstack.services.identities import IdentityService
from perstack.services.whoami import whoami
from perstack_tui.local.records.rows import (
    MOST,
    age,
    clock,
    many,
    moment,
    said,
    selected,
    state,
    stated,
    structure,
    unknown,
    word,
)
from perstack_tui.local.records.services import Services
from perstack_tui.ports.records import Column, Field, Row, Verb
from perstack_tui.state.wording import span_of_time

_END: Final = Verb(
    "end", "x", "end", warns="Its agents are stopped, and what only it remembered is deleted."
)
_BEGIN: Final = Verb("new", "n", "begin", asks="what it is about", optional=True)


class Sessions:
    """Sessions, the last begun first."""

    empty = (
        "No sessions yet.\n"
        "n begins one; agents, tasks and memory can belong to it, and end with it."
    )
    columns = (
        Column("state", 9),
        Column("about", 0),
        Column("lasted", 7, right=True),
        Column("begun", 19),
    )
    verbs = (_BEGIN,)

    def __init__(self, services: Services) -> None:
        self._own = services

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        row = partial(_session_row, now_ms=self._own.clock.now_ms())
        stores = self._own.stores
        if needle.strip():
            found = await stores.ask(lambda s: s.sessions.list(limit=MOST))
            return await selected(found, row, needle, limit, offset)
        shown = await stores.ask(lambda s: s.sessions.list(limit=limit, offset=offset))
        total = await stores.ask(lambda s: s.sessions.count())
        return [row(session) for session in shown], max(total, offset + len(shown))

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        at = SessionId(record_id)
        async with self._own.sessions() as service:
            session = await service.get(at)
        wanted = TaskFilter(session_id=at)
        tasks = await self._own.stores.ask(lambda s: s.tasks.count(wanted))
        counts = [
            f"{count} {name}"
            for name, count in tasks.model_dump().items()
            if count and name != "total"
        ]
        return [
            stated(session.status),
            *moment("begun", session.started_at),
            *moment("ended", session.ended_at),
            *said("tasks", ", ".join(counts) or "none"),
            *structure("metadata", session.metadata),
            *said("memory", f"session:{session.id}"),
            *said("id", session.id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        async with self._own.sessions() as service:
            match verb_id:
                case "new":
                    about = {"about": await self._own.redacted(text)} if text else None
                    session = await service.start(about)
                    return f"session {session.id} has begun"
                case "end":
                    await service.end(SessionId(record_id or ""))
                    return "the session has ended"
                case _:
                    raise unknown(verb_id)


def _session_row(session: Session, *, now_ms: int) -> Row:
    metadata = session.metadata or {}
    about = " ".join(str(value) for value in metadata.values() if isinstance(value, str))
    return Row(
        session.id,
        (
            state(session.status),
            word(f"{about} {session.id}".strip()),
            word(span_of_time((session.ended_at or now_ms) - session.started_at)),
            word(clock(session.started_at), "muted"),
        ),
        (_END,) if session.status == "active" else (),
    )


# --- identities -----------------------------------------------------------------------------

_ACTIVATE: Final = Verb("activate", "a", "activate")
_REST: Final = Verb("deactivate", "z", "let rest", asks="why", optional=True)
_RETIRE: Final = Verb("retire", "x", "retire", asks="why", warns="For good: no agent carries it.")
_NEW: Final = Verb("new", "n", "new", asks="the agents' type, a colon, its name")


class Identities:
    """Identities, the last active first."""

    empty = "No identities yet.\nn makes one: who an agent is from one spawn to the next."
    columns = (
        Column("state", 10),
        Column("name", 0),
        Column("type", 16),
        Column("active", 6, right=True),
        Column("age", 5, right=True),
    )
    verbs = (_NEW,)

    def __init__(self, services: Services) -> None:
        self._own = services
        self._service = IdentityService(services.stores, clock=services.clock, ids=services.ids)

    async def page(self, needle: str, limit: int, offset: int) -> tuple[Sequence[Row], int]:
        """Return rows, and how many match in all."""
        found = await self._service.list()
        row = partial(_identity_row, now_ms=self._own.clock.now_ms())
        return await selected(found, row, needle, limit, offset)

    async def details(self, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        at = IdentityId(record_id)
        identity = await self._service.get(at)
        audit = await self._service.audit(at)
        able = [
            f"{one.name}{f' {one.version}' if one.version else ''}{'' if one.enabled else ' (off)'}"
            for one in identity.capabilities
        ]
        return [
            stated(identity.status),
            *said("name", identity.display_name),
            *said("type", identity.agent_type),
            *said("about", identity.description),
            *many("can", able),
            *said("made by", identity.created_by),
            *moment("made", identity.created_at),
            *moment("last active", identity.last_active_at),
            *moment("retired", identity.retired_at),
            *said("why retired", identity.retirement_reason),
            *many("what happened", [_audited(entry) for entry in audit]),
            *structure("metadata", identity.metadata),
            *said("id", identity.agent_id),
        ]

    async def act(self, record_id: str | None, verb_id: str, text: str | None) -> str:
        """Do a verb; return what to tell."""
        service, at, me = self._service, IdentityId(record_id or ""), whoami()
        match verb_id:
            case "new":
                agent_type, _, name = (text or "").partition(":")
                made = await service.create(
                    agent_type.strip(),
                    display_name=name.strip() or None,
                    created_by=me,
                    auto_activate=True,
                )
                return f"identity {made.agent_id} is active"
            case "activate":
                return _told(await service.activate(at, actor_id=me))
            case "deactivate":
                return _told(await service.deactivate(at, reason=text, actor_id=me))
            case "retire":
                return _told(await service.retire(at, reason=text, actor_id=me))
            case _:
                raise unknown(verb_id)


def _told(identity: Identity) -> str:
    return f"{identity.display_name or identity.agent_id} is {identity.status}"


def _identity_row(identity: Identity, *, now_ms: int) -> Row:
    verbs: dict[str, tuple[Verb, ...]] = {
        "created": (_ACTIVATE, _RETIRE),
        "active": (_REST, _RETIRE),
        "dormant": (_ACTIVATE, _RETIRE),
    }
    return Row(
        identity.agent_id,
        (
            state(identity.status),
            word(identity.display_name or identity.agent_id),
            word(identity.agent_type),
            age(identity.last_active_at, now_ms),
            age(identity.created_at, now_ms),
        ),
        verbs.get(identity.status, ()),
    )


def _audited(entry: IdentityAuditEntry) -> str:
    by = f" by {entry.actor_id}" if entry.actor_id else ""
    why = f": {entry.reason}" if entry.reason else ""
    return f"{clock(entry.timestamp)}  {entry.action}{by}{why}"
