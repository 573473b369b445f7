"""The agents on record, of every process, told again whenever they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from perstack.errors import PerstackError
from perstack.ports.system import SystemClock
from perstack.services.agent_roll import AgentRoll
from perstack.wiring import Tables, has_database
from perstack_tui.ports.gateway import AgentsUpdate

POLL_S: Final = 0.5
RETRY_S: Final = 2.0


async def watch_agents(
    workspace: Path, tables: Tables, tell: Callable[[AgentsUpdate], Awaitable[None]]
) -> None:
    """Tell of them until cancelled; while there is no database there are none.

    That a database cannot be read is told by whoever watches the inbox.
    """
    told: AgentsUpdate | None = None
    roll = AgentRoll(tables.stores, clock=SystemClock())
    while True:
        if not await anyio.to_thread.run_sync(has_database, workspace):
            await anyio.sleep(POLL_S)
            continue
        try:
            async with aclosing(roll.watch(poll_s=POLL_S)) as found:
                async for agents in found:
                    update = AgentsUpdate(tuple(agents))
                    if update != told:
                        told = update
                        await tell(update)
        except PerstackError:
            await anyio.sleep(RETRY_S)
