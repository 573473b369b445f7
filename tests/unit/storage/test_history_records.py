"""`job.json` and `run-setting.json`: whole, ours, and not newer than us."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import SCHEMA_VERSION
from perstack.errors import CorruptRecordError, StorageError
from perstack.storage.history.codec import seal
from perstack.storage.history.records import (
    JobRecord,
    dump_job,
    dump_setting,
    load_job,
    load_setting,
)
from tests.fakes.history import job, setting

PATH = Path("jobs/job1/job.json")
JOB = JobId("job1")
RUN = RunId("run1")


def test_a_job_comes_back_with_the_heads_of_its_runs() -> None:
    record = JobRecord(job(), {RUN: 17})

    assert load_job(dump_job(record), path=PATH, job_id=JOB) == record


def test_a_setting_comes_back_as_it_was() -> None:
    told = setting().model_copy(update={"query": "half \ud800, whole \u2028 é"})

    found = load_setting(dump_setting(told), path=PATH, job_id=JOB, run_id=RUN)

    assert found.query == "half \ufffd, whole \u2028 é"
    assert found.model_copy(update={"query": None}) == told.model_copy(update={"query": None})


def test_a_record_of_a_newer_version_is_refused_before_anything_else() -> None:
    data = _changed({"schemaVersion": SCHEMA_VERSION + 1, "unheardOf": True})

    with pytest.raises(StorageError, match="newer version") as raised:
        load_job(data, path=PATH, job_id=JOB)

    assert not isinstance(raised.value, CorruptRecordError)
    assert "update perstack" in (raised.value.hint or "")


@pytest.mark.parametrize("change", [{"id": "job2"}, {"maxSteps": "x"}, {"heads": 3}, {"more": 1}])
def test_a_forged_job_is_refused_by_name(change: dict[str, JsonValue]) -> None:
    with pytest.raises(CorruptRecordError, match=r"job\.json"):
        load_job(_changed(change), path=PATH, job_id=JOB)


@pytest.mark.parametrize(("job_id", "run_id"), [("job2", "run1"), ("job1", "run2")])
def test_the_setting_of_another_run_is_refused(job_id: str, run_id: str) -> None:
    data = dump_setting(setting(run_id, job_id=job_id))

    with pytest.raises(CorruptRecordError, match="another run"):
        load_setting(data, path=PATH, job_id=JOB, run_id=RUN)


@pytest.mark.parametrize("data", [b"", b"\x00" * 300, b"{}", b"[]", b"null", b"{", b"\xff"])
def test_what_is_no_record_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(CorruptRecordError, match=r"job\.json is damaged"):
        load_job(data, path=PATH, job_id=JOB)


def test_every_cut_and_every_changed_byte_is_refused() -> None:
    whole = dump_job(JobRecord(job(), {RUN: 3})).removesuffix(b"\n")
    variants = [whole[:length] for length in range(len(whole))]
    variants += [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(len(whole))]
    for variant in variants:
        with pytest.raises(StorageError, match=r"job\.json"):
            load_job(variant, path=PATH, job_id=JOB)


def _changed(change: dict[str, JsonValue]) -> bytes:
    content = json.loads(dump_job(JobRecord(job(), {})))
    del content["crc"]
    return seal(json.dumps({**content, **change}).encode())
