"""The base of what opens over the main screen."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.screen import ModalScreen

from perstack_tui.screens.port import Host
from perstack_tui.widgets.pane import Pane

Result = TypeVar("Result")


class Sheet(ModalScreen[Result], Generic[Result]):
    """A screen over the main one that is told when the view changed."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def refresh_view(self) -> None:
        """Paint what is known now."""

    def on_pane_resized(self, event: Pane.Resized) -> None:
        """Fill the pane to its new size."""
        event.stop()
        self.refresh_view()
