"""Which command does what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from perstack_tui.linear.commands import Command, Verb
from perstack_tui.linear.doing import Doing
from perstack_tui.linear.looking import Looking
from perstack_tui.linear.registry import Shelves
from perstack_tui.linear.settling import Settling
from perstack_tui.linear.steering import Steers

_OBSERVES: Final = "This only observes; open it without --observe to act."
_LOOKS: Final[frozenset[Verb]] = frozenset(
    {"help", "experts", "jobs", "runs", "inbox", "show", "registry", "read", "watch", "quit"}
)

Deed = Callable[[Command], Awaitable[None]]


class Obeying:
    """Does what is typed."""

    def __init__(
        self, doing: Doing, ask_to_quit: Callable[[], Awaitable[None]], *, observing: bool
    ) -> None:
        self.looking = Looking(doing)
        self._doing = doing
        self._observing = observing
        settling, steers = Settling(doing, self.looking), Steers(doing)
        shelves = Shelves(doing)

        async def leave(_: Command) -> None:
            await ask_to_quit()

        self._deeds: Mapping[Verb, Deed] = {
            "start": steers.start,
            "show": self.looking.show,
            "approve": settling.approve,
            "reject": settling.reject,
            "answer": settling.answer,
            "registry": shelves.search,
            "read": shelves.read,
            "add": shelves.add,
            "say": steers.say,
            "stop": steers.stop,
            "pause": steers.pause,
            "resume": steers.resume,
            "follow": steers.follow,
            "quit": leave,
        }

    async def obey(self, command: Command) -> None:
        """Do it; what happens by itself meanwhile is said afterwards."""
        if self._observing and command.verb not in _LOOKS:
            self._doing.talk.say(_OBSERVES)
            return
        self._doing.talk.paper.hold()
        try:
            if (deed := self._deeds.get(command.verb)) is not None:
                await deed(command)
            else:
                self.looking.list(command)
        finally:
            self._doing.talk.paper.release()
