"""The cockpit over the fake gateway, with keys, clock and updates in the test's hands."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from textual import events
from textual.pilot import Pilot
from textual.widget import Widget

from perstack.domain.ids import ExpertKey, JobId
from perstack.errors import PerstackError
from perstack.ports.history import FeedBatch
from perstack.projection.views import WorkspaceView
from perstack_tui.app import Cockpit
from perstack_tui.opening import Opening
from perstack_tui.ports.gateway import DefinitionsUpdate, Gateway
from perstack_tui.settings import Settings
from perstack_tui.widgets.bar import Bar
from perstack_tui.widgets.pane import Pane
from tests.fakes.consensus import SetClock
from tests.fakes.gateway import NOW, FakeGateway, ShownFold, definitions, local

_CHARACTERS = {"space": " ", "slash": "/", "question_mark": "?", "enter": "\r", "tab": "\t"}


class _Caught(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def no_bugs(*, expected: bool) -> Generator[None]:
    """Fail for a bug that the cockpit only logged, unless it is `expected`."""
    caught, log = _Caught(), logging.getLogger("perstack_tui.bugs")
    log.addHandler(caught)
    try:
        yield
    finally:
        log.removeHandler(caught)
    bug = next((record.exc_info[1] for record in caught.records if record.exc_info), None)
    if bug is not None and not expected:
        raise bug


class HandClock:
    """Monotonic seconds that move only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stage:
    """A cockpit that is running."""

    def __init__(
        self,
        view: WorkspaceView,
        *,
        theme: str = "dark",
        observing: bool = False,
        expert: str | None = None,
        query: str | None = None,
        job_id: str | None = None,
        goes_on: bool = False,
        answers: bool = False,
        failing: PerstackError | None = None,
        hold_s: float = 0.0,
        bugs: bool = False,
    ) -> None:
        self._failing = failing
        self._bugs = bugs
        self.gateway = FakeGateway()
        self.fold = ShownFold(view)
        self.seconds = HandClock()
        self.clock = SetClock(NOW)
        self.app = Cockpit(
            Opening(
                Path("/w/release-notes"),
                self._open,
                lambda: self.fold,
                theme=theme,
                settings=Settings(hold_s=hold_s),
                observing=observing,
                expert_key=ExpertKey(expert) if expert else None,
                query=query,
                job_id=JobId(job_id) if job_id else None,
                goes_on=goes_on,
                answers=answers,
                reviewer="ana@pi",
                host="pi",
                clock=self.clock,
                monotonic=self.seconds,
            )
        )
        self._pilot: Pilot[int] | None = None

    async def _open(self) -> Gateway:
        if self._failing is not None:
            raise self._failing
        return self.gateway

    @property
    def pilot(self) -> Pilot[int]:
        assert self._pilot is not None
        return self._pilot

    @asynccontextmanager
    async def play(
        self,
        *,
        size: tuple[int, int] = (120, 40),
        defined: DefinitionsUpdate | None = None,
        here: tuple[str, ...] = ("job-8f3a",),
    ) -> AsyncGenerator[None]:
        async with self.app.run_test(size=size) as pilot:
            await self.join(pilot, defined or definitions(), here)
            with no_bugs(expected=self._bugs):
                yield

    def take_over(self, pilot: Pilot[int]) -> None:
        """Take over a cockpit that was started by somebody else."""
        self._pilot = pilot

    async def join(
        self, pilot: Pilot[int], defined: DefinitionsUpdate, here: tuple[str, ...]
    ) -> None:
        """Take over a cockpit that was started by somebody else; wait for its first view."""
        self.take_over(pilot)
        self.gateway.say(local(*here))
        self.gateway.say(FeedBatch(caught_up=True))
        self.gateway.say(defined)
        await self.until(lambda: self.app.state.definitions.path is not None)
        await self.settle()

    async def press(self, *keys: str, after: float = 1.0) -> None:
        """Press keys; `after` seconds pass on the hand clock before each."""
        for key in keys:
            self.seconds.now += after
            self.app.post_message(
                events.Key(key, _CHARACTERS.get(key, key if len(key) == 1 else None))
            )
            await self.settle()

    async def rush(self, *keys: str) -> None:
        """Press keys as one read gives them: none waits for what the one before it does."""
        for key in keys:
            self.seconds.now += 1
            character = _CHARACTERS.get(key, key if len(key) == 1 else None)
            self.app.post_message(events.Key(key, character))
        await self.settle()

    async def burst(self, *keys: str) -> None:
        """Press keys in no time at all, after a moment of quiet."""
        self.seconds.now += 2
        for key in keys:
            character = _CHARACTERS.get(key, key if len(key) == 1 else None)
            self.app.post_message(events.Key(key, character))
        await self.settle()

    async def wheel(self, pane: Pane) -> None:
        """Turn the mouse's wheel downwards over `pane`, once."""
        turned = events.MouseScrollDown(pane, 3, 3, 0, 0, 0, shift=False, meta=False, ctrl=False)
        pane.post_message(turned)
        await self.settle()

    async def confirm(self) -> None:
        """Type the word that the open review asks for before it approves what is of high risk."""
        await self.press("a")
        label = self.text_of("#review-word-label")
        await self.write(label.split("type ")[1].split(" ")[0])

    async def write(self, text: str) -> None:
        """Type `text`."""
        await self.press(*("space" if letter == " " else letter for letter in text))

    async def show(self, view: WorkspaceView) -> None:
        """Make the fold show `view`, as if something had happened."""
        self.fold.shown = view
        self.gateway.say(FeedBatch())
        await self.until(lambda: self.app.state.index.view is view)
        await self.settle()

    async def settle(self) -> None:
        """Wait until messages are handled and what was asked to be painted is painted."""
        for _ in range(4):
            await self.pilot.pause(0)
        await self.until(lambda: not self.app.paint_pending or self.app.return_code is not None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`, for at most five seconds."""
        for _ in range(1000):
            if condition():
                return
            await self.pilot.pause(0.005)
        raise AssertionError("the condition did not come true")

    def text_of(self, selector: str) -> str:
        """Return what a pane or bar shows, line by line."""
        widget = self.app.screen.query_one(selector, Widget)
        assert isinstance(widget, (Pane, Bar))
        return "\n".join(widget.render_line(y).text for y in range(widget.size.height))

    def screen_text(self) -> str:
        """Return all that panes and bars show."""
        painted = [
            widget for widget in self.app.screen.query(Widget) if isinstance(widget, (Pane, Bar))
        ]
        return "\n".join(
            widget.render_line(y).text
            for widget in painted
            if widget.display
            for y in range(widget.size.height)
        )
