"""Keeping the session: written two seconds after something changed, and on leaving."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from perstack_tui.restoring import write_session
from perstack_tui.state.session import Session, apply, session_of
from perstack_tui.timers import after

if TYPE_CHECKING:
    from perstack_tui.app import Cockpit

_LOG: Final = logging.getLogger(__name__)
QUIET_S: Final = 2.0
WRITE_WITHIN_S: Final = 1.0


class Remembering:
    """Of one cockpit; one without places remembers nothing."""

    def __init__(self, app: Cockpit) -> None:
        self._app = app
        self._written: Session | None = app.opening.session
        self._waiting = self._restored = False

    def restore(self) -> None:
        """Put the cockpit's state back as it was; what was asked for on opening comes first."""
        session, opening = self._app.opening.session, self._app.opening
        if session is None:
            return
        asked = opening.job_id is not None or opening.goes_on or opening.query is not None
        apply(session, self._app.state, selection=not asked)
        if session.theme is not None and session.theme == self._app.theme_name:
            self._app.chosen_theme = session.theme
        # What was asked for is to be seen, and is no Expert's definition.
        self._app.main.go_to("tree" if asked and session.pane == "experts" else session.pane)

    def restore_scroll(self) -> None:
        """Scroll to where it was, once, when all there is was read."""
        session = self._app.opening.session
        if self._restored or not self._app.state.index.view.caught_up:
            return
        self._restored = True
        self._app.opening.loaded()
        if session is None:
            return
        panes = self._app.main.panes
        for name, top in session.tops.items():
            if name in panes and not (name == "stream" and session.following):
                panes[name].scroll_lines(top - panes[name].top)

    def note(self) -> None:
        """Have what changed written soon."""
        if self._app.opening.places is None or self._waiting or not self._restored:
            return
        if self._now() != self._written:
            self._waiting = True
            after(self._app, QUIET_S, self._due)

    def _due(self) -> None:
        self._waiting = False
        self._app.run_worker(self.write, group="remembering", exclusive=True)

    async def write(self) -> None:
        """Write what is to be remembered, within a second; that it failed is only logged."""
        places, session = self._app.opening.places, self._now()
        if places is None or not self._restored or session == self._written:
            return
        environ = self._app.opening.environ
        with anyio.move_on_after(WRITE_WITHIN_S):
            try:
                await anyio.to_thread.run_sync(
                    write_session, session, places.session, environ, abandon_on_cancel=True
                )
            except OSError as error:
                _LOG.warning("the session cannot be written: %s", error)
            self._written = session

    def _now(self) -> Session:
        app = self._app
        panes = app.main.panes
        return session_of(
            app.state,
            pane=app.main.active,
            tops={name: pane.top for name, pane in panes.items() if pane.top},
            following=panes["stream"].following,
            theme=(app.chosen_theme, app.settings.theme) if app.chosen_theme else None,
        )
