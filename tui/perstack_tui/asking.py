"""What the command line asked for: a run to start, a job to go on with and its question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.deeds.items import open_item
from perstack_tui.screens.asking import begin
from perstack_tui.screens.main import MainScreen
from perstack_tui.text import flat

if TYPE_CHECKING:
    from perstack.domain.ids import JobId
    from perstack_tui.app import Cockpit
    from perstack_tui.ports.gateway import Gateway


class FirstQuestion:
    """Opens the sheet of a job's question once there is one, if nobody has typed anything yet."""

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
        elsewhere = not isinstance(app.screen, MainScreen) or app.main.prompt.display
        if elsewhere and not app.incoming.used:
            return
        for item in app.state.pending:
            asked = item.question
            if asked is None or asked.job_id != self._job_id or asked.asked_at < self._since_ms:
                continue
            self._job_id = None
            if app.incoming.used:
                # Somebody is at work here already: a sheet must not take the keyboard from them.
                app.tell(f"{flat(asked.expert_key)} asks: i answers", "info")
                return
            app.state.select_item(item.key)
            open_item(app, item)
            return


class FirstRun:
    """Starts what the command line named, once, as soon as the definitions are known."""

    def __init__(self, app: Cockpit, question: FirstQuestion) -> None:
        self._app = app
        self._question = question
        self._begun = False

    def look(self) -> None:
        """Start it if that can be done now."""
        app = self._app
        definitions = app.state.definitions
        # Without a perstack.toml an Expert of the registry may be meant, or a built-in one.
        if self._begun or not (definitions.experts or definitions.loaded_at):
            return
        self._begun = True
        expert, query = app.opening.expert_key, app.opening.query
        if app.opening.goes_on:
            app.command(self._go_on)
            return
        if expert is None or app.observing:
            return
        if query is None:
            app.main.start_run(expert)
            return

        async def start(gateway: Gateway) -> None:
            app.state.await_run(await gateway.start(expert, query))

        begin(app, expert, start)

    async def _go_on(self, gateway: Gateway) -> None:
        app = self._app
        began = 0 if app.opening.query is None else app.clock.now_ms()
        job_id = await gateway.go_on()
        app.state.await_run(job_id)
        if app.opening.answers:
            self._question.expect(job_id, since_ms=began)
