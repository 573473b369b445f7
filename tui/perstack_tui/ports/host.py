"""What a screen may ask of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from textual.screen import ModalScreen

from perstack.errors import PerstackError
from perstack.ports.system import Clock
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.records import RecordKind
from perstack_tui.ports.travel import Moment
from perstack_tui.settings import Settings
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

    @property
    def settings(self) -> Settings:
        """How the user wants the cockpit; another object once the file was saved."""
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

    async def edit_text(self, text: str, *, suffix: str = ".md") -> str | None:
        """Have `text` edited in $EDITOR; None when nothing was saved."""
        ...

    def edit_file(self, path: Path, line: int = 1) -> None:
        """Open a file in $EDITOR, at a line from 1."""
        ...

    def copy(self, text: str, what: str) -> None:
        """Put `text` on the clipboard, over ssh and tmux as well; tell that `what` was copied."""
        ...

    def travel_to(self, moment: Moment) -> None:
        """Show a job as it was at a checkpoint."""
        ...

    def show_definitions(self) -> None:
        """Show what the last save of `perstack.toml` changed."""
        ...

    def open_records(self, kind: RecordKind, needle: str = "") -> None:
        """Show what a shared table holds."""
        ...
