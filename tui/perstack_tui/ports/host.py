"""What a screen may ask of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from textual.screen import ModalScreen

from perstack.domain.ids import RunId
from perstack.errors import PerstackError
from perstack.ports.system import Clock
from perstack_tui.holding import Holding
from perstack_tui.incoming import Incoming
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

    def live_text(self, run_id: RunId) -> Live | None:
        """Return what a run's model is saying."""
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

    @property
    def holding(self) -> Holding:
        """Decisions between the key and the database."""
        ...

    @property
    def incoming(self) -> Incoming:
        """What came from the terminal."""
        ...

    def request_paint(self, *, now: bool = False) -> None:
        """Paint soon; `now` for what a key did."""
        ...

    def open_sheet(
        self, sheet: ModalScreen[Result], closed: Callable[[Result | None], None] | None = None
    ) -> None:
        """Open a sheet over the main screen; `closed` gets what it gave."""
        ...

    def repaint(self) -> None:
        """Paint everything, whatever the terminal shows."""
        ...

    def ask_to_quit(self) -> None:
        """Leave, asking first when that would affect runs."""
        ...

    @property
    def theme_name(self) -> str:
        """The theme that is worn."""
        ...

    @property
    def theme_names(self) -> tuple[str, ...]:
        """The themes there are, shipped and the user's."""
        ...

    def choose_theme(self) -> None:
        """Open the list of themes."""
        ...

    def try_theme(self, name: str) -> None:
        """Wear a theme for now.

        Raises:
            UsageError: there is none of that name.
        """
        ...

    def set_theme(self, name: str) -> None:
        """Wear a theme from now on; that there is none of that name is told."""
        ...

    def set_mouse(self, *, on: bool | None = None) -> None:
        """Take the mouse, or leave it to the terminal; None turns it round."""
        ...

    def save_picture(self, path: Path | None = None) -> None:
        """Save the screen as SVG, secrets left out; tell where."""
        ...

    def edit_settings(self) -> None:
        """Open `cockpit.toml` in the editor; written with its defaults first if there is none."""
        ...

    def step_aside(self) -> None:
        """Stop this process for the shell; with runs at work here only when pressed again."""
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
