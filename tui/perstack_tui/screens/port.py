"""What a screen may ask of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from textual.screen import ModalScreen

from perstack.errors import PerstackError
from perstack.ports.system import Clock
from perstack_tui.gateway import Gateway
from perstack_tui.state.cockpit import CockpitState, Tone
from perstack_tui.state.stream import Live

Result = TypeVar("Result")


class Host(Protocol):
    """The app, as screens know it."""

    @property
    def state(self) -> CockpitState:
        """What is known and selected."""
        ...

    @property
    def clock(self) -> Clock:
        """Wall-clock time."""
        ...

    @property
    def monotonic(self) -> Callable[[], float]:
        """Seconds that never go back."""
        ...

    @property
    def workspace_name(self) -> str:
        """The folder's name."""
        ...

    @property
    def observing(self) -> bool:
        """Whether nothing may be started or decided here."""
        ...

    @property
    def reviewer(self) -> str:
        """Who decides, as the record names them."""
        ...

    def live_text(self) -> Live | None:
        """Return what the selected run's model is saying."""
        ...

    def tell(self, text: str, tone: Tone = "info") -> None:
        """Show a message above the footer."""
        ...

    def command(
        self,
        work: Callable[[Gateway], Awaitable[None]],
        failed: Callable[[PerstackError], None] | None = None,
    ) -> None:
        """Do `work` with the gateway; an error is told to `failed`, or to the user."""
        ...

    def request_paint(self, *, now: bool = False) -> None:
        """Paint soon; `now` for what a key did."""
        ...

    def open_sheet(
        self, sheet: ModalScreen[Result], closed: Callable[[Result | None], None] | None = None
    ) -> None:
        """Open a sheet over the main screen; `closed` gets what it gave."""
        ...

    def ask_to_quit(self) -> None:
        """Leave, asking first when that would affect runs."""
        ...

    def next_theme(self) -> None:
        """Change the theme."""
        ...
