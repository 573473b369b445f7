"""`perstack export`: one file that holds a job."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.events import Event, Retry, RunError, StopRunByError
from perstack.domain.jobs import ForkPoint
from perstack.errors import (
    ConflictError,
    CorruptRecordError,
    NotFoundError,
    StorageError,
    UsageError,
)
from perstack.projection.markdown import MarkdownRuns
from perstack.projection.run_state import made_checkpoint
from tests.fakes.stored import store, typed
from tests.unit.projection.builder import Run, call, chain, parallel, usage
from tests.unit.projection.test_replay import forks, steps

Json = dict[str, Any]
SECRET = "canary-0123456789-secret"


def export(workspace: Path, *words: str) -> str:
    return typed("export", "job1", "-o", "-", "--workspace", str(workspace), *words).stdout


def log(workspace: Path, *options: str) -> Json:
    return json.loads(typed("log", "--json", "--workspace", str(workspace), *options).stdout)


@pytest.mark.parametrize("history", [chain, parallel, steps, forks])
def test_every_checkpoint_is_the_one_that_log_shows(
    tmp_path: Path, history: Callable[[], list[Event]]
) -> None:
    events = history()
    store(tmp_path, events)
    document = json.loads(export(tmp_path))
    found = {point["id"]: point for run in document["runs"] for point in run["checkpoints"]}
    assert set(found) == {made for event in events if (made := made_checkpoint(event))}
    for checkpoint_id, checkpoint in found.items():
        assert checkpoint == log(tmp_path, "--checkpoint", checkpoint_id)["checkpoint"]


@pytest.mark.parametrize("history", [chain, parallel, steps, forks])
def test_every_event_is_the_one_that_log_shows(
    tmp_path: Path, history: Callable[[], list[Event]]
) -> None:
    events = history()
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
    assert "_9 in, 1 out; $0.25_" in text


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
    folded = ["details", "fence", "</details>"] * (3 if result.strip() else 2)
    assert ours(lines) == ["**Query**", "**Step", *folded, "**Result**"]


def ours(lines: list[str]) -> list[str]:
    """The lines of a transcript that are neither prose nor in a fence, without their words."""
    found: list[str] = []
    fence: str | None = None
    for line in lines:
        assert "\n" not in line
        assert "\x1b" not in line
        if fence is not None:
            fence = None if re.fullmatch(rf" {{0,3}}`{{{len(fence)},}}\s*", line) else fence
        elif (opened := re.match(r" {0,3}(`{3,})", line)) is not None:
            fence = opened[1]
            found.append("fence")
        elif line.startswith(">"):
            assert "<" not in line
            assert "![" not in line
        elif line.startswith("<details><summary>"):
            assert line.count("<") == 3
            assert line.endswith("</summary>")
            found.append("details")
        elif line:
            found.append(line.split(" ")[0])
    assert fence is None
    return found


def test_fork_points_that_are_missing_are_no_error(tmp_path: Path) -> None:
    run = Run("r-x", "worker")
    run.start("More", parent=ForkPoint(run_id=run.id, checkpoint_id=run.point("gone")))
    run.complete("Done.")
    store(tmp_path, run.events)
    assert json.loads(export(tmp_path))["runs"][0]["checkpoints"][0]["status"] == "completed"
    assert "Done." in export(tmp_path, "--format", "md")
