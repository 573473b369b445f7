"""What the records screen shows: loaded when it is shown, and again once the tables change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from perstack.errors import PerstackError
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.host import Host
from perstack_tui.ports.records import RecordKind
from perstack_tui.screens.latest import Latest
from perstack_tui.screens.travel_loading import told
from perstack_tui.state.records import PAGE_ROWS, Browsing

POLL_S: Final = 0.5
TYPING_S: Final = 0.12


class RecordsLoading:
    """Fills in a `Browsing`; `changed` is called when there is something new to paint.

    While it is open, what the tables' version is gets asked twice a second. Nothing is loaded or
    painted unless that is another one.
    """

    def __init__(self, host: Host, at: Browsing, changed: Callable[[], None]) -> None:
        self._host = host
        self._at = at
        self._changed = changed
        self._pages = Latest(host, changed)
        self._details = Latest(host, changed)
        self._version: str | None = None
        self._scope: anyio.CancelScope | None = None
        self._closed = False

    def open(self) -> None:
        """Begin; while the runtime is still being opened `again` has to be called."""
        self._host.command(self._follow, self._refused)

    @property
    def following(self) -> bool:
        """Whether the tables are looked at, or never will be any more."""
        return self._scope is not None or self._closed

    @property
    def busy(self) -> bool:
        """Whether records or details are being loaded."""
        return self._pages.busy or self._details.busy

    def close(self) -> None:
        """Load nothing any more: the screen is being left."""
        self._closed = True
        self._pages.drop()
        self._details.drop()
        if self._scope is not None:
            self._scope.cancel()

    def _refused(self, error: PerstackError) -> None:
        self._at.problem = told(error)
        self._changed()

    async def _follow(self, gateway: Gateway) -> None:
        if self._closed:
            return
        with anyio.CancelScope() as self._scope:
            while True:
                await self._look(gateway)
                await anyio.sleep(POLL_S)

    async def _look(self, gateway: Gateway) -> None:
        try:
            version = await gateway.records.version()
        except PerstackError as error:
            self._version = None
            if self._at.problem != told(error):
                self._failed(error)
                self._changed()
            return
        if version != self._version:
            self._version = version
            self.reload()

    # --- pages ------------------------------------------------------------------------------

    def reload(self, *, typing: bool = False) -> None:
        """Load anew as many records as are shown; `typing` waits for the next key first."""
        at = self._at
        kind, needle = at.kind, at.needle
        loaded = len(at.page.rows) if at.page is not None else 0
        limit = max(PAGE_ROWS, -(-loaded // PAGE_ROWS) * PAGE_ROWS)

        async def load(gateway: Gateway) -> None:
            if typing:
                await anyio.sleep(TYPING_S)
            page = await gateway.records.page(kind, needle=needle, limit=limit)
            if (at.kind, at.needle) == (kind, needle):
                at.take(page)
                self.look_at_details(anew=True)

        self._pages.want(load, self._failed)

    def load_more(self) -> None:
        """Load the records behind those that are loaded, unless something is under way."""
        at, page = self._at, self._at.page
        if page is None or self._pages.busy or not at.wants_more:
            return
        self._load_behind(at.kind, at.needle, len(page.rows) + PAGE_ROWS)

    def load_all_to_end(self) -> None:
        """Load all there are, and go to the last."""
        at, page = self._at, self._at.page
        if page is not None and len(page.rows) < page.total:
            at.busy = f"loading all {page.total:,}"
            self._load_behind(at.kind, at.needle, page.total, last=True)

    def _load_behind(
        self, kind: RecordKind, needle: str, limit: int, *, last: bool = False
    ) -> None:
        at = self._at

        async def load(gateway: Gateway) -> None:
            page = await gateway.records.page(kind, needle=needle, limit=limit)
            if (at.kind, at.needle) != (kind, needle):
                return
            at.take(page)
            if last and page.rows:
                at.choose(page.rows[-1].id)
            self.look_at_details()

        self._pages.want(load, self._failed)

    def _failed(self, error: PerstackError) -> None:
        self._at.problem, self._at.busy = told(error), ""

    # --- details ----------------------------------------------------------------------------

    def look_at_details(self, *, anew: bool = False) -> None:
        """Load all of the selected record, unless it is there; `anew` in any case."""
        at = self._at
        row = at.row
        if row is None:
            at.details, at.details_of = None, None
            return
        wanted = (at.kind, row.id)
        if at.details_of == wanted and not anew:
            return
        if at.details_of != wanted:
            at.details = None
        at.details_of = wanted

        async def load(gateway: Gateway) -> None:
            found = await gateway.records.details(*wanted)
            if at.details_of == wanted:
                at.details = found

        def failed(error: PerstackError) -> None:
            if at.details_of == wanted:
                at.details, at.problem = (), told(error)

        self._details.want(load, failed)

    # --- verbs ------------------------------------------------------------------------------

    def act(self, record_id: str | None, verb_id: str, text: str | None, busy: str) -> None:
        """Do a verb; what comes of it is said, and the list loaded anew."""
        at = self._at
        kind = at.kind
        at.busy, at.said, at.problem = busy, "", ""

        async def do(gateway: Gateway) -> None:
            said = await gateway.records.act(kind, record_id, verb_id, text)
            at.said, at.busy = said, ""
            self.reload()

        def failed(error: PerstackError) -> None:
            self._failed(error)
            self._changed()

        self._host.command(do, failed)
