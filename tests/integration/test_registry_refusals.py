"""Each reason that the registry's server has, over HTTP to the client: said, with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.config.registry_place import RegistryPlace
from perstack.errors import (
    RegistryError,
    RegistryMissingError,
    RegistryRefusedError,
    RegistryUnreachableError,
)
from perstack.integrations.registry_client import HttpRegistry
from tests.fakes.refusal_sites import Site, refusal_sites, sites_in
from tests.fakes.registry_refusals import REFUSALS, Refusal, key_of, prepare, said_of
from tests.fakes.registry_relay import registry_relay
from tests.fakes.registry_server import RegistryServer, registry_running

CORE: Final = Path(__file__).parents[2] / "core" / "perstack"
SERVER: Final = ("serving/http", "serving/registry", "services/registry")
# What the tables do, brought about in test_registry_overloaded.
OF_TABLES: Final = (
    "the registry is busy, ask again",
    "the registry could not answer; its log says why",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[RegistryServer]:
    """One server for all refusals by the usual rules: what is refused changes nothing."""
    folder = tmp_path_factory.mktemp("registry")
    with registry_running(folder, orgs=("acme", "other")) as server:
        anyio.run(prepare, server)
        yield server


@pytest.fixture
def own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Generator[RegistryServer]:
    """The server that the refusal needs."""
    refusal: Refusal = request.getfixturevalue("refusal")
    if not refusal.needs_own:
        yield request.getfixturevalue("shared")
        return
    with ExitStack() as stack:
        if refusal.limit is not None:
            with registry_running(tmp_path / "registry") as before:
                anyio.run(prepare, before)
            monkeypatch.setattr(*refusal.limit)
        yield stack.enter_context(registry_running(tmp_path / "registry", bound=refusal.bound))


async def told_by(url: str, key: str | None, refusal: Refusal) -> RegistryError:
    """Return what the client makes of it."""
    registry = HttpRegistry(RegistryPlace(url, key))
    try:
        with pytest.raises(RegistryError) as told:
            await refusal.deed(registry)
    finally:
        await registry.aclose()
    return told.value


def check_class(told: RegistryError, refusal: Refusal, reason: str) -> None:
    """Check which error it is, and that it says why."""
    if refusal.status == 429:
        assert isinstance(told, RegistryUnreachableError)
        assert "was asked too often and answers again in " in told.message
    elif refusal.status >= 500:
        assert isinstance(told, RegistryUnreachableError)
        assert f"(HTTP {refusal.status}): {reason}" in told.message
    else:
        assert isinstance(told, RegistryRefusedError)
        assert told.status == refusal.status
        assert told.reason == reason
        assert reason in told.message
    assert isinstance(told, RegistryMissingError) == (refusal.status == 404)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.reason[:60])
def test_a_refusal_is_told_with_its_reason_and_what_to_do_and_never_with_the_key(
    refusal: Refusal, own: RegistryServer
) -> None:
    key = key_of(own, refusal.whose)
    reason = said_of(refusal, key)
    with registry_relay(own.url, refusal.change, held_back=refusal.held_back) as relay:
        told = anyio.run(told_by, relay.url, key, refusal)

    assert relay.refusal.keys() == {"code", "error", "reason"}
    assert (relay.refusal["code"], relay.refusal["reason"]) == (refusal.status, reason)
    check_class(told, refusal, reason)
    assert refusal.hint in (told.hint or "")
    assert told.message.isprintable()
    assert key is None or key not in told.message


def credited(reason: str, place: str, sites: set[Site]) -> set[Site]:
    """Return the sites that a row is for: those of its place, or whose words fit it best."""
    if place:
        return {site for site in sites if site.place == place and site.words is None}
    fitting = [site for site in sites if site.fits(reason)]
    most = max((site.exactness for site in fitting), default=0)
    return {site for site in fitting if site.exactness == most}


def test_every_reason_that_the_server_has_is_brought_about() -> None:
    sites = refusal_sites(file for folder in SERVER for file in (CORE / folder).glob("*.py"))
    rows = [(refusal.reason, refusal.place) for refusal in REFUSALS]
    found = {row: credited(*row, sites) for row in (*rows, *((each, "") for each in OF_TABLES))}
    assert [row for row, of in found.items() if not of] == []
    covered = {site for of in found.values() for site in of}
    assert sorted(map(str, sites - covered)) == []
    assert len(sites) > 40
    assert Counter(refusal.status for refusal in REFUSALS).keys() >= {
        *(400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 503)
    }


def test_a_reason_is_found_in_the_source_however_it_is_worded() -> None:
    source = """
def plain():
    raise reasons.refused("no")
def formed(key):
    raise unfit(f"{key} is none")
def before(key):
    reason = f"{key} is not found"
    return RegistryMissingError(reason, status=404)
def elsewhere(error):
    raise reasons.unfit(fault_in(error))
def passed_on(reason):
    return refusal(400, reason)
def answered(self):
    return self._answers.refusal(403, "Not you", "denied", hint="ask")
def often(*, what="too many"):
    return Buckets(what="too fast")
"""
    sites = {site.place: site for site in sites_in(source, "m")}
    assert sites.keys() == {
        *("m.plain", "m.formed", "m.before", "m.elsewhere", "m.answered", "m.often")
    }
    for place, reason in {
        "m.plain": "no",
        "m.formed": "x is none",
        "m.before": "@acme/x is not found",
        "m.answered": "Not you: ask",
    }.items():
        assert sites[place].fits(reason)
        assert not sites[place].fits("something else")
    assert sites["m.elsewhere"].words is None
