"""What is told outside the screen: the window's title, the task bar, notifications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perstack_tui.state.away import News, happened, title_of, working

if TYPE_CHECKING:
    from perstack_tui.app import Cockpit


class Telling:
    """Keeps the window's title and the task bar in step; says once what happened meanwhile."""

    def __init__(self, app: Cockpit) -> None:
        self._app = app
        self._news = News()

    def look(self) -> None:
        """Tell what has changed."""
        app = self._app
        state, outside = app.state, app.outside
        outside.title(title_of(state, app.workspace_name))
        outside.progress(working=working(state), now=app.monotonic())
        text = self._news.take(happened(state), away=not app.app_focus)
        if text is not None and app.settings.notify:
            outside.notify(f"perstack {app.workspace_name}", text)
