"""The registry's actions in Textual's command palette."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from perstack_tui.actions import ACTIONS
from perstack_tui.screens.main import MainScreen


class ActionProvider(Provider):
    """Offers every action of the main screen; the texts are ours, never a model's."""

    async def discover(self) -> Hits:
        """Yield all of them."""
        for action, screen in self._offered():
            yield DiscoveryHit(
                f"{action.label.capitalize()}  {action.shown}",
                partial(screen.action_do, action.id),
                help=action.help,
            )

    async def search(self, query: str) -> Hits:
        """Yield those whose words match."""
        matcher = self.matcher(query)
        for action, screen in self._offered():
            text = f"{action.label.capitalize()}  {action.shown}"
            score = max(matcher.match(text), matcher.match(action.help) * 0.8)
            if score > 0:
                yield Hit(
                    score,
                    matcher.highlight(text),
                    partial(screen.action_do, action.id),
                    help=action.help,
                )

    def _offered(self):
        screen = self.screen
        if isinstance(screen, MainScreen):
            for action in ACTIONS:
                if action.palette:
                    yield action, screen
