"""Resolving with disks that lie, registries that lie, and registries that go away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.config.registry_place import RegistryPlace
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Definition, PublishRequest, parse_key
from perstack.errors import PerstackError, RegistryError, RegistryUnreachableError
from perstack.integrations.registry_client import HttpRegistry
from perstack.services import expert_sources
from perstack.services.resolving import Resolution, Resolver
from perstack.storage.registry_cache import DiskExpertCache
from tests.fakes.memory_registry import BASE, MemoryRegistry
from tests.fakes.registry_server import RegistryServer, registry_server
from tests.fakes.registry_wire import (
    Fault,
    Json,
    answer,
    drip,
    endless,
    expert,
    listed,
    one,
    refusal,
    registry_wire,
    reset,
    silent,
)

pytestmark = pytest.mark.anyio

X: Final = ExpertKey("tic-tac-toe")


def files_below(folder: Path) -> set[Path]:
    return {each for each in folder.rglob("*") if not each.is_dir()}


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path, own_environment: Path) -> Iterator[None]:
    """Let nothing be written but below `tmp_path / "cache"`."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    yield
    left = files_below(tmp_path) | files_below(own_environment)
    assert {each for each in left if not each.is_relative_to(tmp_path / "cache")} == {outside}
    assert outside.read_text() == "mine"


@pytest.fixture
def cache(tmp_path: Path) -> DiskExpertCache:
    return DiskExpertCache(tmp_path / "cache")


# ---------------------------------------------------------------- a disk that lies


def _object(folder: Path) -> Path:
    return next(each for each in (folder / "objects").rglob("*") if each.is_file())


def _index(folder: Path) -> Path:
    return next((folder / "index").iterdir())


def _tamper(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Do it.", b"Evil!!").replace(b"acme", b"evil"))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("key", ["x", "x@1.0.0"])
@pytest.mark.parametrize("damage", [_tamper, _truncate])
@pytest.mark.parametrize("which", [_object, _index])
async def test_what_is_damaged_is_downloaded_again_or_refused_where_nobody_answers(
    cache: DiskExpertCache,
    tmp_path: Path,
    which: Callable[[Path], Path],
    damage: Callable[[Path], None],
    key: str,
) -> None:
    registry = MemoryRegistry()
    registry.add("x")
    resolver = Resolver(registry, cache, local={}, pins={})
    before = await resolver.resolve([ExpertKey(key)])
    damage(which(tmp_path / "cache"))

    registry.down = True
    with pytest.raises(RegistryUnreachableError) as caught:
        await resolver.resolve([ExpertKey(key)])
    assert "on this disk is damaged, and the registry" in caught.value.message

    registry.down = False
    after = await resolver.resolve([ExpertKey(key)])
    assert after.experts == before.experts
    assert after.warnings == ("what was kept of x@1.0.0 was damaged: it was downloaded again",)
    assert (await resolver.resolve([ExpertKey(key)])).warnings == ()


async def test_content_that_is_gone_is_downloaded_again_and_has_to_be_the_same(
    cache: DiskExpertCache, tmp_path: Path
) -> None:
    registry = MemoryRegistry(says_integrity=False)
    registry.add("x")
    resolver = Resolver(registry, cache, local={}, pins={})
    await resolver.resolve([ExpertKey("x")])
    _remove(_object(tmp_path / "cache"))
    registry.add("x", instruction="Evil.")
    with pytest.raises(RegistryError, match="not what was kept"):
        await resolver.resolve([ExpertKey("x")])


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from perstack.domain.registry import Definition
from perstack.errors import StorageError
from perstack.ports.registry import KeptExpert
from perstack.storage.registry_cache import DiskExpertCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
made = Definition(name="x", version="1.0.0", instruction="x" * 4096, skills={})
try:
    DiskExpertCache(Path(sys.argv[1])).keep("https://r", KeptExpert(made, "acme", "available"))
except StorageError as error:
    print(error.message)
"""


async def test_of_a_disk_that_is_full_nothing_half_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", _FULL_DISK, str(folder)]
    done = await anyio.run_process(command, stderr=subprocess.STDOUT)
    assert done.stdout.decode().startswith(f"cannot write {folder}/objects/")
    assert [each.name for each in files_below(folder)] == ["lock"]


async def test_resolutions_at_the_same_time_share_a_disk(
    cache: DiskExpertCache, tmp_path: Path
) -> None:
    registry = MemoryRegistry()
    names = [f"e{number}" for number in range(12)]
    for name in names:
        registry.add(name, delegates=[each for each in names if each != name])
    found: list[Resolution] = []

    async def resolve(name: str) -> None:
        other = DiskExpertCache(tmp_path / "cache")
        resolver = Resolver(registry, other, local={}, pins={})
        found.append(await resolver.resolve([ExpertKey(name)]))

    async with anyio.create_task_group() as group:
        for name in names[:4]:
            group.start_soon(resolve, name)
    assert [set(each.experts) for each in found] == [set(names)] * 4
    assert [each.warnings for each in found] == [()] * 4
    registry.down = True
    kept = await Resolver(registry, cache, local={}, pins={}).resolve([ExpertKey("e0")])
    assert set(kept.experts) == set(names)


# ---------------------------------------------------------------- a registry that lies


def _hash_of(said: Json) -> str:
    keys = ("name", "version", "minRuntimeVersion", "description", "instruction", "skills")
    return Definition.model_validate({key: said[key] for key in keys}).integrity


async def _refusal(
    cache: DiskExpertCache, *answers: Fault, key: str = "tic-tac-toe@1.0.0", bound_s: float = 10
) -> PerstackError:
    with registry_wire(*answers) as wire:
        registry = HttpRegistry(RegistryPlace(wire.url), bound_s=bound_s)
        resolver = Resolver(registry, cache, local={}, pins={})
        try:
            with pytest.raises(PerstackError) as caught:
                await resolver.resolve([ExpertKey(key)])
        finally:
            await registry.aclose()
    return caught.value


LIES: Final[dict[str, Fault]] = {
    "truncated": answer(one(), cut=20),
    "wrong hash": answer(one(integrity="sha256-" + "0" * 64)),
    "changed content": answer(one(instruction="Evil.", integrity=_hash_of(expert()))),
    "another name": answer(one("tic-tac-evil")),
    "another version": answer(one(version="6.6.6")),
    "no json": answer(b"<html>hello</html>"),
    "another shape": answer({"data": {"expert": [1, 2, 3]}}),
    "endless": endless(),
    "packed": answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    "elsewhere": answer(b"", 302, {"Location": "https://evil.example/"}),
    "large": answer(one(instruction="x" * 1_100_000)),
    "broken off": reset(),
    "failing": refusal(500, "out of order"),
    "control characters": answer(one(owner={"name": "\x1b]0;x\x07", "organizationId": "o"})),
    "path in its name": answer(one("../../outside", key="../../outside@1.0.0")),
    "look-alike name": answer(one("tic-t\u0430c-toe", key="tic-t\u0430c-toe@1.0.0")),
    "wild delegate": answer(one(delegates=["../../outside"])),
    "wild version": answer(one(version="../../outside")),
    "command": answer(
        one(skills={"x": {"type": "mcpStdioSkill", "command": "bash", "args": ["-c", "id"]}})
    ),
    "no skill": answer(one(skills={"x": {"type": "shellSkill", "command": "id"}})),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_of_the_registry_is_refused_in_clear_words(
    cache: DiskExpertCache, lie: str
) -> None:
    refused = await _refusal(cache, LIES[lie])
    assert isinstance(refused, RegistryError), lie
    assert refused.message.isprintable()
    assert "\x1b" not in f"{refused.message}{refused.hint}"


@pytest.mark.parametrize("slow", [silent, drip(), drip(head=True)], ids=["silent", "body", "head"])
async def test_a_registry_that_is_too_slow_is_given_up(
    cache: DiskExpertCache, slow: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(await _refusal(cache, slow, bound_s=0.2), RegistryUnreachableError)
    # Whatever the client does, a resolution has bounds of its own.
    monkeypatch.setattr(expert_sources, "CALL_WITHIN_S", 0.2)
    assert isinstance(await _refusal(cache, slow), RegistryUnreachableError)


@pytest.mark.parametrize(
    "versions",
    [
        listed("../../outside", latest="../../outside"),
        listed("1.0.0", name="tic-tac-evil", latest="1.0.0"),
        listed("1.0.0", latest="2.0.0"),
        listed("1.0.0\u202e", latest="1.0.0\u202e"),
        {"data": {"versions": [], "latest": "1.0.0"}, "meta": {"total": 0}},
    ],
)
async def test_versions_that_are_none_lead_nowhere(cache: DiskExpertCache, versions: Json) -> None:
    refused = await _refusal(cache, answer(versions), key="tic-tac-toe")
    assert isinstance(refused, RegistryError)
    assert refused.message.isprintable()


# ---------------------------------------------------------------- a registry that goes away


@asynccontextmanager
async def _asked(server: RegistryServer, key: str | None = None) -> AsyncGenerator[HttpRegistry]:
    registry = HttpRegistry(RegistryPlace(server.url, key))
    try:
        yield registry
    finally:
        await registry.aclose()


async def _publish(server: RegistryServer, name: str, *delegates: str) -> None:
    async with _asked(server, server.key("acme")) as registry:
        request = PublishRequest(
            name=name, version="1.0.0", instruction="Play.", skills=BASE, delegates=delegates
        )
        await registry.publish(request)


async def test_what_was_resolved_over_http_once_is_there_when_the_server_is_gone(
    cache: DiskExpertCache, tmp_path: Path
) -> None:
    # The server's own files are beside the cache that is looked after here.
    async with registry_server(tmp_path / "cache" / "server") as server:
        await _publish(server, "@acme/board")
        await _publish(server, "@acme/tic-tac-toe", "@acme/board")
        async with _asked(server) as registry:
            resolver = Resolver(registry, cache, local={}, pins={})
            key = ExpertKey("@acme/tic-tac-toe")
            before = await resolver.resolve([key])
            assert set(before.experts) == {key, "@acme/board"}
            assert before.warnings == ()
            found = await registry.find(parse_key("@acme/board"))
            pin = before.pins["@acme/board"]
            assert (pin.key, pin.integrity) == ("@acme/board@1.0.0", found.definition.integrity)
            assert await resolver.resolve([key]) == before

            await anyio.to_thread.run_sync(server.stop)
            after = await resolver.resolve([key])
            assert after.experts == before.experts
            told = "the registry cannot be reached: @acme/board@1.0.0, @acme/tic-tac-toe@1.0.0"
            assert after.warnings == (f"{told} as kept on this disk",)
            with pytest.raises(RegistryUnreachableError):
                await resolver.resolve([ExpertKey("@acme/other")])
