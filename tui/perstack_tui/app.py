"""The app: it opens the gateway after the first paint, pumps updates to the screen, and leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.screen import ModalScreen, Screen
from textual.worker import Worker

from perstack.domain.ids import RunId
from perstack.errors import PerstackError
from perstack_tui.asking import FirstQuestion, FirstRun
from perstack_tui.commands import Commands
from perstack_tui.holding import Holding
from perstack_tui.incoming import Incoming
from perstack_tui.leaving import (
    HANGUP_CODE,
    LAST_RESORT_S,
    LEAVE_S,
    SIGNAL_LEAVE_S,
    FromThreads,
    Leaving,
)
from perstack_tui.opening import Opening
from perstack_tui.pacer import Helpings, Pacer
from perstack_tui.ports.gateway import Gateway
from perstack_tui.ports.records import RecordKind
from perstack_tui.ports.travel import Moment
from perstack_tui.remembering import Remembering
from perstack_tui.screens.main import MainScreen
from perstack_tui.screens.sheet import Sheet
from perstack_tui.state.away import moves
from perstack_tui.state.cockpit import CockpitState, Tone, next_notice, toast_seconds
from perstack_tui.state.definitions import shortened
from perstack_tui.state.pump import Pump
from perstack_tui.state.stream import Live
from perstack_tui.telling import Telling
from perstack_tui.terminal_app import TerminalApp
from perstack_tui.text import flat
from perstack_tui.timers import after
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.pane import Pane

Result = TypeVar("Result")


class Cockpit(TerminalApp, inherit_bindings=False):
    """Thin: state is in `CockpitState`, painting in the screens, work behind the gateway."""

    CSS_PATH = "styles/cockpit.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "Quit now", show=False, priority=True)
    ]

    def __init__(self, opening: Opening, driver: type[Driver] | None = None) -> None:
        super().__init__(opening, driver)
        self.clock, self.monotonic = opening.clock, opening.monotonic
        self.workspace_name = opening.workspace.name or str(opening.workspace)
        self.observing, self.reviewer = opening.observing, opening.reviewer
        self.state = CockpitState(host=opening.host, awaited_job=opening.job_id)
        self.title = f"perstack {self.workspace_name}"
        self.gateway: Gateway | None = None
        self._pump: Pump | None = None
        self.updates: Worker[None] | None = None
        self._ticking = False
        self._leaving = Leaving(self)
        self._from_threads: FromThreads | None = None
        self.pacer = Pacer(self, self._paint, opening.monotonic)
        self._helpings = Helpings(self, self._fold_one)
        self._telling = Telling(self)
        self.remembering = Remembering(self)
        self.incoming = Incoming(self.call_later, opening.monotonic)
        self.holding = Holding(self)
        self._first_question = FirstQuestion(self)
        self._first_run = FirstRun(self, self._first_question)
        self._commands = Commands(self)

    async def on_event(self, event: events.Event) -> None:
        """Judge what comes from the terminal before any screen sees it."""
        # What was handed on may bubble up back to here.
        if event.is_forwarded or self.incoming.takes(event):
            await super().on_event(event)

    def get_default_screen(self) -> Screen[None]:
        """The main screen."""
        return MainScreen(self)

    @property
    def main(self) -> MainScreen:
        """The main screen, whatever is open over it."""
        screen = self.screen_stack[0]
        if not isinstance(screen, MainScreen):
            raise TypeError(f"the main screen is {screen!r}")
        return screen

    def on_mount(self) -> None:
        """Paint the empty frame first; the runtime is loaded after that."""
        loop = asyncio.get_running_loop()
        self._from_threads = FromThreads()
        for number, code in self.opening.signals.items():
            loop.add_signal_handler(number, self._leaving.signalled, number, code)
        self.call_after_refresh(self._begin)

    # --- updates ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self.remembering.restore()
        if self.opening.trouble is not None:
            self.tell(self.opening.trouble, "bad")
        self.updates = self.run_worker(self._open, group="updates")
        self.beside(self.follow_files, "files")

    async def _open(self) -> None:
        try:
            self._pump = Pump(self.opening.make_fold(), self.monotonic)
            self.gateway = await self.opening.open_gateway()
            await self._pump.consume(self.gateway.updates(), self.request_paint)
        except PerstackError as error:
            self.report(error)
        except ExceptionGroup as group:
            told, others = group.split(PerstackError)
            if others is not None:
                raise
            self.report(PerstackError(_first_of(told)))

    def let_updates_pass(self) -> None:
        """Fold nothing any more."""
        if self._pump is not None:
            self._pump.let_pass()

    @property
    def paint_pending(self) -> bool:
        """Whether a paint was asked for and not made yet."""
        return self.pacer.pending

    @property
    def clock_running(self) -> bool:
        """Whether ages and countdowns will be painted again a second from now."""
        return self._ticking

    def request_paint(self, *, now: bool = False) -> None:
        """Paint, `now` for what a key did, else after a frame's time; many requests, one paint."""
        if self._running and not self._leaving.begun:
            self.pacer.request(now=now)

    def _paint(self) -> None:
        pump = self._pump
        if pump is not None:
            pump.drain(self.clock.now_ms())
            self._take(pump)
        self.refresh_screens()
        self.remembering.restore_scroll()
        self.remembering.note()
        self._telling.look()
        if pump is not None and pump.dirty:
            self._helpings.go_on()
        elif not self._ticking and moves(self.state, motion=self.settings.motion):
            self._ticking = True
            after(self, 1.0, self._tick)

    def _fold_one(self) -> bool:
        """Fold a helping of what is left; say whether there is more."""
        pump = self._pump
        if pump is None or not self._running or self._leaving.begun:
            return False
        pump.drain(self.clock.now_ms())
        self.request_paint()
        return pump.dirty

    def _take(self, pump: Pump) -> None:
        state = self.state
        state.definitions, state.local_jobs = pump.definitions, pump.local_jobs
        state.agents_on_record = pump.agents
        state.take(pump.fold.view(), hold_inbox=self.main.active == "inbox")
        self.holding.note_news()
        self.holding.look()
        self._first_question.look()
        while pump.troubles:
            trouble = pump.troubles.popleft()
            if trouble.is_warning:
                self.tell(trouble.message)
            else:
                self.report(PerstackError(trouble.message, hint=trouble.hint))
        self._first_run.look()

    def _tick(self) -> None:
        self._ticking = False
        self.request_paint()

    def refresh_screens(self) -> None:
        """Paint what is known now, on every screen."""
        self.main.refresh_view()
        for screen in self.screen_stack[1:]:
            if isinstance(screen, Sheet) and screen.can_paint:
                screen.refresh_view()

    def live_text(self, run_id: RunId) -> Live | None:
        """Return what a run's model is saying."""
        return None if self._pump is None else self._pump.fold.live(run_id)

    # --- work -------------------------------------------------------------------------------

    def tell(self, text: str, tone: Tone = "info") -> None:
        """Show a message above the footer."""
        self.state.notice = next_notice(self.state.notice, text, tone)
        if isinstance(self.screen, Sheet):
            self.notify(flat(text), markup=False, timeout=toast_seconds(tone))
        self.request_paint()

    def report(self, error: PerstackError) -> None:
        """Show an error with its hint."""
        path = self.state.definitions.path or self.opening.workspace / "perstack.toml"
        hint = f" - {error.hint}" if error.hint else ""
        self.tell(shortened(error.message, path) + hint, "bad")

    def command(
        self,
        work: Callable[[Gateway], Awaitable[None]],
        failed: Callable[[PerstackError], None] | None = None,
    ) -> None:
        """Do `work` with the gateway; an error is told to `failed`, or to the user."""
        if not self._leaving.begun:
            self._commands.do(work, failed)

    # --- look -------------------------------------------------------------------------------

    def open_sheet(
        self, sheet: ModalScreen[Result], closed: Callable[[Result | None], None] | None = None
    ) -> None:
        """Open a sheet over the main screen; `closed` gets what it gave."""
        if not self._leaving.begun:
            self.clear_notifications()  # They would cover what is to be read now.
            self.push_screen(sheet, closed)

    def pop_screen(self) -> AwaitComplete:
        """Close the topmost sheet; what was typed ahead for it does nothing below it."""
        self.main.hold_keys()
        if self.main in self.screen_stack[-2:-1]:  # It has a line for what was told a moment ago.
            self.call_later(self.clear_notifications)
        return super().pop_screen()

    def travel_to(self, moment: Moment) -> None:
        """Show a job as it was at a checkpoint."""
        from perstack_tui.screens.travel import TravelScreen

        self.open_sheet(TravelScreen(self, moment))

    def show_definitions(self) -> None:
        """Show what the last save of `perstack.toml` changed."""
        from perstack_tui.screens.definitions import DefinitionsSheet

        self.open_sheet(DefinitionsSheet(self))

    def open_records(self, kind: RecordKind, needle: str = "") -> None:
        """Show what a shared table holds."""
        from perstack_tui.screens.records import RecordsScreen

        self.open_sheet(RecordsScreen(self, kind, needle))

    def choose_theme(self) -> None:
        """Open the list of themes."""
        from perstack_tui.screens.themes import ThemeSheet

        self.open_sheet(ThemeSheet(self))

    def repaint_all(self) -> None:
        """Paint everything anew: colours, glyphs or keys have changed."""
        if not self.is_running:
            return
        for screen in self.screen_stack:
            for widget in screen.query(Pane):
                widget.forget_paint()
            for widget in screen.query(Bar):
                widget.refresh()
        self.request_paint(now=True)

    # --- leaving ----------------------------------------------------------------------------

    def ask_to_quit(self) -> None:
        """Leave, asking first when runs of this process would be affected."""
        self._leaving.ask()

    def step_aside(self) -> None:
        """Stop this process for the shell; with runs at work here only when pressed again."""
        self._leaving.step_aside()

    async def action_quit(self) -> None:
        """Quit as `q` does; Textual calls this from its own keys."""
        self.ask_to_quit()

    def action_interrupt(self) -> None:
        """Warn at the first, leave at the second within 1.5 s."""
        self._leaving.interrupt()

    def hang_up(self) -> None:
        """Leave, since the terminal is gone; called from the thread that reads it."""
        self.opening.end_after(HANGUP_CODE, SIGNAL_LEAVE_S + LAST_RESORT_S)
        self._in_loop(lambda: self.leave(HANGUP_CODE, SIGNAL_LEAVE_S))

    def repaint(self) -> None:
        """Paint everything, since the terminal missed a part; called from the writing thread."""

        def paint() -> None:
            self.refresh(layout=True)
            self.request_paint(now=True)

        self._in_loop(paint)

    def _in_loop(self, work: Callable[[], object]) -> None:
        if self._from_threads is not None:
            self._from_threads.run(work)

    def lost(self) -> str:
        """Return in words which decisions are dropped when the program ends now."""
        held = self.holding.in_words()
        return f"Not sent, so it waits still: {held}" if held else ""

    def leave(self, code: int, within_s: float = LEAVE_S) -> None:
        """Stop what runs here at a step boundary, close everything, end with `code`."""
        self._leaving.leave(code, within_s)


def _first_of(group: BaseExceptionGroup[PerstackError] | None) -> str:
    """Return the message of the first error in the group."""
    error: BaseException | None = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error.message if isinstance(error, PerstackError) else "something failed"
