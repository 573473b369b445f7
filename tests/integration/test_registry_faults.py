"""What a registry does wrong, met by a job that needs it: a clear error, and nothing is left.

The whole way is real: a project, its lock, its cache, HTTP. Only the registry is a wire that lies.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.domain.ids import ExpertKey
from perstack.errors import PerstackError, RegistryError, RegistryUnreachableError
from perstack.fetching import completed
from perstack.project import Project, open_project
from perstack.storage.registry_cache import cache_folder
from tests.fakes.registry_wire import (
    Fault,
    Json,
    Wire,
    answer,
    endless,
    listed,
    one,
    refusal,
    registry_wire,
    reset,
)

pytestmark = pytest.mark.anyio

KEY: Final = ExpertKey("tic-tac-toe")
LIST: Final = answer(listed("1.0.0", latest="1.0.0"))
OTHER_HASH: Final = f"sha256-{hashlib.sha256(b'other').hexdigest()}"
HOSTILE: Final = (
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    "tic\u0430tac",
    "x\x1b[2J",
    "x\r\ny",
    "@acme/../../x",
    "x@../../y",
    "a" * 600,
)


def listed_as(integrity: str) -> Json:
    told = listed("1.0.0", latest="1.0.0")
    told["data"]["versions"][0]["integrity"] = integrity
    return told


FAULTS: Final[dict[str, tuple[tuple[Fault, ...], str]]] = {
    "truncated": ((LIST, answer(one(), cut=30)), "before its answer was whole"),
    "truncated within JSON": ((LIST, answer(json.dumps(one()).encode()[:90])), "understood"),
    "not JSON": ((LIST, answer(b"<html>")), "cannot be understood"),
    "huge": ((LIST, endless()), "larger than"),
    "a huge definition": ((LIST, answer(one(instruction="x" * 1_100_000))), "larger than"),
    "another Expert": ((LIST, answer(one("other"))), "answered with other@1.0.0"),
    "another version": ((LIST, answer(one(version="9.0.0"))), "answered with tic-tac-toe@9.0.0"),
    "a wrong hash": ((LIST, answer(one(integrity=OTHER_HASH))), "sha256|content|hash|integrity"),
    "a hash that was promised otherwise": (
        (answer(listed_as(OTHER_HASH)), answer(one())),
        "sha256|content|hash|integrity",
    ),
    "gone meanwhile": ((LIST, refusal(404, "tic-tac-toe@1.0.0 is not found")), "not found"),
    "a reset": ((LIST, reset()), "closed the connection"),
    "nobody may read": ((refusal(401, "an API key is needed"),), "an API key is needed"),
    "a redirect": ((answer(b"", 302, {"Location": "http://127.0.0.1:9"}),), "leads on"),
    "a broken server": ((refusal(500, "\x1b[31mTraceback"),), "HTTP 500"),
}


@pytest.fixture
def wire() -> Generator[Wire]:
    with registry_wire(answer(one())) as wire:
        yield wire


@pytest.fixture
def project(tmp_path: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PERSTACK_API_BASE_URL", wire.url)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "perstack.toml").write_text("")
    return open_project(folder, None)


def files_below(*roots: Path) -> set[Path]:
    return {path for root in roots for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_registry_does_wrong_is_told_and_leaves_nothing(
    project: Project, wire: Wire, tmp_path: Path, own_environment: Path, fault: str
) -> None:
    answers, says = FAULTS[fault]
    wire.then(*answers)
    before = files_below(tmp_path, own_environment)
    with anyio.fail_after(20), pytest.raises(RegistryError, match=says) as told:
        await completed(project, [KEY])

    assert all(line.isprintable() for line in told.value.message.split("\n"))
    written = files_below(tmp_path, own_environment) - before
    assert all(path.is_relative_to(cache_folder(os.environ)) for path in written)
    # Nothing of it is believed afterwards, with or without a registry.
    wire.then(refusal(503))
    with pytest.raises(RegistryUnreachableError):
        await completed(project, [KEY])


@pytest.mark.parametrize("delegate", HOSTILE)
async def test_a_hostile_delegate_is_refused_and_never_asked_for(
    project: Project, wire: Wire, tmp_path: Path, own_environment: Path, delegate: str
) -> None:
    wire.then(LIST, answer(one(delegates=[delegate])))
    before = files_below(tmp_path, own_environment)
    with pytest.raises(PerstackError) as told:
        await completed(project, [KEY])

    assert all(line.isprintable() for line in told.value.message.split("\n"))
    assert all("tic-tac-toe" in each.target for each in wire.asked)
    written = files_below(tmp_path, own_environment) - before
    assert all(path.is_relative_to(cache_folder(os.environ)) for path in written)


async def test_what_came_whole_is_kept_through_every_fault_after_it(
    project: Project, wire: Wire
) -> None:
    wire.then(LIST, answer(one()))
    accepting = replace(project, accepts_registry=True)
    first = (await completed(accepting, [KEY])).fetched[KEY]
    for fault in (refusal(503), refusal(429, "slow down"), reset(), refusal(500)):
        wire.then(fault)
        again = await completed(accepting, [KEY])
        assert again.fetched[KEY] == first
        assert any("cannot be reached" in text for text in again.fetch_warnings)
