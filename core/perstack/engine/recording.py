"""The records of one run, announced in the order that they stand in its history."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from perstack.domain.events import Event
from perstack.ports.history import RunLog


@dataclass(frozen=True, slots=True)
class _Unannounced:
    """A record that nobody was told of yet."""

    event: Event
    durable: bool


class Announcements:
    """Tells of records in order: one that has to be on the disk first holds back what follows."""

    def __init__(self, log: RunLog, announce: Callable[[Event], None]) -> None:
        self._log = log
        self._tell = announce
        self._waiting: deque[_Unannounced] = deque()

    def add(self, event: Event, *, durable: bool) -> None:
        """Have a record announced by and by."""
        self._waiting.append(_Unannounced(event, durable=durable))

    def announce(self) -> None:
        """Announce what may be by now."""
        while self._waiting:
            first = self._waiting[0]
            if first.durable and first.event.seq > self._log.synced_seq:
                return
            self._tell(self._waiting.popleft().event)
