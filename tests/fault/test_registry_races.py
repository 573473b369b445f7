"""Processes that publish at once, and one that is killed while it does."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from perstack.domain.registry import parse_key
from perstack.errors import CorruptRecordError
from perstack.ports.registry_ledger import Ledger
from tests.fakes.consensus_workers import join, processes
from tests.fakes.registry_workers import READER, WRITER, Services, race

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("count", "versions"), [(2, 12), pytest.param(6, 100, marks=pytest.mark.long)]
)
@pytest.mark.timeout(300)
async def test_of_processes_that_publish_the_same_versions_one_wins_each(
    database_target: Path | str, count: int, versions: int
) -> None:
    services = Services(database_target)
    holder = await services.holder()
    wanted = [f"1.{number}.0" for number in range(versions)]
    context = processes()
    start, told = context.Barrier(count), context.Queue()
    started = [
        context.Process(target=race, args=(database_target, holder, number, wanted, start, told))
        for number in range(count)
    ]
    for each in started:
        each.start()
    came = [told.get(timeout=200) for _ in started]
    join(started)
    for version in wanted:
        outcomes = sorted(each[version] for each in came)
        assert outcomes.count("won") == 1, outcomes
        assert all("already published" in each for each in outcomes if each != "won")
    found = await services.shelf.versions(parse_key(WRITER))
    assert sorted(each.version for each in found.versions) == sorted(wanted)
    assert found.latest == f"1.{versions - 1}.0"
    for version in wanted:
        told_expert = await services.shelf.find(parse_key(f"{WRITER}@{version}"))
        assert told_expert.definition.integrity == told_expert.integrity
    await services.stores.aclose()


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.timeout(300)
async def test_what_a_killed_process_published_is_whole_or_absent(
    tmp_path: Path, kills: int
) -> None:
    chance, target, told = random.Random(7), tmp_path / "perstack" / "perstack.db", list[int]()
    for _ in range(kills):
        told += publish_until_killed(target, chance)
    assert told == list(range(len(told))) or len(told) <= max(told)
    services = Services(target)
    found = await services.shelf.versions(parse_key(WRITER))
    numbers = sorted(int(each.version.rpartition(".")[2]) for each in found.versions)
    # What was published may have been killed before it was said; nothing that was said is lost.
    assert numbers == list(range(len(numbers)))
    assert set(told) <= set(numbers)
    assert found.latest == f"1.0.{numbers[-1]}"
    assert [each.version for each in found.versions if "beta" in each.tags] == [found.latest]
    for each in found.versions:
        expert = await services.shelf.find(parse_key(each.key))
        assert expert.definition.integrity == each.integrity
    delegating = await services.stores.ask(lambda stores: stores.registry.look(delegations))
    assert sorted(delegating) == sorted(each.key for each in found.versions)
    await services.stores.aclose()
    with closing(sqlite3.connect(target)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def delegations(ledger: Ledger) -> list[str]:
    return [each.by.key for each in ledger.delegating_to(READER)]


def publish_until_killed(target: Path, chance: random.Random) -> list[int]:
    """Let a process publish, kill it at any moment, and return what it said it had published."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.registry_workers", str(target)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    with process.stdout as said:
        told = [int(said.readline()) for _ in range(chance.randint(1, 5))]
        for _ in range(chance.randint(0, 200_000)):
            pass  # anywhere between two of its steps
        process.kill()
        process.wait()
        return told + [int(line) for line in said.read().split()]


async def test_a_definition_that_was_changed_in_the_tables_is_told_to_nobody(
    tmp_path: Path,
) -> None:
    from tests.fakes.registry_workers import request

    target = tmp_path / "perstack" / "perstack.db"
    services = Services(target)
    await services.publishing.publish(request(WRITER, "1.0.0"), await services.holder())
    await services.stores.aclose()
    with closing(sqlite3.connect(target)) as raw, raw:
        raw.execute("UPDATE registry_versions SET definition = replace(definition, 'You', 'We')")
    services = Services(target)
    with pytest.raises(CorruptRecordError, match="definition"):
        await services.shelf.find(parse_key(WRITER))
    await services.stores.aclose()
