"""A PostgreSQL server that others keep busy: waits are bounded, and what is said is the same."""

from __future__ import annotations

import anyio
import pytest
import sqlalchemy as sa

from perstack.errors import LockedError
from perstack.ports.system import Uuids
from perstack.storage.database.opener import open_stores
from tests.fakes.agents import make_agent
from tests.fakes.consensus import SetClock
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.anyio


async def test_a_lock_that_stays_is_waited_for_in_bounded_time_and_nothing_is_lost(
    postgres: PostgresServer,
) -> None:
    url = postgres.emptied()
    stores = await open_stores(url, clock=SetClock(), ids=Uuids(), busy_s=0.1)
    other = sa.create_engine(url)
    try:
        with anyio.fail_after(20):
            with other.begin() as connection:
                connection.exec_driver_sql("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
                with pytest.raises(LockedError, match="is locked by another process"):
                    await stores.agents.add(make_agent())
            await stores.agents.add(make_agent())
    finally:
        other.dispose()
        await stores.aclose()


async def test_a_server_that_is_just_being_migrated_is_waited_for_in_bounded_time(
    postgres: PostgresServer,
) -> None:
    url = postgres.emptied()
    other = sa.create_engine(url)
    try:
        with other.begin() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7307811)")
            with anyio.fail_after(20), pytest.raises(LockedError):
                await open_stores(url, clock=SetClock(), ids=Uuids(), busy_s=0.1)
    finally:
        other.dispose()
