"""No path that a model writes leads out of the workspace, or to the history (S1, S2, S3)."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import tarfile
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest
from pydantic import JsonValue

from perstack.domain.expert import BaseSkill
from perstack.skills.base.rename import rename_to_new
from perstack.skills.base.skill import OpenBaseSkill
from tests.unit.skills.support import context_for, failure, result, text

pytestmark = pytest.mark.anyio

SECRET: Final = "the crown jewels"
DATA: Final = "the history"
AT_FDCWD: Final = -100
RENAME_EXCHANGE: Final = 2

# {out} is a directory beside the workspace, {ws} the workspace.
ATTACKS: Final = {
    "up": "../out/secret.txt",
    "up from below": "sub/../../out/secret.txt",
    "far up": "../../../../../../../../../../etc/passwd",
    "absolute": "{out}/secret.txt",
    "absolute through the workspace": "{ws}/../out/secret.txt",
    "sibling prefix": "{ws}-evil/secret.txt",
    "home": "~/secret.txt",
    "link to file": "link-file",
    "link to directory": "link-dir/secret.txt",
    "link to directory itself": "link-dir",
    "link to parent": "link-parent/out/secret.txt",
    "link to link": "link-link/secret.txt",
    "link to root": "link-root{out}/secret.txt",
    "link below": "sub/link-up/out/secret.txt",
    "dangling": "dangling",
    "dangling directory": "dangling/new.txt",
    "loop": "loop",
    "loop directory": "loop/x",
    "proc root": "/proc/self/root{out}/secret.txt",
    "proc cwd": "/proc/self/cwd/secret.txt",
    "link to proc root": "link-proc{out}/secret.txt",
    "nul": "sub\0/../../out/secret.txt",
    "empty": "",
    "history": "perstack/job.json",
    "history itself": "perstack",
    "history from below": "sub/../perstack/job.json",
    "history by absolute path": "{ws}/perstack/job.json",
    "history in capitals": "PERSTACK/job.json",
    "history in mixed case": "Perstack",
    "history through a link": "link-data/job.json",
    "history linked": "link-data",
    "history's file linked": "link-job",
}


@dataclass(frozen=True)
class Site:
    """A workspace with traps, and what must not be reached from it."""

    base: OpenBaseSkill
    workspace: Path
    outside: Path

    def path(self, attack: str) -> str:
        return attack.replace("{out}", str(self.outside)).replace("{ws}", str(self.workspace))

    def snapshot(self) -> dict[str, str]:
        """All that tools must not change: what lies outside, and the history."""
        places = [self.outside, self.workspace.parent / "ws-evil", self.workspace / "perstack"]
        return {
            str(path): path.read_text() if path.is_file() else "directory"
            for place in places
            for path in place.rglob("*")
        }


@pytest.fixture
def site(tmp_path: Path) -> Generator[Site, None, None]:
    workspace, outside, evil = (tmp_path / name for name in ("ws", "out", "ws-evil"))
    for directory in (workspace, outside, evil, workspace / "sub", workspace / "perstack"):
        directory.mkdir()
    for directory in (outside, evil):
        (directory / "secret.txt").write_text(SECRET)
    (workspace / "perstack" / "job.json").write_text(DATA)
    (workspace / "mine.txt").write_text("mine")
    links = {
        "link-file": outside / "secret.txt",
        "link-dir": outside,
        "link-parent": "..",
        "link-link": "link-dir",
        "link-root": "/",
        "sub/link-up": "../..",
        "dangling": outside / "new.txt",
        "loop": "loop",
        "link-proc": "/proc/self/root",
        "link-data": "perstack",
        "link-job": "perstack/job.json",
    }
    for name, target in links.items():
        (workspace / name).symlink_to(target)
    context = context_for(workspace, env={"HOME": str(outside)})
    base = OpenBaseSkill(context, BaseSkill())
    yield Site(base, workspace, outside)
    base.close()


def _calls(path: str) -> dict[str, tuple[str, dict[str, JsonValue]]]:
    return {
        "readTextFile": ("readTextFile", {"path": path}),
        "readImageFile": ("readImageFile", {"path": path}),
        "readPdfFile": ("readPdfFile", {"path": path}),
        "writeTextFile": ("writeTextFile", {"path": path, "text": "pwned"}),
        "appendTextFile": ("appendTextFile", {"path": path, "text": "pwned"}),
        "editTextFile": ("editTextFile", {"path": path, "oldText": "the", "newText": "no"}),
        "listDirectory": ("listDirectory", {"path": path}),
        "getFileInfo": ("getFileInfo", {"path": path}),
        "createDirectory": ("createDirectory", {"path": path}),
        "deleteFile": ("deleteFile", {"path": path}),
        "deleteDirectory": ("deleteDirectory", {"path": path, "recursive": True}),
        "moveFile from": ("moveFile", {"source": path, "destination": "stolen"}),
        "moveFile to": ("moveFile", {"source": "mine.txt", "destination": path}),
        "exec cwd": ("exec", {"command": "touch", "args": ["pwned"], "cwd": path}),
    }


@pytest.mark.parametrize("attack", list(ATTACKS))
async def test_no_tool_reaches_outside_the_workspace_or_the_history(
    site: Site, attack: str, subtests: pytest.Subtests
) -> None:
    before = site.snapshot()
    for use, (tool, args) in _calls(site.path(ATTACKS[attack])).items():
        with subtests.test(use):
            outcome = await site.base.call(tool, args)

            assert set(failure(outcome)) == {"error", "message"}
            assert SECRET not in text(outcome)
            assert DATA not in text(outcome)
            assert site.snapshot() == before
            assert not (site.workspace / "stolen").exists()


@pytest.mark.parametrize(
    "use", [use for use in _calls("") if not use.startswith(("read", "list", "get", "exec"))]
)
async def test_what_writes_refuses_a_link_as_its_target_even_within_the_workspace(
    site: Site, use: str
) -> None:
    (site.workspace / "inner").symlink_to("mine.txt")
    tool, args = _calls("inner")[use]

    told = failure(await site.base.call(tool, args))

    assert told["message"] == "Operation denied: target is a symbolic link"
    assert (site.workspace / "mine.txt").read_text() == "mine"


async def test_links_within_the_workspace_are_read_through(site: Site) -> None:
    (site.workspace / "inner").symlink_to("mine.txt")
    (site.workspace / "absolute").symlink_to(site.workspace / "sub")
    (site.workspace / "sub" / "deep.txt").write_text("deep")

    assert result(await site.base.call("readTextFile", {"path": "inner"}))["content"] == "mine"
    deep = await site.base.call("readTextFile", {"path": "absolute/deep.txt"})
    assert result(deep)["content"] == "deep"
    written = await site.base.call("writeTextFile", {"path": "absolute/new.txt", "text": "new"})
    assert not written.is_error
    assert (site.workspace / "sub" / "new.txt").read_text() == "new"


async def test_a_directory_called_perstack_further_down_is_nobodys(site: Site) -> None:
    path = "sub/perstack/notes.txt"
    assert not (await site.base.call("writeTextFile", {"path": path, "text": "x"})).is_error
    assert result(await site.base.call("readTextFile", {"path": path}))["content"] == "x"


async def test_the_history_is_refused_under_another_name_of_the_same_directory(
    site: Site, tmp_path: Path
) -> None:
    (site.workspace / "perstack").rename(site.workspace / "elsewhere")
    (site.workspace / "perstack").symlink_to("elsewhere")

    for path in ("elsewhere", "elsewhere/job.json"):
        told = failure(await site.base.call("getFileInfo", {"path": path}))
        assert told["message"] == "Access denied - perstack directory is not allowed"


async def test_listing_hides_the_history_but_nothing_of_that_name_below(site: Site) -> None:
    (site.workspace / "sub" / "perstack").mkdir()

    above = result(await site.base.call("listDirectory", {"path": "."}))["items"]
    below = result(await site.base.call("listDirectory", {"path": "sub"}))["items"]

    assert "'name': 'perstack'" not in str(above)
    assert "'name': 'perstack'" in str(below)


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
async def test_what_is_no_regular_file_is_refused_at_once(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = site.workspace / "odd"
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "directory":
        odd.mkdir()
    else:
        monkeypatch.chdir(site.workspace)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("odd")
    for use in ("readTextFile", "writeTextFile", "appendTextFile", "editTextFile", "deleteFile"):
        tool, args = _calls("odd")[use]
        assert failure(await site.base.call(tool, args))["error"] in ("NotAFile", "IsADirectory")
    assert odd.exists()


async def test_a_file_with_a_second_name_is_not_changed_under_it(site: Site) -> None:
    (site.workspace / "alias.txt").hardlink_to(site.workspace / "perstack" / "job.json")
    before = site.snapshot()

    await site.base.call("appendTextFile", {"path": "alias.txt", "text": "pwned"})
    await site.base.call("editTextFile", {"path": "alias.txt", "oldText": "the", "newText": "no"})
    await site.base.call("writeTextFile", {"path": "alias.txt", "text": "pwned"})

    assert site.snapshot() == before


class Swapper:
    """Swaps `swap`, a directory, with `lure`, a link that leads outside, as fast as it can.

    The two change places in one system call: `swap` is there at any moment.
    """

    def __init__(self, site: Site) -> None:
        real, lure = site.workspace / "swap", site.workspace / "lure"
        self._names = (os.fsencode(real), os.fsencode(lure))
        self._stop = threading.Event()
        real.mkdir()
        (real / "secret.txt").write_text("harmless")
        lure.symlink_to(site.outside)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_args: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        one, other = self._names
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        while not self._stop.is_set():
            assert rename(AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0, ctypes.get_errno()


def _swapped_calls(number: int) -> list[tuple[str, dict[str, JsonValue]]]:
    """Calls that go through the swapped directory; each round leaves it as it was."""
    secret, new, made = "swap/secret.txt", f"swap/new-{number}", f"swap/made-{number}/deep"
    return [
        ("readTextFile", {"path": secret}),
        ("appendTextFile", {"path": secret, "text": "!"}),
        ("editTextFile", {"path": secret, "oldText": "!", "newText": ""}),
        ("getFileInfo", {"path": secret}),
        ("listDirectory", {"path": "swap"}),
        ("writeTextFile", {"path": new, "text": "pwned"}),
        ("moveFile", {"source": new, "destination": f"{new}-moved"}),
        ("deleteFile", {"path": f"{new}-moved"}),
        ("createDirectory", {"path": made}),
        ("deleteDirectory", {"path": made, "recursive": True}),
    ]


async def _race(site: Site, *, rounds: int) -> None:
    os.utime(site.outside / "secret.txt", (1_000_000_000, 1_000_000_000))  # in September 2001
    before = site.snapshot()
    reached: dict[str, int] = {}
    with Swapper(site):
        for number in range(rounds):
            for tool, args in _swapped_calls(number):
                outcome = await site.base.call(tool, args)
                told = text(outcome)
                assert SECRET not in told
                assert "2001-09-09" not in told
                reached[tool] = reached.get(tool, 0) + (not outcome.is_error)
    assert site.snapshot() == before
    missed = [tool for tool, times in reached.items() if not times]
    assert not missed, f"the race never hit the real directory with {missed}; it proves nothing"


async def test_a_directory_swapped_for_a_link_in_between_leads_nowhere(site: Site) -> None:
    await _race(site, rounds=100)


@pytest.mark.long
async def test_a_directory_swapped_for_a_link_through_10_000_calls_leads_nowhere(
    site: Site,
) -> None:
    await _race(site, rounds=1_000)


async def test_a_command_begun_in_a_directory_that_is_swapped_runs_inside_or_not_at_all(
    site: Site,
) -> None:
    before = site.snapshot()
    began = 0
    with Swapper(site):
        while began < 20:
            args: dict[str, JsonValue] = {"command": "touch", "args": ["pwned"], "cwd": "swap"}
            began += not (await site.base.call("exec", args)).is_error
    assert site.snapshot() == before


async def test_links_that_an_archive_brings_along_lead_nowhere(site: Site) -> None:
    """Unpacking is `exec`'s, which is not confined by paths; what it leaves is no way out."""
    with tarfile.open(site.workspace / "evil.tar", "w") as archive:
        for name, target in (("way-out", str(site.outside)), ("data", "perstack")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    before = site.snapshot()

    unpacked = await site.base.call("exec", {"command": "tar", "args": ["xf", "evil.tar"]})

    assert not unpacked.is_error
    for path in ("way-out/secret.txt", "data/job.json"):
        for tool, args in _calls(path).values():
            failure(await site.base.call(tool, args))
    assert site.snapshot() == before


@pytest.mark.parametrize(
    ("tool", "args"),
    [
        ("moveFile", {"source": "sub", "destination": "moved"}),
        ("moveFile", {"source": "sub/inner", "destination": "moved"}),
        ("deleteDirectory", {"path": "sub", "recursive": True}),
        ("deleteDirectory", {"path": "sub/inner", "recursive": True}),
    ],
)
async def test_a_directory_in_which_a_linked_history_lies_is_neither_moved_nor_deleted(
    site: Site, tool: str, args: dict[str, JsonValue]
) -> None:
    (site.workspace / "sub" / "inner").mkdir()
    (site.workspace / "perstack").rename(site.workspace / "sub" / "inner" / "history")
    (site.workspace / "perstack").symlink_to("sub/inner/history")

    told = failure(await site.base.call(tool, args))

    assert told["message"] == "Access denied - perstack directory is not allowed"
    assert (site.workspace / "perstack" / "job.json").read_text() == DATA
    beside = {"source": "mine.txt", "destination": "sub/mine.txt"}
    assert not (await site.base.call("moveFile", {**beside})).is_error


async def test_a_history_that_a_command_has_moved_away_is_refused_where_it_is_now(
    site: Site,
) -> None:
    moved = await site.base.call("exec", {"command": "mv", "args": ["perstack", "sub/away"]})
    assert not moved.is_error
    for path in ("sub/away", "sub/away/job.json"):
        for tool, args in _calls(path).values():
            told = failure(await site.base.call(tool, args))
            assert told["message"] == "Access denied - perstack directory is not allowed"
    assert (site.workspace / "sub" / "away" / "job.json").read_text() == DATA


async def test_a_workspace_that_is_itself_a_link_is_where_it_led_at_the_start(
    tmp_path: Path,
) -> None:
    for name in ("real", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name.txt").write_text(name)
    link = tmp_path / "link"
    link.symlink_to("real")
    base = OpenBaseSkill(context_for(link), BaseSkill())
    link.unlink()
    link.symlink_to("other")
    for path in ("name.txt", str(link / "name.txt"), str(tmp_path / "real" / "name.txt")):
        assert result(await base.call("readTextFile", {"path": path}))["content"] == "real"
    failure(await base.call("readTextFile", {"path": str(tmp_path / "other" / "name.txt")}))
    base.close()


async def test_a_path_that_would_hold_too_many_directories_open_is_refused(site: Site) -> None:
    process = psutil.Process()
    open_before = process.num_fds()
    told = failure(await site.base.call("createDirectory", {"path": "d/" * 2_000}))
    assert told["message"] == "The path leads through over 48 directories."
    assert process.num_fds() == open_before


async def test_a_tree_too_deep_to_be_deleted_is_an_answer_not_a_crash(site: Site) -> None:
    script = "import os\nfor _ in range(2_000):\n os.mkdir('d'); os.chdir('d')"
    args: dict[str, JsonValue] = {"command": sys.executable, "args": ["-S", "-c", script]}
    assert not (await site.base.call("exec", {**args, "cwd": "sub"})).is_error
    told = failure(await site.base.call("deleteDirectory", {"path": "sub", "recursive": True}))
    assert told["error"] in ("TooDeep", "OSError")
    removed = await site.base.call("exec", {"command": "rm", "args": ["-r", "sub"]})
    assert not removed.is_error


async def test_moving_overwrites_nothing_that_appears_in_the_last_moment(site: Site) -> None:
    with (
        site.base.workspace.locate("mine.txt") as source,
        site.base.workspace.locate("sub/new") as target,
    ):
        assert target.found is None
        (site.workspace / "sub" / "new").write_text("somebody else's")
        with pytest.raises(FileExistsError):
            rename_to_new(source, target)
    assert (site.workspace / "sub" / "new").read_text() == "somebody else's"
    assert (site.workspace / "mine.txt").read_text() == "mine"
