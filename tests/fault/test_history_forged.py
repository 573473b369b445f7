"""A history that somebody wrote by hand, checksums and all: refused in words, or harmless."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from perstack.domain.events import Event
from perstack.engine.control import StopControl
from perstack.engine.plan import JobOutcome
from perstack.errors import StorageError
from perstack.ports.frontend import Continuation
from perstack.storage.history.codec import seal, unseal
from tests.fakes.engine import FakeSkills, World, done, expert, says

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
Forge = Callable[[Json], bytes | None]


async def note(_: Mapping[str, JsonValue]) -> str:
    return "noted"


async def stopped(path: Path) -> tuple[World, JobOutcome]:
    """A job that a signal stopped after its first step, with work left."""

    def stop(event: Event) -> None:
        if event.body.type == "continueToNextStep":
            world.control.stop("signal")

    world = World(
        path,
        lambda _, turn: says("", ("note", {})) if turn < 3 else done("the end"),
        (expert("host"),),
        skills=FakeSkills({"note": note}),
    )
    world.heard.on = stop
    ended = await world.start()
    world.heard.on, world.control = None, StopControl()
    return world, ended


def forge(path: Path, change: Forge, *, line: int = 0) -> None:
    """Let `change` edit line `line` of a file; what it returns, if anything, is sealed instead."""
    lines = path.read_bytes().splitlines()
    document = unseal(lines[line])
    assert document is not None
    record: Json = json.loads(document)
    forged = change(record)
    lines[line] = seal(forged or json.dumps(record, separators=(",", ":")).encode())
    path.write_bytes(b"".join(one + b"\n" for one in lines))


def put(**changes: object) -> Forge:
    def change(record: Json) -> None:
        record.update(changes)

    return change


def deep(record: Json) -> bytes:
    nested = "[" * 100_000 + "]" * 100_000
    head = json.dumps({key: record[key] for key in ("seq", "at", "step")}, separators=(",", ":"))
    return f'{head[:-1]},"type":"startGeneration","more":{nested}}}'.encode()


def surrogate(record: Json) -> bytes:
    head = json.dumps({key: record[key] for key in ("seq", "at", "step")}, separators=(",", ":"))
    message = '"skillName":"x","message":"half a pair: \\ud800"'
    return f'{head[:-1]},"type":"skillStderr",{message}}}'.encode()


@pytest.mark.parametrize(
    "change",
    [
        put(step=-1),
        put(step=10**30),
        put(seq=7),
        put(at="yesterday"),
        put(type="becomeRoot"),
        put(type="completeRun"),
        put(surprise=True),
        deep,
        surrogate,
    ],
    ids=["negative step", "huge step", "seq", "time", "type", "body", "key", "deep", "surrogate"],
)
async def test_a_forged_event_is_refused_with_file_and_line(tmp_path: Path, change: Forge) -> None:
    world, ended = await stopped(tmp_path)
    events = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}/events.jsonl"
    forge(events, change, line=1)
    before = events.read_bytes()
    with pytest.raises(StorageError, match=r"events\.jsonl, line 2 is damaged") as refused:
        await world.go_on(Continuation(job_id=ended.job_id))
    assert refused.value.exit_code == 5
    assert refused.value.hint
    assert len(refused.value.message) < 1000
    assert events.read_bytes() == before
    assert len(world.model.requests) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(id="another"), "the record of another job"),
        (put(schemaVersion=99), "written by a newer version"),
        (put(totalSteps=-5), "totalSteps"),
        (put(drivenMs=-1), "drivenMs"),
        (put(status="free"), "status"),
        (put(heads={"x": "y"}), "heads"),
    ],
)
async def test_a_forged_job_is_refused_by_name(tmp_path: Path, change: Forge, words: str) -> None:
    world, ended = await stopped(tmp_path)
    forge(tmp_path / f"perstack/jobs/{ended.job_id}/job.json", change)
    with pytest.raises(StorageError, match=words) as refused:
        await world.go_on(Continuation(job_id=ended.job_id))
    assert "job.json" in refused.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(jobId="another"), "the setting of another run"),
        (put(runId="../../../etc"), "the setting of another run"),
        (put(schemaVersion=99), "written by a newer version"),
        (put(expertKey=7), "expertKey"),
    ],
)
async def test_a_forged_run_is_refused_by_name(tmp_path: Path, change: Forge, words: str) -> None:
    world, ended = await stopped(tmp_path)
    folder = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}"
    forge(folder / "run-setting.json", change)
    with pytest.raises(StorageError, match=words) as refused:
        await world.go_on(Continuation(job_id=ended.job_id))
    assert "run-setting.json" in refused.value.message


async def test_a_run_that_is_its_own_parent_is_refused(tmp_path: Path) -> None:
    world, ended = await stopped(tmp_path)
    folder = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}"
    forge(
        folder / "run-setting.json",
        put(parent={"runId": ended.run_id, "checkpointId": "nowhere"}),
    )
    with pytest.raises(StorageError, match="goes back to itself"):
        await world.go_on(Continuation(job_id=ended.job_id))


async def test_a_huge_record_is_read_and_goes_on(tmp_path: Path) -> None:
    world, ended = await stopped(tmp_path)
    events = tmp_path / f"perstack/jobs/{ended.job_id}/runs/{ended.run_id}/events.jsonl"

    def fifty_megabytes(record: Json) -> None:
        record["result"]["result"][0]["text"] = "x" * 50_000_000

    lines = [json.loads(unseal(line) or b"") for line in events.read_bytes().splitlines()]
    at = next(number for number, line in enumerate(lines) if line["type"] == "toolReturned")
    forge(events, fifty_megabytes, line=at)
    assert (await world.go_on(Continuation(job_id=ended.job_id))).outcome.text == "the end"
