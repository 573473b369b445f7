"""Whatever is done to a registry in whatever order, its rules hold."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from perstack.domain.registry import STATUSES, Status, VersionList, parse_key
from perstack.domain.registry_hosting import Holder
from perstack.domain.semantic_versions import is_pre_release, order_of
from perstack.errors import RegistryRefusedError
from tests.fakes.registry_workers import Services, request

pytestmark = pytest.mark.anyio

VERSIONS: Final = ["1.0.0", "1.10.0", "2.0.0-rc.1"]
TAGS: Final = ["beta", "stable", "latest"]
_NAMES: Final = count()


@dataclass(frozen=True)
class Deed:
    """Something that is done to a version: the first of these that is there, or unpublishing it."""

    version: str
    content: int | None = None
    tags: frozenset[str] | None = None
    status: Status | None = None


_VERSION: Final = st.sampled_from(VERSIONS)
DEEDS: Final = st.lists(
    st.one_of(
        st.builds(Deed, _VERSION, content=st.integers(0, 2)),
        st.builds(Deed, _VERSION, tags=st.frozensets(st.sampled_from(TAGS))),
        st.builds(Deed, _VERSION, status=st.sampled_from(STATUSES)),
        st.builds(Deed, _VERSION),
    ),
    min_size=20,
    max_size=40,
)


@dataclass
class Seen:
    """What was seen of a name so far, which must never be otherwise again."""

    name: str
    integrity: dict[str, str] = field(default_factory=dict[str, str])
    status: dict[str, int] = field(default_factory=dict[str, int])

    def look(self, found: VersionList) -> None:
        versions = [each.version for each in found.versions]
        assert versions == sorted(set(versions), key=order_of, reverse=True)
        for each in found.versions:
            assert each.integrity is not None
            assert each.status is not None
            assert self.integrity.setdefault(each.version, each.integrity) == each.integrity
            rank = STATUSES.index(each.status)
            assert rank >= self.status.get(each.version, 0)
            self.status[each.version] = rank
        tags = [tag for each in found.versions for tag in each.tags]
        assert len(tags) == len(set(tags))
        assert found.latest == _latest(found)
        tagged = found.tagged("latest")
        assert (None if tagged is None else tagged.version) == found.latest


def _latest(found: VersionList) -> str | None:
    usable = [each.version for each in found.versions if each.status != "disabled"]
    released = [version for version in usable if not is_pre_release(version)]
    return max(released or usable, key=order_of, default=None)


@pytest.fixture
async def services(tmp_path: Path) -> AsyncGenerator[Services]:
    made = Services(tmp_path / "perstack.db")
    yield made
    await made.stores.aclose()


# One way through all of the rules, lest those that chance makes leave one out.
WALK: Final = [
    Deed("1.0.0", content=0),
    Deed("1.10.0", content=0),
    Deed("1.10.0", content=1),
    Deed("1.0.0", tags=frozenset({"beta"})),
    Deed("1.10.0", tags=frozenset({"beta", "latest"})),
    Deed("1.10.0", status="deprecated"),
    Deed("1.10.0", status="available"),
    Deed("1.10.0", status="disabled"),
    Deed("1.10.0", status="deprecated"),
    Deed("1.10.0"),
    Deed("1.10.0", content=1),
    Deed("1.10.0", content=0),
]


def _settings(examples: int) -> settings:
    # Every step writes to a real disk: to look for a shorter example would take minutes.
    return settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@given(deeds=DEEDS)
@example(deeds=WALK)
@_settings(8)
async def test_versions_are_written_once_status_goes_one_way_and_latest_is_right(
    services: Services, deeds: list[Deed]
) -> None:
    await _check(services, deeds)


@pytest.mark.long
@pytest.mark.timeout(600)
@given(deeds=DEEDS)
@_settings(150)
async def test_they_are_after_many_more_orders_of_things_too(
    services: Services, deeds: list[Deed]
) -> None:
    await _check(services, deeds)


async def _check(services: Services, deeds: list[Deed]) -> None:
    holder = await services.holder()
    seen = Seen(f"@acme/e{next(_NAMES)}")
    for deed in deeds:
        before = await _versions(services, seen.name)
        try:
            await _do(services, holder, seen.name, deed)
        except RegistryRefusedError:
            assert await _versions(services, seen.name) == before
        seen.look(await _versions(services, seen.name))


async def _do(services: Services, holder: Holder, name: str, deed: Deed) -> None:
    key = parse_key(f"{name}@{deed.version}")
    if deed.content is not None:
        asked = request(name, deed.version, f"You are {deed.content}.", tags=["beta"])
        await services.publishing.publish(asked, holder)
    elif deed.tags is not None:
        await services.publishing.update(key, holder, tags=tuple(sorted(deed.tags)))
    elif deed.status is not None:
        await services.publishing.update(key, holder, status=deed.status)
    else:
        await services.publishing.unpublish(key, holder)


async def _versions(services: Services, name: str) -> VersionList:
    try:
        return await services.shelf.versions(parse_key(name))
    except RegistryRefusedError:
        return VersionList(versions=())
