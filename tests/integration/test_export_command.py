"""`perstack export`: one file that holds a job."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from perstack.domain.events import Event, Retry, RunError, StopRunByError, SuspendRun
from perstack.domain.ids import CheckpointId, JobId
from perstack.domain.jobs import ForkPoint
from perstack.errors import (
    ConflictError,
    CorruptRecordError,
    NotFoundError,
    StorageError,
    UsageError,
)
from perstack.projection.event_facts import made_checkpoint
from perstack.projection.markdown import MarkdownRuns
from perstack.services.exporting import Export
from perstack.services.looking import JobRuns, see_job
from tests.fakes.history import history
from tests.fakes.stored import store, typed
from tests.unit.projection.builder import Run, call, chain, parallel, usage
from tests.unit.projection.test_replay import forks, steps

Json = dict[str, Any]
SECRET = "canary-0123456789-secret"
OWN, LATE = CheckpointId("own-point"), CheckpointId("late-point")


def export(workspace: Path, *words: str) -> str:
    return typed("export", "job1", "-o", "-", "--workspace", str(workspace), *words).stdout


def log(workspace: Path, *options: str) -> Json:
    return json.loads(typed("log", "--json", "--workspace", str(workspace), *options).stdout)


@pytest.mark.parametrize("events_of", [chain, parallel, steps, forks])
def test_every_checkpoint_is_the_one_that_log_shows(
    tmp_path: Path, events_of: Callable[[], list[Event]]
) -> None:
    events = events_of()
    store(tmp_path, events)
    document = json.loads(export(tmp_path))
    found = {point["id"]: point for run in document["runs"] for point in run["checkpoints"]}
    assert set(found) == {made for event in events if (made := made_checkpoint(event))}
    for checkpoint_id, checkpoint in found.items():
        assert checkpoint == log(tmp_path, "--checkpoint", checkpoint_id)["checkpoint"]


@pytest.mark.parametrize("events_of", [chain, parallel, steps, forks])
def test_every_event_is_the_one_that_log_shows(
    tmp_path: Path, events_of: Callable[[], list[Event]]
) -> None:
    events = events_of()
    store(tmp_path, events)
    document = json.loads(export(tmp_path))
    shown = log(tmp_path, "--take", "0")
    for run in document["runs"]:
        run_id = run["runSetting"]["runId"]
        assert run["events"] == [each for each in shown["events"] if each["runId"] == run_id]
    assert document["job"] == shown["job"]
    assert sum(len(run["events"]) for run in document["runs"]) == len(events)


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, chain())
    monkeypatch.chdir(tmp_path)
    typed("export", "job1")
    whole = (tmp_path / "job1.json").read_text()
    assert whole == export(tmp_path)
    assert (tmp_path / "job1.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConflictError, match="exists"):
        typed("export", "job1")
    typed("export", "job1", "--force")
    (path,) = tmp_path.glob("perstack/jobs/job1/runs/r-b/events.jsonl")
    path.write_bytes(path.read_bytes().replace(b"Say hello", b"Say hallo"))
    with pytest.raises(CorruptRecordError):
        typed("export", "job1", "--force")
    assert (tmp_path / "job1.json").read_text() == whole
    assert sorted(each.name for each in tmp_path.iterdir()) == ["job1.json", "perstack"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    store(tmp_path, chain())
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for path in (pipe, folder):
        for force in ((), ("--force",)):
            with pytest.raises(StorageError, match="not a regular file"):
                typed("export", "job1", "--workspace", str(tmp_path), "-o", str(path), *force)
    assert pipe.is_fifo()
    assert folder.is_dir()


def test_a_job_that_works_on_meanwhile_is_exported_as_it_was_at_first(tmp_path: Path) -> None:
    events = steps()
    store(tmp_path, events, status="running", finished=False)

    async def written_while_it_grows() -> str:
        kept = history(tmp_path)
        seen = await see_job(kept, await kept.look_at_job(JobId("job1")))
        runs = JobRuns(await kept.list_runs(JobId("job1")))
        document = ""
        async with kept.drive_job(JobId("job1")) as driven:
            _, log = await driven.reopen_run(runs.ids[0])
            async for piece in Export(kept, seen, runs, str).json():
                document += piece
                if piece.endswith('"checkpoints":['):
                    log.append(SuspendRun(checkpoint_id=OWN, reason="user"), step_number=9)
                    await log.sync()
                elif piece.endswith('"events":['):
                    log.append(SuspendRun(checkpoint_id=LATE, reason="user"), step_number=9)
                    await log.sync()
            log.close()
        return document

    (run,) = json.loads(anyio.run(written_while_it_grows))["runs"]
    assert run["checkpoints"][-1]["id"] == OWN
    assert len(run["events"]) == len(events) + 1
    assert LATE not in str(run)


def test_a_torn_end_is_exported_without_it_and_said(tmp_path: Path) -> None:
    store(tmp_path, chain())
    (path,) = tmp_path.glob("perstack/jobs/job1/runs/r-b/events.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    result = typed("export", "job1", "-o", "-", "--workspace", str(tmp_path))
    assert result.stderr.count("Warning: run r-b: ") == 1
    assert len(json.loads(result.stdout)["runs"][1]["events"]) == 5


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("nobody",), NotFoundError),
        (("../x",), UsageError),
        (("job1", "--format", "xml"), UsageError),
        (("job1", "-o", "no/such/folder/x.json"), StorageError),
        (("job1", "--workspace", "/nowhere/at/all"), UsageError),
        (("job1", "--otel-endpoint", "collector:4318"), UsageError),
    ],
)
def test_what_cannot_be_exported_is_refused(
    tmp_path: Path, words: tuple[str, ...], error: type[Exception]
) -> None:
    store(tmp_path, chain())
    with pytest.raises(error):
        typed("export", "--workspace", str(tmp_path), *words)


def leaky() -> list[Event]:
    run = Run("r-leak", "worker")
    run.init(query="Go")
    run.start(f"Use {SECRET}")
    part = call("t1", "exec", command=SECRET)
    run.tools(part, text=f"I saw {SECRET}", thinking=SECRET, spent=usage(1, 1))
    run.returns(part, f"key={SECRET}")
    run.close_batch()
    run.next_step()
    run.complete(f"It is {SECRET}.")
    return run.events


@pytest.mark.parametrize("form", ["json", "md"])
def test_a_secret_of_today_is_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    store(tmp_path, leaky())
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    document = export(tmp_path, "--format", form)
    assert SECRET not in document
    assert "[redacted]" in document
    (tmp_path / ".env").write_text(f"OTHER_TOKEN={SECRET}\n")
    monkeypatch.delenv("SOME_API_KEY")
    assert SECRET not in export(tmp_path, "--format", form)


# ---------------------------------------------------------------- Markdown


def test_a_transcript_nests_what_was_delegated(tmp_path: Path) -> None:
    store(tmp_path, parallel())
    lines = export(tmp_path, "--format", "md").splitlines()
    assert lines[0] == "# Job job1"
    assert [line for line in lines if "## " in line] == [
        "## Run of coordinator",
        "> ## Delegated to worker-a",
        "> ## Delegated to worker-b",
    ]
    assert "> > Two lines." in lines
    assert "> Both workers finished." in lines
    assert "<details><summary>Calls worker-a Read notes.txt</summary>" in lines
    assert "> <details><summary>Calls readTextFile notes.txt</summary>" in lines


def test_a_transcript_tells_what_went_wrong_and_what_was_spent(tmp_path: Path) -> None:
    run = Run("r-x", "worker")
    run.init()
    run.start("Go")
    run.add(Retry(reason="slow *down*", attempt=1, delay_ms=0, usage=usage(9, 1), cost_usd=0.25))
    error = RunError(name="ProviderError", message="no <b>credit</b>")
    run.add(StopRunByError(checkpoint_id=run.point("stop"), error=error))
    store(tmp_path, run.events, status="stoppedByError")
    text = export(tmp_path, "--format", "md")
    assert "- Status: stoppedByError" in text
    assert "**Retry 1**: slow \\*down\\*" in text
    assert "**Failed: ProviderError**: no \\<b\\>credit\\</b\\>" in text
    assert "_9 in, 1 out; cost $0.25_" in text


def test_a_fork_says_what_it_goes_on_from(tmp_path: Path) -> None:
    store(tmp_path, forks())
    text = export(tmp_path, "--format", "md")
    assert text.count("Goes on from checkpoint ") == 2
    assert "<details><summary>Answer of askUser</summary>" in text


HOSTILE = st.text(
    alphabet="`~<>/!-[]()*_#\n\r\t\x1b\u2028 ab&|detilsummary", max_size=60
) | st.sampled_from(
    [
        "```\n# Approved\n```",
        "</details>",
        "<!--",
        "````\n",
        "![x](http://x)",
        "\n\n# Job other",
        "~~~",
        "So it is.[^1]\n\n[^1]: # Approved",
        "\\\\[^1]: Approved",
    ]
)


@given(said=HOSTILE, argument=HOSTILE, result=HOSTILE, name=HOSTILE)
def test_nothing_that_is_said_breaks_out_of_its_block(
    said: str, argument: str, result: str, name: str
) -> None:
    run = Run("r-x", "worker")
    run.start(said)
    part = call("t1", name or "exec", text=argument)
    run.tools(part, text=said, thinking=result)
    run.returns(part, result)
    run.complete(said)
    pages = MarkdownRuns(lambda text: text, points=frozenset())
    lines = [line for event in run.events for line in pages.event(event)]
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    folded = ["<details><summary>", "fence", "</details>"]
    assert outline(lines) == [
        *("paragraph", "quotation", "paragraph"),
        *folded * bool(result.strip()),
        *["quotation"] * bool(said.strip()),
        *folded * 2,
        *("paragraph", "paragraph", "quotation"),
    ]


def outline(lines: list[str]) -> list[str]:
    """The blocks of a page as a reader of Markdown finds them, without what is within."""
    found: list[str] = []
    for token in MarkdownIt("commonmark").parse("\n".join(lines)):
        within = {child.type for child in token.children or ()}
        assert not within & {"html_inline", "image"}, token.content
        assert token.type != "inline" or "[^" not in token.content
        if token.level > 0:
            assert token.type != "html_block", token.content
        elif token.type == "html_block":
            tags = re.findall(r"<[^>]*>", token.content)
            assert tags in (["<details>", "<summary>", "</summary>"], ["</details>"])
            found.append("".join(tags[:2]))
        elif token.type == "fence":
            found.append("fence")
        elif token.type.endswith("_open"):
            found.append({"paragraph_open": "paragraph"}.get(token.type, "quotation"))
            assert token.type in ("paragraph_open", "blockquote_open")
    return found


def test_fork_points_that_are_missing_are_no_error(tmp_path: Path) -> None:
    run = Run("r-x", "worker")
    run.start("More", parent=ForkPoint(run_id=run.id, checkpoint_id=run.point("gone")))
    run.complete("Done.")
    store(tmp_path, run.events)
    assert json.loads(export(tmp_path))["runs"][0]["checkpoints"][0]["status"] == "completed"
    assert "Done." in export(tmp_path, "--format", "md")
