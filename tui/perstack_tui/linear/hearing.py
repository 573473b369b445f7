"""What happens, as lines: what runs do, what begins to wait, what somebody else decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from anyio.lowlevel import checkpoint

from perstack.domain.ids import ConsensusId
from perstack.ports.history import FeedBatch
from perstack.ports.system import Clock
from perstack.projection.views import WorkspaceView
from perstack.projection.watch_plain import WatchPlain
from perstack_tui.linear.lists import Numbers, item_line
from perstack_tui.ports.gateway import Update
from perstack_tui.state.definitions import definitions_problem, shortened
from perstack_tui.state.inbox import Item, ItemKey, items_of, pauses_of
from perstack_tui.state.index import Index, index_of
from perstack_tui.state.pump import Fold, Pump
from perstack_tui.state.wording import decided_by, outcome_of
from perstack_tui.text import flat

WIDTH: Final = 160


@dataclass(frozen=True, slots=True)
class Heard:
    """Lines of what runs do, and of what concerns the user; `calls`: somebody is waited for."""

    runs: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    calls: bool = False


class Hearing:
    """Folds updates and says what is new in them. The index is brought up to date with each."""

    def __init__(self, fold: Fold, clock: Clock, monotonic: Callable[[], float]) -> None:
        self.pump = Pump(fold, monotonic)
        self.index: Index = index_of(fold.view())
        self.numbers = Numbers()
        self.decided_here: set[ConsensusId] = set()
        self._clock = clock
        self._watch = WatchPlain(width=WIDTH, teaches=False)
        self._waited: dict[ConsensusId, int] = {}
        self._problem = ""
        self._provider = ""

    @property
    def now_ms(self) -> int:
        """Unix milliseconds."""
        return self._clock.now_ms()

    @property
    def lives(self) -> bool:
        """Whether some process drives a job, so that time alone can change something."""
        return any(job.alive for job in self.index.view.jobs)

    @property
    def pending(self) -> list[Item]:
        """What waits for the user, most urgent first."""
        view = self.index.view
        waiting = [one for one in items_of(view.inbox) if one.key.kind != "decided"]
        return waiting + pauses_of(view)

    def item(self, key: ItemKey) -> Item | None:
        """Return an item that has a number, also when it was decided meanwhile."""
        view = self.index.view
        for item in (*items_of(view.inbox), *pauses_of(view)):
            if item.key == key or (item.gate is not None and item.gate.id == key.id):
                return item
        return None

    async def take(self, update: Update) -> Heard:
        """Fold an update in helpings and return what is new."""
        lines: list[str] = []
        if isinstance(update, FeedBatch):
            lines += self._watch.batch(update)
        self.pump.offer(update)
        while self.pump.dirty:
            self.pump.drain(self.now_ms)
            await checkpoint()
        return self._news(lines)

    def tick(self) -> Heard:
        """Take in that time went on."""
        self.pump.drain(self.now_ms)
        return self._news([])

    def _news(self, lines: list[str]) -> Heard:
        view = self.pump.fold.view()
        if view is not self.index.view:
            self.index = index_of(view)
        lines += self._watch.view(view, self.now_ms)
        calls = list(self._new_items()) if view.caught_up else []
        told = (*self._model(), *calls, *self._decided(view), *self._troubles())
        return Heard(tuple(lines), told, bool(calls))

    def _model(self) -> Iterator[str]:
        provider = self.pump.definitions.provider_name
        if provider != self._provider:
            self._provider = provider
            if provider == "scripted":
                yield "Scripted model: a script plays it, no model is asked."

    def _new_items(self) -> Iterator[str]:
        for item in self.pending:
            if self.numbers.knows(item.key):
                continue
            number = self.numbers.of(item.key)
            if item.gate is not None:
                self._waited[item.gate.id] = number
            yield item_line(item, number, self.now_ms)

    def _decided(self, view: WorkspaceView) -> Iterator[str]:
        for gate in view.inbox.decided:
            number = self._waited.pop(gate.id, None)
            if number is None or gate.id in self.decided_here:
                continue
            if gate.status == "expired":
                yield f"{number} expired: nobody decided in time, the agent is told so."
            else:
                yield f"{number} was {outcome_of(gate)[1]} by {flat(decided_by(gate))}."

    def _troubles(self) -> Iterator[str]:
        definitions = self.pump.definitions
        problem = definitions_problem(definitions)
        if problem != self._problem:
            self._problem = problem
            yield flat(problem) if problem else "perstack.toml can be used again."
        while self.pump.troubles:
            trouble = self.pump.troubles.popleft()
            hint = f" Hint: {trouble.hint}" if trouble.hint else ""
            message = trouble.message
            if definitions.path is not None:
                message = shortened(message, definitions.path)
            word = "Warning" if trouble.is_warning else "Error"
            yield flat(f"{word}: {message}.{hint}")
