"""Snapshots of a folder: what they hold, what they cost, and putting them back."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.ids import JobId
from perstack.domain.settings import SnapshotSettings
from perstack.domain.snapshots import Manifest, changes
from perstack.errors import CorruptRecordError, LimitError, NotFoundError
from perstack.ports.snapshots import Restored
from perstack.ports.system import SystemClock
from perstack.services.restore_plan import plan_restoration
from perstack.storage.files import Files
from perstack.storage.history.codec import seal
from perstack.storage.snapshots.recorder import FileRecorder
from perstack.storage.snapshots.store import FileSnapshots

JOB = JobId("job1")
USUAL = SnapshotSettings()


def store_in(folder: Path) -> FileSnapshots:
    (folder / "perstack" / "jobs" / JOB).mkdir(parents=True, exist_ok=True)
    return FileSnapshots(folder, clock=SystemClock(), folder=None)


def recorder_in(folder: Path, kept: SnapshotSettings = USUAL) -> FileRecorder:
    return store_in(folder).recorder(JOB, folder, kept)


def put_back(folder: Path, target: Manifest) -> Restored:
    store = store_in(folder)
    now = store.look(folder, USUAL)
    planned = plan_restoration(target, now, now)
    return store.restore(folder, planned.wanted, now)


def seen(folder: Path) -> dict[str, tuple[str, object, int]]:
    """Everything below a folder but histories: kind, content, mode."""
    found: dict[str, tuple[str, object, int]] = {}
    for at, folders, names in os.walk(folder):
        if at == str(folder):
            folders.remove("perstack")
        inside = os.path.relpath(at, folder)
        for name in [*names, *folders]:
            path = Path(at) / name
            mode = path.lstat().st_mode & 0o777
            where = os.path.normpath(f"{inside}/{name}")
            if path.is_symlink():
                found[where] = ("link", str(path.readlink()), 0)
            elif path.is_dir():
                found[where] = ("folder", None, 0)
            else:
                found[where] = ("file", path.read_bytes(), mode)
    return found


# -------------------------------------------------------------------- any sequence of changes

NAMES = st.sampled_from(["a", "b", "a/b", "a/c", "a/b/c", "d", "\udcff", "x\ny", "‮z", "n" * 255])
CONTENTS = st.binary(max_size=40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, CONTENTS),
        st.tuples(st.just("link"), NAMES, st.sampled_from([b"a", b"/etc/passwd", b".", b"gone"])),
        st.tuples(st.just("remove"), NAMES, st.just(b"")),
        st.tuples(st.just("folder"), NAMES, st.just(b"")),
        st.tuples(st.just("mode"), NAMES, st.sampled_from([b"\x80", b"\xed", b"\xa4"])),
        st.tuples(st.just("rename"), NAMES, st.just(b"")),
        st.tuples(st.just("snapshot"), st.just("a"), st.just(b"")),
    ),
    max_size=25,
)


def do(folder: Path, what: str, name: str, content: bytes) -> None:
    path = folder / name
    try:
        if what == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif what == "link":
            path.symlink_to(os.fsdecode(content))
        elif what == "folder":
            path.mkdir(parents=True)
        elif what == "mode" and not path.is_symlink() and path.is_file():
            path.chmod(content[0] | 0o400)
        elif what == "rename":
            path.rename(folder / "b")
        elif what == "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError:
        pass  # the folder has it otherwise; that is a state, too


@contextmanager
def a_folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_to_files_every_snapshot_restores_exactly(
    steps: list[tuple[str, str, bytes]],
) -> None:
    with a_folder() as folder:
        recorder = recorder_in(folder)
        were: list[dict[str, tuple[str, object, int]]] = []
        for what, name, content in [*steps, ("snapshot", "a", b"")]:
            if what == "snapshot":
                recorder.take([f"p{len(were)}"])
                were.append(seen(folder))
            elif not Path(os.path.realpath(folder / name)).is_relative_to(folder.resolve()):
                continue  # a link leads out: what is written there is not of the workspace
            else:
                do(folder, what, name, content)
        store = store_in(folder)
        for number in [*reversed(range(len(were))), *range(len(were))]:
            done = put_back(folder, store.manifest(JOB, number))
            assert (done.kept, done.missing) == ((), ())
            assert seen(folder) == were[number]


# -------------------------------------------------------------------- what is left out


def test_what_git_ignores_is_listed_and_not_stored(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*.log\n/build/\n!keep.log\n[z-a]\n")
    for name in ("a.log", "keep.log", "build/x", "sub/b.log", "sub/c.txt", "node_modules/m.js"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "sub" / ".gitignore").write_text("c.txt\n!b.log\n")
    found = store_in(tmp_path).look(tmp_path, USUAL)
    assert {path for path, entry in found.items() if entry.is_stored} == {
        ".gitignore",
        "keep.log",
        "sub/.gitignore",
        "sub/b.log",
    }
    ignored = {path for path, entry in found.items() if entry.why == "ignored"}
    assert ignored == {"a.log", "build", "sub/c.txt", "node_modules"}


def test_secrets_of_env_files_and_huge_files_reach_no_blob(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("KEY=canary-canary-canary")
    (tmp_path / "huge").write_bytes(b"canary-canary-canary" * 100)
    recorder_in(tmp_path, SnapshotSettings(max_file_bytes=100)).take(["p"])
    found = store_in(tmp_path).manifest(JOB, 0)
    assert found[".env.local"].why == "excluded"
    assert found["huge"].why == "too large"
    blobs = (tmp_path / "perstack" / "blobs").rglob("*")
    assert not any(b"canary" in path.read_bytes() for path in blobs if path.is_file())


def test_pipes_are_passed_over_and_loops_are_only_links(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "up").symlink_to("..")
    found = store_in(tmp_path).look(tmp_path, USUAL)
    assert {path: entry.target for path, entry in found.items()} == {"loop": "loop", "up": ".."}


def test_too_many_files_are_said_and_no_snapshot_is_taken(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / str(number)).touch()
    few = SnapshotSettings(max_files=4)
    recorder = recorder_in(tmp_path, few)
    assert not recorder.take(["p"])
    (mark,) = store_in(tmp_path).marks(JOB)
    assert mark.why is not None
    with pytest.raises(NotFoundError, match="more than 4 files"):
        store_in(tmp_path).manifest(JOB, 0)
    with pytest.raises(LimitError):
        store_in(tmp_path).look(tmp_path, few)


# -------------------------------------------------------------------- what it costs


def test_unchanged_files_cost_a_look_and_no_read_also_in_the_next_process(tmp_path: Path) -> None:
    for number in range(200):
        folder = tmp_path / str(number % 10)
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text(str(number))
    first = recorder_in(tmp_path)
    first.take(["p0"])
    assert (first.survey.reads, first.survey.looks) == (200, 210)
    settle(tmp_path, first)
    reads = first.survey.reads
    (tmp_path / "3" / "3.txt").write_text("other")
    first.take(["p2"])
    assert first.survey.reads == reads + 1
    first.close()
    settled_by = recorder_in(tmp_path)
    settled_by.take(["p3"])
    assert settled_by.survey.reads <= 1  # the one that was written a moment ago


def settle(folder: Path, recorder: FileRecorder) -> None:
    """Take snapshots until every file is older than a tick of the clock."""
    before = -1
    while recorder.survey.reads != before:
        before = recorder.survey.reads
        recorder.take(["p1"])


@pytest.mark.parametrize(
    ("files", "steps"), [(100, 45), pytest.param(10_000, 999, marks=pytest.mark.long)]
)
@pytest.mark.timeout(1800)
def test_steps_are_stored_in_what_they_changed(tmp_path: Path, files: int, steps: int) -> None:
    for number in range(files):
        (tmp_path / f"{number}.txt").write_text(str(number))
    recorder = recorder_in(tmp_path)
    sizes: list[int] = []
    for step in range(steps):
        (tmp_path / "7.txt").write_text(f"step {step}")
        recorder.take([f"p{step}"])
        if (step + 1) % (steps // 3) == 0:
            found = [p for p in (tmp_path / "perstack").rglob("*") if p.is_file()]
            sizes.append(sum(path.stat().st_size for path in found))
    grown = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert grown[1] < 2 * grown[0]
    assert max(grown) < steps * 1_000
    manifest = store_in(tmp_path).manifest(JOB, steps // 2)
    assert (
        store_in(tmp_path).content(manifest["7.txt"].digest or "") == f"step {steps // 2}".encode()
    )


# -------------------------------------------------------------------- safe


def test_nothing_is_written_through_a_link_that_leads_out(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    outside.mkdir()
    (inside / "a").mkdir(parents=True)
    (inside / "a" / "f").write_text("old")
    recorder_in(inside).take(["p"])
    target = store_in(inside).manifest(JOB, 0)
    shutil.rmtree(inside / "a")
    (inside / "a").symlink_to(outside)
    now = store_in(inside).look(inside, USUAL)
    # The link was seen as a folder that is not there: as if it were put there meanwhile.
    wanted = {"a/f": target["a/f"]}
    done = store_in(inside).restore(inside, wanted, {p: e for p, e in now.items() if p != "a"})
    assert done.kept == ("a/f",)
    assert list(outside.iterdir()) == []
    assert put_back(inside, target).written == ("a/f",)
    assert (inside / "a" / "f").read_text() == "old"
    assert list(outside.iterdir()) == []


def test_what_changes_while_files_are_put_back_stays(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    recorder_in(tmp_path).take(["p"])
    (tmp_path / "f").write_text("new")
    now = store_in(tmp_path).look(tmp_path, USUAL)
    (tmp_path / "f").write_text("newer")
    target = store_in(tmp_path).manifest(JOB, 0)
    done = store_in(tmp_path).restore(tmp_path, {"f": target["f"]}, now)
    assert (done.kept, (tmp_path / "f").read_text()) == (("f",), "newer")


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", "perstack/jobs/x", ".git/hooks/x", "a/.git", "a/../../x"]
)
def test_a_forged_index_leads_nowhere(tmp_path: Path, path: str) -> None:
    store_in(tmp_path)
    row = {path: ["f", 420, 0, "0" * 64]}
    whole = store_in(tmp_path).blobs.writing()
    store_in(tmp_path).blobs.make()
    full = whole.put(json.dumps(row).encode())
    whole.finish()
    first: dict[str, object] = {"n": 0, "at": 1, "point": "p", "set": row, "gone": []}
    second: dict[str, object] = {"n": 0, "at": 1, "point": "p", "full": full}
    index = tmp_path / "perstack" / "jobs" / JOB / "snapshots.jsonl"
    for line in (first, second):
        index.write_bytes(seal(json.dumps(line, separators=(",", ":")).encode()) + b"\n")
        with pytest.raises(CorruptRecordError):
            store_in(tmp_path).manifest(JOB, 0)
        with pytest.raises(CorruptRecordError):
            store_in(tmp_path).sweep()


def test_a_line_that_was_cut_off_is_no_snapshot_and_the_next_one_follows(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    recorder_in(tmp_path).take(["p0"])
    index = tmp_path / "perstack" / "jobs" / JOB / "snapshots.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole + whole[: len(whole) // 2])
    assert [mark.point for mark in store_in(tmp_path).marks(JOB)] == ["p0"]
    recorder_in(tmp_path).take(["p1"])
    assert [mark.point for mark in store_in(tmp_path).marks(JOB)] == ["p0", "p1"]


def test_a_whole_last_line_that_is_damaged_is_said_and_nothing_it_names_is_swept(
    tmp_path: Path,
) -> None:
    (tmp_path / "f").write_text("1")
    recorder_in(tmp_path).take(["p0"])
    (tmp_path / "f").write_text("2")
    recorder_in(tmp_path).take(["p1"])
    index = tmp_path / "perstack" / "jobs" / JOB / "snapshots.jsonl"
    damaged = bytearray(index.read_bytes())
    damaged[-30] ^= 1
    index.write_bytes(damaged)
    store = store_in(tmp_path)
    for ask in (
        lambda: store.marks(JOB),
        lambda: store.newest(tmp_path, [JOB]),
        store.sweep,
        lambda: recorder_in(tmp_path).take(["p2"]),
    ):
        with pytest.raises(CorruptRecordError, match="damaged"):
            ask()
    assert index.read_bytes() == damaged


class Power(Files):
    """Notes which files were synced, before they got their names."""

    def __init__(self) -> None:
        self.at: dict[int, Path] = {}
        self.opened: set[Path] = set()
        self.synced: set[Path] = set()
        self.named_unsynced: list[Path] = []

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        self.at[fd] = path
        self.opened.add(path)
        return fd

    def sync(self, fd: int) -> None:
        self.synced.add(self.at[fd])

    def rename(self, source: Path, target: Path) -> None:
        if source not in self.synced and len(target.name) == 62:
            self.named_unsynced.append(target)
        super().rename(source, target)


@pytest.mark.parametrize("files", [3, 60])
def test_a_content_has_its_name_only_once_it_is_on_the_disk(
    tmp_path: Path, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(files):
        (tmp_path / f"{number}.txt").write_text(f"{number}")
    power = Power()
    monkeypatch.setattr(os, "sync", lambda: power.synced.update(power.opened))
    (tmp_path / "perstack" / "jobs" / JOB).mkdir(parents=True)
    store = FileSnapshots(tmp_path, clock=SystemClock(), files=power, folder=None)
    store.recorder(JOB, tmp_path, USUAL).take(["p0"])
    assert power.named_unsynced == []
    assert len(store.manifest(JOB, 0)) == files


def test_an_empty_content_that_a_power_failure_left_is_stored_again(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    recorder_in(tmp_path).take(["p0"])
    store = store_in(tmp_path)
    digest = store.manifest(JOB, 0)["f"].digest or ""
    store.blobs.path(digest).write_bytes(b"")
    (tmp_path / "g").write_text("1")
    recorder_in(tmp_path).take(["p1"])
    assert store.content(digest) == b"1"


def test_looking_again_reads_only_what_was_appended(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    recorder = recorder_in(tmp_path)
    recorder.take(["p0"])
    reading = Reading()
    store = FileSnapshots(tmp_path, clock=SystemClock(), files=reading, folder=None)
    for number in range(50):
        (tmp_path / "f").write_text(str(number))
        recorder.take([f"q{number}"])
    assert len(store.marks(JOB)) == 51
    reading.read_bytes = 0
    assert len(store.marks(JOB)) == 51
    assert reading.read_bytes == 0
    recorder.take(["last"])
    assert store.marks(JOB)[-1].point == "last"
    assert 0 < reading.read_bytes < 1_000
    manifest = store.manifest(JOB, 20)
    assert store.content(manifest["f"].digest or "") == b"19"


class Reading(Files):
    """Counts what is read."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def read(self, path: Path, *, start: int = 0) -> bytes:
        data = super().read(path, start=start)
        self.read_bytes += len(data)
        return data


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    recorder_in(tmp_path).take(["p0"])
    left = [tmp_path / "perstack" / "blobs" / name for name in ("00.tmp", "aa/11.tmp")]
    left[1].parent.mkdir(exist_ok=True)
    for path in left:
        path.touch()
    store_in(tmp_path).sweep()
    assert not any(path.exists() for path in left)


def test_what_is_not_stored_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"small")
    (tmp_path / "notes").write_text("v1")
    small = SnapshotSettings(max_file_bytes=100)
    recorder_in(tmp_path, small).take(["p"])
    target = store_in(tmp_path).manifest(JOB, 0)
    (tmp_path / "big").write_bytes(b"b" * 500)
    (tmp_path / "notes").write_text("v2")
    (tmp_path / ".gitignore").write_text("notes\n")
    store = store_in(tmp_path)
    now = store.look(tmp_path, small)
    planned = plan_restoration(target, now, now, only=["big", "notes"])
    assert (planned.plan.kept, dict(planned.wanted)) == (("big", "notes"), {})
    # Nor by whoever has it put in place all the same.
    done = store.restore(tmp_path, {"big": target["big"], "notes": target["notes"]}, now)
    assert done.kept == ("big", "notes")
    assert ((tmp_path / "big").stat().st_size, (tmp_path / "notes").read_text()) == (500, "v2")


def test_only_what_nothing_names_is_swept(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("of one job")
    recorder_in(tmp_path).take(["p0"])
    other = tmp_path / "perstack" / "jobs" / "job2"
    other.mkdir()
    (tmp_path / "g").write_text("of another")
    store = store_in(tmp_path)
    store.recorder(JobId("job2"), tmp_path, USUAL).take(["q"])
    assert store.sweep().blobs == 0
    shutil.rmtree(other)
    assert store.sweep(dry_run=True).blobs == 2
    assert store.sweep().blobs == 2  # g's content and the manifest
    assert store.content(store.manifest(JOB, 0)["f"].digest or "") == b"of one job"
    assert changes(store.manifest(JOB, 0), store.look(tmp_path, USUAL)).added == ("g",)


def test_a_damaged_content_is_said_and_not_put_back(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("good")
    recorder_in(tmp_path).take(["p"])
    store = store_in(tmp_path)
    target = store.manifest(JOB, 0)
    store.blobs.path(target["f"].digest or "").write_bytes(b"0bad")
    with pytest.raises(CorruptRecordError):
        store.content(target["f"].digest or "")
    (tmp_path / "f").write_text("mine")
    assert put_back(tmp_path, target).missing == ("f",)
    assert (tmp_path / "f").read_text() == "mine"
