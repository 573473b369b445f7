"""The base of what opens over the main screen."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.screen import ModalScreen

from perstack_tui.screens.port import Host

Result = TypeVar("Result")


class Sheet(ModalScreen[Result], Generic[Result]):
    """A screen over the main one that is told when the view changed."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host

    def refresh_view(self) -> None:
        """Paint what is known now."""
