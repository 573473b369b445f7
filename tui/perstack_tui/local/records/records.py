"""The kinds of records by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from perstack.errors import NotFoundError
from perstack.ports.history import History
from perstack.ports.system import SystemClock, Uuids
from perstack.project import Project
from perstack.wiring import Tables
from perstack_tui.local.records.agents import Agents, Limits
from perstack_tui.local.records.approvals import Approvals
from perstack_tui.local.records.comparisons import Comparisons
from perstack_tui.local.records.loops import Reviews, WorkflowRuns
from perstack_tui.local.records.memory import Memory
from perstack_tui.local.records.people import Identities, Sessions
from perstack_tui.local.records.projects import Projects, Specifications
from perstack_tui.local.records.rows import Kind, page_of
from perstack_tui.local.records.services import Services
from perstack_tui.local.records.tasks import Tasks
from perstack_tui.ports.records import Field, Page, RecordKind


class LocalRecords:
    """Implements `ports.records.Records`. Looking makes no database where there is none."""

    def __init__(
        self,
        workspace: Path,
        tables: Tables,
        history: History,
        project: Callable[[], Awaitable[Project]],
    ) -> None:
        own = Services(workspace, tables, history, project, SystemClock(), Uuids())
        self.services = own
        self._comparisons = Comparisons(own)
        self._kinds: dict[RecordKind, Kind] = {
            "agents": Agents(own),
            "tasks": Tasks(own),
            "memory": Memory(own),
            "sessions": Sessions(own),
            "identities": Identities(own),
            "projects": Projects(own),
            "specifications": Specifications(own),
            "limits": Limits(own),
            "workflows": WorkflowRuns(own),
            "reviews": Reviews(own),
            "approvals": Approvals(own),
            "comparisons": self._comparisons,
        }

    async def version(self) -> str:
        """Return what changes whenever any record does; cheap."""
        compared = await self._comparisons.version()
        if not await self.services.exist():
            return compared
        tables = self.services.tables
        version = await tables.stores.ask(lambda stores: stores.version())
        return f"{version} {await tables.memory.ask(lambda store: store.version())} {compared}"

    async def page(
        self, kind: RecordKind, *, needle: str = "", limit: int = 200, offset: int = 0
    ) -> Page:
        """Return records that match `needle`."""
        records = self._kinds[kind]
        if not await self._exist(kind):
            return page_of(records, (), 0)
        return page_of(records, *await records.page(needle, limit, offset))

    async def details(self, kind: RecordKind, record_id: str) -> Sequence[Field]:
        """Return all of a record."""
        if not await self._exist(kind):
            raise NotFoundError(f"{record_id[:40]!a} is gone")
        return await self._kinds[kind].details(record_id)

    async def act(
        self, kind: RecordKind, record_id: str | None, verb_id: str, text: str | None = None
    ) -> str:
        """Do a verb, to the kind itself where there is no id; return what to tell the user."""
        await self.services.refuse_runs("change records")
        return await self._kinds[kind].act(record_id, verb_id, text)

    async def _exist(self, kind: RecordKind) -> bool:
        # Comparisons are files: there may be some where there is no database.
        return kind == "comparisons" or await self.services.exist()
