"""What waits in the inbox for jobs, and closing it once they are removed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from perstack.domain.consensus import SYSTEM, ConsensusCheckpoint
from perstack.domain.ids import JobId, StandingId
from perstack.ports.stores import Stores
from perstack.ports.system import Clock
from perstack.services.consensus import ConsensusService
from perstack.services.handle import Handle

_MOST: Final = 10_000
_REMOVED: Final = "its job was removed"


class JobGates:
    """The consensus checkpoints that jobs wait at; `stores` are those of the service."""

    def __init__(self, service: ConsensusService, stores: Handle[Stores], *, clock: Clock) -> None:
        self._service = service
        self._stores = stores
        self._clock = clock

    async def waiting(self) -> frozenset[JobId]:
        """Return the jobs that a person can still decide something for.

        Raises:
            StorageError: the database cannot be read.
        """
        return frozenset(each.job_id for each in await self._pending() if each.job_id is not None)

    async def close(self, job_ids: Collection[JobId]) -> None:
        """Withdraw what waits for these jobs, and take back what was let pass for them.

        Raises:
            StorageError: the database cannot be read or written.
        """
        for each in await self._pending():
            if each.job_id in job_ids:
                await self._service.withdraw(each.id, _REMOVED)
        for job_id in job_ids:
            for given in await self._service.standing_of(job_id):
                if not given.is_revoked:
                    await self._take_back(given.id)

    async def _take_back(self, standing_id: StandingId) -> None:
        now = self._clock.now_ms()
        await self._stores.ask(
            lambda stores: stores.consensus.revoke_standing(standing_id, by=SYSTEM, now_ms=now)
        )

    async def _pending(self) -> Sequence[ConsensusCheckpoint]:
        now = self._clock.now_ms()
        found = await self._service.list(statuses=("pending",), limit=_MOST)
        return [each for each in found if each.expires_at is None or each.expires_at > now]
