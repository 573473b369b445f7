"""Adding an Expert of the registry to `perstack.toml`, and taking that back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from perstack.errors import ConflictError, PerstackError
from perstack_tui.deeds.items import why_not_act
from perstack_tui.deliberate import Deliberate
from perstack_tui.screens.add_delegate import AddDelegateSheet, why_not_add
from perstack_tui.screens.travel_loading import told

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryExpert
    from perstack_tui.ports.gateway import Gateway
    from perstack_tui.ports.host import Host
    from perstack_tui.ports.registry import Draft

_LEFT: Final = "nothing is undone; edit it by hand"


class Adding:
    """What was added from one card.

    `say` is told why something was not taken back; nothing, once something can be or was.
    """

    def __init__(self, host: Host, say: Callable[[str], None]) -> None:
        self._host = host
        self._say = say
        self._deliberate = Deliberate(host, say)
        self._saved: list[Draft] = []
        self._busy = False

    @property
    def added(self) -> bool:
        """Whether there is something to take back."""
        return bool(self._saved)

    def note_key(self) -> None:
        """Take note of a key in the card: taking back wants a quiet moment before it."""
        self._deliberate.admits()

    def add(self, expert: RegistryExpert) -> None:
        """Open the sheet that adds an Expert, if anything can be added."""
        if (refused := why_not_add(self._host)) is not None:
            self._host.tell(refused, "bad")
        else:
            self._host.open_sheet(AddDelegateSheet(self._host, expert), self._note)

    def _note(self, saved: Draft | None) -> None:
        self._deliberate.restart()
        if saved is not None:
            self._saved.append(saved)
            self._say("")

    def take_back(self) -> None:
        """Write the file as it was before what was added last, unless it was saved since."""
        if self._saved and not self._busy and why_not_act(self._host) is None:
            self._deliberate.decide(self._take_back)

    def _take_back(self) -> None:
        saved = self._saved[-1]
        self._busy = True

        async def save(gateway: Gateway) -> None:
            await gateway.registry.save(saved.undone)
            self._busy = False
            self._saved.pop()
            self._host.tell(f"undone: {saved.path.name} is as it was before", "good")
            self._say("")

        def failed(error: PerstackError) -> None:
            self._busy = False
            if isinstance(error, ConflictError):
                # What was added before that cannot be taken back either.
                self._saved.clear()
                self._say(f"{saved.path.name} was saved since: {_LEFT}")
            else:
                self._say(told(error))

        self._host.command(save, failed)
