"""The base of what opens over the main screen."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from perstack_tui.ports.host import Host
from perstack_tui.widgets.pane import Pane

Result = TypeVar("Result")
# What a person did; several of them may be on their way when the first one closes the sheet.
_DEEDS: Final = (events.InputEvent, events.Paste, Input.Submitted, Input.Changed, Pane.Chosen)


class Sheet(ModalScreen[Result], Generic[Result]):
    """A screen over the main one that is told when the view changed.

    It closes once: what was typed behind the key that closed it does nothing in it any more.
    """

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.host = host
        self._is_left = self._is_gone = False
        self._outcome: Result | None = None

    @property
    def can_paint(self) -> bool:
        """Whether its widgets are there: neither still being made nor already taken away."""
        return self.is_mounted and not self._is_left

    def refresh_view(self) -> None:
        """Paint what is known now."""

    def on_pane_resized(self, event: Pane.Resized) -> None:
        """Fill the pane to its new size."""
        event.stop()
        self.refresh_view()

    def on_pane_wheeled(self, event: Pane.Wheeled) -> None:
        """Take in what came into view."""
        event.stop()
        if self.can_paint:
            self.refresh_view()

    def on_dragging_dragged(self, event: Pane.Dragged) -> None:
        """Copy what was selected with the mouse."""
        event.stop()
        self.host.copy(event.text, "what you selected")

    # --- closing ----------------------------------------------------------------------------

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        """Close with `result`, unless it was closed before; below another sheet, after that."""
        if self._is_left:
            return AwaitComplete.nothing()
        self._is_left, self._outcome = True, result
        # Textual takes away the topmost screen, whichever is told to go.
        if not self.is_active:
            return AwaitComplete.nothing()
        self._is_gone = True
        return super().dismiss(result)

    def on_screen_resume(self) -> None:
        """Go now if it was closed while another sheet was open over it."""
        if self._is_left and not self._is_gone:
            self._is_gone = True
            super().dismiss(self._outcome)

    async def _dispatch_message(self, message: Message) -> None:
        """Take nothing that was done behind the key that closed the sheet."""
        if self._is_left and isinstance(message, _DEEDS):
            message.stop()
        else:
            await super()._dispatch_message(message)
