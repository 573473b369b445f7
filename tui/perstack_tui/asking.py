"""`--continue -i`: the cockpit opens straight into what the job asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.deeds.items import open_item
from perstack_tui.screens.main import MainScreen

if TYPE_CHECKING:
    from perstack.domain.ids import JobId
    from perstack_tui.app import Cockpit


class FirstQuestion:
    """Opens the sheet of a job's question once there is one, unless the user went elsewhere."""

    def __init__(self, app: Cockpit) -> None:
        self._app = app
        self._job_id: JobId | None = None
        self._since_ms = 0

    def expect(self, job_id: JobId, *, since_ms: int) -> None:
        """Open the first question of `job_id` that was asked at `since_ms` (Unix ms) or later."""
        self._job_id, self._since_ms = job_id, since_ms
        self.look()

    def look(self) -> None:
        """Open it if it is there."""
        app = self._app
        if self._job_id is None or app.observing:
            return
        if not isinstance(app.screen, MainScreen) or app.main.prompt.display:
            return
        for item in app.state.pending:
            asked = item.question
            if asked is None or asked.job_id != self._job_id or asked.asked_at < self._since_ms:
                continue
            self._job_id = None
            app.state.select_item(item.key)
            open_item(app, item)
            return
