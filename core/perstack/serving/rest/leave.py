"""Whether a stream may go on: who follows it may have been signed out, or removed, since."""

from __future__ import annotations

from typing import Final

import anyio

from perstack.errors import NotSignedInError, StorageError
from perstack.serving.rest.context import Doorkeeper, Principal

LOOK_S: Final = 15.0


class Leave:
    """What somebody who was admitted may go on doing: to follow what happens."""

    def __init__(self, keeper: Doorkeeper, principal: Principal) -> None:
        self._keeper = keeper
        self._principal = principal
        self._looked = anyio.current_time()

    async def holds(self) -> bool:
        """Tell whether it does; asked of the users at most once in `LOOK_S`."""
        if anyio.current_time() - self._looked < LOOK_S:
            return True
        self._looked = anyio.current_time()
        try:
            return (await self._keeper.again(self._principal)).may("events", "read")
        except NotSignedInError:
            return False
        except StorageError:
            return True  # It cannot be known now; the next look tells.
