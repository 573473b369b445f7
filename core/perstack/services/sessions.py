"""Sessions: begun, looked at, and ended with all that belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, Protocol

import anyio
from pydantic import JsonValue

from perstack.domain.hooks import HookContext
from perstack.domain.ids import SessionId
from perstack.domain.sessions import SESSION_STATUSES, Session, SessionReport
from perstack.errors import NotFoundError, PerstackError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.ports.tasks import TaskFilter
from perstack.services.bounds import check_metadata, check_number, check_word
from perstack.services.handle import Handle

BOUND_S: Final = 60.0
_LOG: Final = logging.getLogger(__name__)

Clear = Callable[[SessionId], Awaitable[object]]


class SessionHooks(Protocol):
    """What is done at the beginning and the end of a session."""

    async def execute(self, context: HookContext) -> HookContext:
        """Run an event's hooks; never raises."""
        ...


class SessionService:
    """Sessions of a workspace; any number may be active. `ids` gives UUIDs.

    When one ends, `stop_agents` stops those that belong to it, the `session-end` hooks run, and
    `forget_memory` deletes what only it remembered, in this order: nobody is left to write more.
    Each gets `bound_s` seconds; what fails is logged, and the session has ended all the same.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        clock: Clock,
        ids: Ids,
        hooks: SessionHooks | None = None,
        stop_agents: Clear | None = None,
        forget_memory: Clear | None = None,
        bound_s: float = BOUND_S,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids
        self._hooks = hooks
        self._stop_agents = stop_agents
        self._forget_memory = forget_memory
        self._bound_s = bound_s

    async def start(self, metadata: Mapping[str, JsonValue] | None = None) -> Session:
        """Begin a session; others stay active.

        Raises:
            UsageError: the metadata is more than 64 KiB of JSON.
        """
        kept = _checked(metadata)
        session = Session(
            id=SessionId(self._ids.new()), started_at=self._clock.now_ms(), metadata=kept
        )
        await self._stores.ask(lambda stores: stores.sessions.add(session))
        await self._fire("session-start", session)
        return session

    async def start_next(self, metadata: Mapping[str, JsonValue] | None = None) -> Session:
        """Begin a session once the active one has ended, if there is one.

        Raises:
            UsageError: as `start`; then no session has ended.
        """
        kept = _checked(metadata)
        current = await self.active()
        if current is not None:
            # Somebody else may have ended it meanwhile.
            with suppress(NotFoundError):
                await self.end(current.id)
        return await self.start(kept)

    async def end(self, session_id: SessionId | None = None, *, failed: bool = False) -> Session:
        """End a session, the active one by default; `failed` when it was broken off.

        Raises:
            NotFoundError: there is none, or somebody ended it.
        """
        wanted = session_id or await self._active_id()
        now = self._clock.now_ms()
        status: Literal["ended", "error"] = "error" if failed else "ended"
        ended = wanted is not None and await self._stores.ask(
            lambda stores: stores.sessions.end(wanted, now_ms=now, status=status)
        )
        if wanted is None or not ended:
            raise NotFoundError("Session not found or already ended")
        session = await self.get(wanted)
        await self._see_out(session)
        return session

    async def get(self, session_id: SessionId) -> Session:
        """Return a session.

        Raises:
            NotFoundError: there is no such one.
        """
        found = await self._stores.ask(lambda stores: stores.sessions.find(session_id))
        if found is None:
            raise NotFoundError("Session not found")
        return found

    async def status(self, session_id: SessionId | None = None) -> SessionReport:
        """Return a session, the active one by default, with how many tasks it has.

        Raises:
            NotFoundError: there is no such one.
        """
        session = await (self.get(session_id) if session_id else self._active())
        wanted = TaskFilter(session_id=session.id)
        tasks = await self._stores.ask(lambda stores: stores.tasks.count(wanted))
        return SessionReport.model_validate({**session.model_dump(by_alias=False), "tasks": tasks})

    async def active(self) -> Session | None:
        """Return the active session that was begun last, None without one."""
        return await self._stores.ask(lambda stores: stores.sessions.active())

    async def list(
        self, *, status: str | None = None, limit: int = 100, offset: int = 0
    ) -> Sequence[Session]:
        """Return sessions, the last begun first.

        Raises:
            UsageError: there is no such status, or a number is out of bounds.
        """
        check_number(limit, "limit", least=1, most=1_000)
        check_number(offset, "offset", least=0, most=1_000_000_000)
        word = None if status is None else check_word(status, "status", SESSION_STATUSES)
        return await self._stores.ask(
            lambda stores: stores.sessions.list(status=word, limit=limit, offset=offset)
        )

    async def count(self, *, status: str | None = None) -> int:
        """Return how many sessions there are.

        Raises:
            UsageError: there is no such status.
        """
        word = None if status is None else check_word(status, "status", SESSION_STATUSES)
        return await self._stores.ask(lambda stores: stores.sessions.count(status=word))

    # ------------------------------------------------------------- internals

    async def _active(self) -> Session:
        found = await self.active()
        if found is None:
            raise NotFoundError("No active session")
        return found

    async def _active_id(self) -> SessionId | None:
        found = await self.active()
        return None if found is None else found.id

    async def _see_out(self, session: Session) -> None:
        await self._do("stopping its agents", self._stop_agents, session)
        await self._fire("session-end", session)
        await self._do("forgetting its memory", self._forget_memory, session)

    async def _fire(self, event: Literal["session-start", "session-end"], session: Session) -> None:
        if self._hooks is not None:
            await self._hooks.execute(
                HookContext(event, session_id=session.id, data=dict(session.metadata or {}))
            )

    async def _do(self, what: str, work: Clear | None, session: Session) -> None:
        if work is None:
            return
        try:
            with anyio.fail_after(self._bound_s):
                await work(session.id)
        except TimeoutError:
            _LOG.warning("session %s: %s was given up after %g s", session.id, what, self._bound_s)
        except PerstackError as error:
            _LOG.warning("session %s: %s failed: %s", session.id, what, error.message)


def _checked(metadata: Mapping[str, JsonValue] | None) -> dict[str, JsonValue] | None:
    check_metadata(metadata)
    return None if metadata is None else dict(metadata)
