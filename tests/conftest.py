"""Fixtures for every test: asyncio as the backend, a home and an environment of its own."""

from __future__ import annotations

import gc
import itertools
import os
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from tests import blocking
from tests.fakes import certificates
from tests.fakes.no_registry import NO_REGISTRY
from tests.fakes.postgres import PostgresServer, missing_postgres, postgres_server

if TYPE_CHECKING:
    from tests.fakes.docker_world import DockerWorld

# The same examples each time; HYPOTHESIS_PROFILE=default looks for new ones.
hypothesis.settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
certificates.read_once()

_HOMES = itertools.count()
# A screen makes thousands, most of which stay as long as it does.
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "VIRTUAL_ENV", "TMPDIR", "CI")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage once tests are collected, and never again among what that has made."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        # Ten thousand tests and all modules: each full look at them would take half a second.
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make `long` all cases of a sampled test but the first ones."""
    seen: Counter[str] = Counter()
    for item in items:
        sampled = item.get_closest_marker("sampled")
        if sampled is None:
            continue
        name = item.nodeid.partition("[")[0]
        seen[name] += 1
        if seen[name] > sampled.args[0]:
            item.add_marker(pytest.mark.long)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_environment(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Give the test an empty home, none of the developer's variables, and no public registry."""
    # `mktemp` lists the folder and moves a link each time, which costs more than many a test.
    home = tmp_path_factory.getbasetemp() / f"home-{next(_HOMES)}"
    home.mkdir(mode=0o700)
    for name in list(os.environ):
        if name not in KEPT and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PERSTACK_API_BASE_URL", NO_REGISTRY)
    return home


@pytest.fixture(autouse=True)
def no_blocking_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program call nothing that blocks on its event loop."""
    blocking.forbid(monkeypatch)


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    """Give a real PostgreSQL server, started once for all tests of this process."""
    if (why := missing_postgres()) is not None:
        pytest.skip(why)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_target(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Give an empty database of each kind: a file that is not there yet, or a server's URL."""
    if request.param == "sqlite":
        return tmp_path / "perstack" / "perstack.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.emptied()


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Generator[DockerWorld]:
    """Give a container engine with an internet of its own, made once for all tests."""
    # Imported here, since most tests need nothing of it.
    from tests.fakes.docker_world import docker_world, why_no_world

    if (why := why_no_world()) is not None:
        pytest.skip(why)
    with docker_world(tmp_path_factory.mktemp("containers")) as world:
        yield world
