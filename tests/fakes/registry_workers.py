"""What the processes of the registry's tests do; each function runs in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import anyio

from perstack.domain.registry import PublishRequest, parse_key
from perstack.domain.registry_hosting import Holder
from perstack.errors import RegistryMissingError, RegistryRefusedError
from perstack.ports.stores import Stores
from perstack.ports.system import SystemClock, Uuids
from perstack.services.handle import Handle
from perstack.services.registry.access import RegistryAccess
from perstack.services.registry.publishing import RegistryPublishing
from perstack.services.registry.shelf import RegistryShelf
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus_workers import TIMEOUT_S
from tests.fakes.registry_calls import definition

READER = "@acme/reader"
WRITER = "@acme/writer"
_KEY = parse_key(WRITER)


class Services:
    """The registry's services over a database that other processes use, too."""

    def __init__(self, target: Path | str) -> None:
        clock = SystemClock()
        self.stores: Handle[Stores] = Handle(
            lambda: open_stores(target, clock=clock, ids=Uuids(), busy_s=30)
        )
        self.access = RegistryAccess(self.stores, clock=clock, ids=Uuids())
        self.publishing = RegistryPublishing(self.stores, clock=clock, ids=Uuids())
        self.shelf = RegistryShelf(self.stores)

    async def holder(self) -> Holder:
        """One who may do everything for the organisation acme, which is added if need be."""
        if not await self.access.organisations():
            await self.access.add_organisation("acme")
        return await self.access.admit((await self.access.add_key("acme")).token)


def request(
    name: str, version: str, instruction: str = "You write.", **more: Sequence[str]
) -> PublishRequest:
    """What is published."""
    return PublishRequest.model_validate(definition(name, version, instruction=instruction, **more))


def race(
    target: Path | str,
    holder: Holder,
    number: int,
    versions: Sequence[str],
    start: Barrier,
    told: Queue[dict[str, str]],
) -> None:
    """Publish all versions with a content of one's own; say what came of each."""
    told.put(anyio.run(_race, target, holder, number, versions, start))


async def _race(
    target: Path | str, holder: Holder, number: int, versions: Sequence[str], start: Barrier
) -> dict[str, str]:
    services, came = Services(target), dict[str, str]()
    await services.access.organisations()
    start.wait(TIMEOUT_S)
    for version in versions:
        try:
            await services.publishing.publish(
                request(WRITER, version, f"You are publisher {number}."), holder
            )
        except RegistryRefusedError as error:
            came[version] = error.reason
        else:
            came[version] = "won"
    await services.stores.aclose()
    return came


async def publish_on(target: Path) -> None:
    """Publish one version after the other, with a tag that moves; say each that is published."""
    services = Services(target)
    holder = await services.holder()
    # A process that was killed may have done it before.
    with suppress(RegistryRefusedError):
        await services.publishing.publish(request(READER, "1.0.0"), holder)
    try:
        there = (await services.shelf.versions(_KEY)).versions
    except RegistryMissingError:
        there = ()
    first = 1 + max((int(each.version.rpartition(".")[2]) for each in there), default=-1)
    for number in count(first):
        asked = request(
            WRITER, f"1.0.{number}", "x" * 10_000, delegates=[READER], tags=["latest", "beta"]
        )
        await services.publishing.publish(asked, holder)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(publish_on, Path(sys.argv[1]))
