"""Comparing in this process: real jobs, folders and files; scripted model, a stand-in for Cursor.

Neither has a model of its own: what is said stands in the tests (`tests.fakes.comparing`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from perstack.config.typed import Overrides
from perstack.domain.comparisons import Contest
from perstack.domain.consensus import Decision
from perstack.errors import ConflictError, LimitError, NotFoundError, StorageError, UsageError
from perstack.runtime import open_consensus, open_history
from tests.fakes.comparing import WAITS, Comparisons
from tests.fakes.consensus import until
from tests.fakes.cursor import KEY

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURSOR_API_KEY", KEY)


def states(contest: Contest) -> dict[str, str]:
    return {row.label: row.state for row in contest.rows}


# --- what comes of it ---------------------------------------------------------------------


async def test_the_same_expert_runs_on_both_and_each_has_its_figures(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    contest = await made.run("perstack", "cursor")
    script, program = contest.rows
    assert (script.state, script.text) == ("completed", "Written.")
    assert (program.state, program.text) == ("completed", "Written, too.")
    assert (script.steps, script.tool_calls, script.changed) == (2, 1, 1)
    assert (program.tool_calls, program.changed) == (1, 2)  # the stand-in notes how it was called
    assert script.usage.total_tokens > 0
    assert contest.finished_at is not None
    for row in contest.rows:
        assert row.exit_code == 0
        assert (row.lasted_ms(0) or 0) >= 0


async def test_a_model_of_its_own_is_asked_for_by_its_name(tmp_path: Path) -> None:
    contest = await Comparisons(tmp_path).run(
        "perstack:gpt-5", "perstack:ollama/gpt-oss:20b", over=Overrides(max_retries=0)
    )
    named, other = contest.rows
    assert (named.model, named.state) == ("gpt-5", "completed")
    # Nothing listens there: it failed by itself, and took nothing with it.
    assert other.model == "gpt-oss:20b"
    assert other.state in ("failed", "unstarted")
    assert other.error


async def test_every_contestant_has_a_job_that_can_be_looked_at_and_its_files_stay(
    tmp_path: Path,
) -> None:
    made = Comparisons(tmp_path)
    contest = await made.run("perstack", "cursor")
    for row in contest.rows:
        folder = made.at(contest, row.label)
        (job,) = await open_history(folder).list_jobs()
        assert (job.id, job.status) == (row.job_id, "completed")
    assert (made.at(contest, "cursor") / "out.txt").read_text() == "of the program\n"
    assert not (tmp_path / "out.txt").exists()
    assert not (tmp_path / "perstack" / "jobs").exists()


async def test_the_diffs_are_against_the_start_and_between_two(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    made.put("kept.txt", "as it was\n")
    contest = await made.run("perstack", "cursor")
    assert made.changed(contest, None, "perstack") == {"out.txt": "@@ -0,0 +1 @@\n+of the script"}
    between = made.changed(contest, "perstack", "cursor")
    assert between["out.txt"] == "@@ -1 +1 @@\n-of the script\n+of the program"
    # What is changed once it has ended is no work of the contestant.
    (made.at(contest, "perstack") / "later.txt").write_text("x")
    assert list(made.changed(contest, None, "perstack")) == ["out.txt"]


# --- what cannot be started, and what stops -------------------------------------------------


async def test_a_program_that_is_missing_is_a_row_with_its_error(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    toml = tmp_path / "perstack.toml"
    toml.write_text(toml.read_text() + '[runtimes.codex]\ncommand = ["no-such-program"]\n')
    contest = await made.run("perstack", "codex")
    assert states(contest) == {"perstack": "completed", "codex": "unstarted"}
    missing = contest.rows[1]
    assert "no-such-program was not found" in (missing.error or "")
    assert missing.hint
    assert (missing.exit_code, missing.started_at) == (1, None)


async def test_a_key_that_is_missing_is_a_row_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    contest = await Comparisons(tmp_path).run("perstack", "perstack:openai/gpt-5")
    assert states(contest)["perstack-openai-gpt-5"] == "unstarted"
    assert "OPENAI_API_KEY" in f"{contest.rows[1].error} {contest.rows[1].hint}"


async def test_limits_hold_for_each(tmp_path: Path) -> None:
    contest = await Comparisons(tmp_path).run(
        "perstack", "perstack:other", over=Overrides(max_steps=1)
    )
    assert {row.state for row in contest.rows} == {"limit"}
    assert [row.exit_code for row in contest.rows] == [6, 6]


async def test_a_stop_stops_all_at_checkpoints(tmp_path: Path) -> None:
    made = Comparisons(tmp_path, play=WAITS)
    ended: list[Contest] = []

    async def run() -> None:
        ended.append(await made.run("perstack:a", "perstack:b", "perstack:c", at_once=2))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: bool(made.heard) and sum(one.steps for one in made.heard[-1].rows) == 2)
        made.control.stop("signal")
    contest = ended[0]
    assert set(states(contest).values()) == {"stopped"}
    # The third was never begun: no more than two were at work at once.
    assert [row.job_id is not None for row in contest.rows] == [True, True, False]


async def test_another_process_can_ask_for_the_stop(tmp_path: Path) -> None:
    made = Comparisons(tmp_path, play=WAITS)
    async with anyio.create_task_group() as group:
        group.start_soon(made.run, "perstack:a", "perstack:b")
        await until(lambda: bool(made.heard) and made.heard[-1].rows[1].steps == 1)
        with pytest.raises(ConflictError, match="a process runs comparison"):
            await to_thread.run_sync(made.store.remove, made.heard[0].id)
        await to_thread.run_sync(made.store.ask_stop, made.heard[0].id)
    assert set(states(made.store.get(made.heard[0].id).shown).values()) == {"stopped"}
    with pytest.raises(ConflictError, match="no process runs"):
        made.store.ask_stop(made.heard[0].id)


async def test_a_contestant_at_a_gate_waits_and_goes_on_once_it_is_decided(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    toml = tmp_path / "perstack.toml"
    text = toml.read_text().replace(
        'packageName = "@perstack/base"',
        'packageName = "@perstack/base"\nrequireApproval = ["writeTextFile"]',
    )
    toml.write_text(text)
    ended: list[Contest] = []

    async def run() -> None:
        ended.append(await made.run("perstack", "cursor"))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await until(lambda: bool(made.heard) and made.heard[-1].rows[0].state == "waiting")
        waits = made.heard[-1].rows[0].consensus_id
        assert waits is not None
        inbox = open_consensus(made.at(made.heard[0], "perstack"))
        # The event is heard a moment before the gate is in the database.
        with anyio.fail_after(15):
            async with aclosing(inbox.watch(poll_s=0.01)) as seen:
                async for known in seen:
                    if waits in {each.id for each in known.pending}:
                        break
        await inbox.record(waits, Decision(approved=True, reviewed_by="person"), allow_self=True)
        await inbox.aclose()
    assert states(ended[0])["perstack"] == "completed"
    assert ended[0].rows[0].consensus_id is None


# --- what is copied -------------------------------------------------------------------------


async def test_ignored_files_secrets_and_histories_are_not_copied_and_are_no_difference(
    tmp_path: Path,
) -> None:
    made = Comparisons(tmp_path)
    made.put(".gitignore", "build/\n*.log\n")
    for path in ("build/a.o", "x.log", ".env", "node_modules/m/i.js", ".git/config", "src/b.py"):
        made.put(path, "X=1")
    contest = await made.run("perstack", "perstack:other")
    folder = made.at(contest, "perstack")
    assert (folder / "src" / "b.py").exists()
    for path in ("build", "x.log", ".env", "node_modules", ".git/config", "perstack/comparisons"):
        assert not (folder / path).exists(), path
    assert contest.rows[0].skipped == 0
    assert list(made.changed(contest, None, "perstack")) == ["out.txt"]


async def test_links_are_copied_as_links_and_nothing_behind_them_is(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    made = Comparisons(tmp_path / "w")
    (made.folder / "leads-out").symlink_to(outside)
    (made.folder / "round").symlink_to(".")
    contest = await made.run("perstack", "perstack:other")
    copied = made.at(contest, "perstack") / "leads-out"
    assert copied.is_symlink()
    assert os.readlink(copied) == str(outside)  # noqa: PTH115  what it says
    await to_thread.run_sync(made.store.remove, contest.id)
    assert (outside / "secret").read_text() == "s"


async def test_what_cannot_be_read_is_counted_and_what_is_huge_is_named_only(
    tmp_path: Path,
) -> None:
    made = Comparisons(tmp_path)
    toml = tmp_path / "perstack.toml"
    toml.write_text(toml.read_text() + "[snapshots]\nmaxFileBytes = 1000000\n")
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(5_000_000)
    os.mkfifo(tmp_path / "pipe")
    contest = await made.run("perstack", "perstack:other")
    folder = made.at(contest, "perstack")
    assert (folder / "huge.bin").stat().st_size == 5_000_000
    assert list(made.changed(contest, None, "perstack")) == ["out.txt"]
    assert not (folder / "pipe").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
async def test_a_file_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    made.put("locked", "x").chmod(0)
    contest = await made.run("perstack", "perstack:other")
    assert [row.skipped for row in contest.rows] == [1, 1]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
async def test_git_in_a_copy_never_finds_the_repository_of_the_workspace(tmp_path: Path) -> None:
    await anyio.run_process(["git", "init", "-q", str(tmp_path)])
    made = Comparisons(tmp_path)
    contest = await made.run("perstack", "perstack:other")
    folder = made.at(contest, "perstack")
    found = await anyio.run_process(["git", "-C", str(folder), "rev-parse", "--show-toplevel"])
    assert Path(found.stdout.decode().strip()) == folder.resolve()


async def test_too_many_files_are_refused_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    toml = tmp_path / "perstack.toml"
    toml.write_text(toml.read_text() + "[snapshots]\nmaxFiles = 2\n")
    with pytest.raises(LimitError, match="files"):
        await made.run("perstack", "cursor")
    assert list((tmp_path / "perstack" / "comparisons").iterdir()) == []


# --- what is stored -------------------------------------------------------------------------


async def test_what_was_finished_is_shown_after_the_process_died(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    contest = await made.run("perstack", "perstack:other")
    # As a process leaves it that is killed while the second is at work.
    cut = contest.with_row(contest.rows[1].model_copy(update={"state": "running"}))
    await to_thread.run_sync(made.store.save, cut.model_copy(update={"finished_at": None}))
    stored = made.store.get(contest.id)
    assert not stored.alive
    assert list(states(stored.shown).values()) == ["completed", "lost"]
    assert list(made.changed(contest, None, "perstack-other")) == ["out.txt"]


async def test_a_damaged_record_hides_no_other_and_can_be_removed(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    one = await made.run("perstack", "perstack:other")
    two = await made.run("perstack", "perstack:other")
    record = made.at(one, "perstack").parent / "comparison.json"
    record.write_text("{")
    assert [stored.contest.id for stored in made.store.list()] == [two.id]
    with pytest.raises(StorageError, match="not the record"):
        made.store.get(one.id)
    assert await to_thread.run_sync(made.store.remove, one.id) > 0
    with pytest.raises(NotFoundError):
        await to_thread.run_sync(made.store.remove, one.id)
    assert made.store.version().startswith(two.id)


async def test_folders_that_were_made_read_only_can_be_removed(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    contest = await made.run("perstack", "perstack:other")
    cache = made.at(contest, "perstack") / "cache"
    cache.mkdir()
    (cache / "f").write_text("x")
    cache.chmod(0o500)
    await to_thread.run_sync(made.store.remove, contest.id)
    assert not made.at(contest, "perstack").parent.exists()


async def test_whoever_looks_at_a_comparison_does_not_keep_it_from_being_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Comparisons(tmp_path)
    contest = await made.run("perstack", "perstack:other")
    lock = made.at(contest, "perstack").parent / "lock"
    with lock.open("rb") as looks:
        fcntl.flock(looks, fcntl.LOCK_SH)
        waited: list[float] = []

        def looked(seconds: float) -> None:
            waited.append(seconds)
            fcntl.flock(looks, fcntl.LOCK_UN)

        monkeypatch.setattr("perstack.storage.comparisons.time.sleep", looked)
        await to_thread.run_sync(made.store.remove, contest.id)
    assert len(waited) == 1
    assert made.store.list() == []


async def test_comparisons_are_not_kept_behind_a_link(tmp_path: Path) -> None:
    made = Comparisons(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "perstack").mkdir()
    (tmp_path / "perstack" / "comparisons").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="is a link"):
        await made.run("perstack", "cursor")
    assert list(elsewhere.iterdir()) == []
    assert made.store.list() == []


async def test_a_key_is_nowhere_in_the_record(tmp_path: Path) -> None:
    made = Comparisons(tmp_path, talk=[{"fail": f"bad key {KEY}", "code": 1}])
    contest = await made.run("perstack", "cursor", query=f"use {KEY}")
    assert contest.rows[1].state == "failed"
    assert contest.query == "use [redacted]"
    record = made.at(contest, "cursor").parent / "comparison.json"
    assert KEY not in record.read_text()


async def test_an_expert_that_is_not_defined_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    made = Comparisons(tmp_path)
    with pytest.raises(UsageError, match="query"):
        await made.run("perstack", "cursor", query="  ")
    assert not (tmp_path / "perstack" / "comparisons").exists()
