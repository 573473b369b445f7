"""`job.json` and `run-setting.json`: one sealed JSON object each, refused if newer or damaged.

`job.json` also holds, under `heads`, the last record of each run that was known to be on the disk
when the job was saved. A log that ends before it has lost records, which nothing in the log itself
would show if it was cut between two lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from perstack.domain.ids import JobId, RunId
from perstack.domain.jobs import SCHEMA_VERSION, Job, RunSetting
from perstack.errors import CorruptRecordError, StorageError
from perstack.storage.history.codec import first_problem, readable, seal, unseal

Heads = Mapping[RunId, int]

_M = TypeVar("_M", bound=BaseModel)
_HEADS: Final = TypeAdapter(dict[RunId, int])
_OBJECT: Final = TypeAdapter(dict[str, JsonValue])


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What `job.json` holds."""

    job: Job
    heads: Heads


def dump_job(record: JobRecord) -> bytes:
    """Return the content of `job.json`."""
    return _seal_object({**_plain(record.job), "heads": {**record.heads}})


def load_job(data: bytes, *, path: Path, job_id: JobId) -> JobRecord:
    """Read the content of `job.json`.

    Raises:
        CorruptRecordError: it is damaged, or another job's.
        StorageError: a newer version wrote it.
    """
    found = _unseal_object(data, path)
    heads = found.pop("heads", {})
    job = _validate(Job, found, path)
    if job.id != job_id:
        raise CorruptRecordError(f"{path} holds the record of another job, {job.id[:40]!a}")
    try:
        return JobRecord(job, _HEADS.validate_python(heads))
    except ValidationError as error:
        raise _corrupt(path, f"heads: {first_problem(error)}") from error


def dump_setting(setting: RunSetting) -> bytes:
    """Return the content of `run-setting.json`."""
    return _seal_object(_plain(setting))


def load_setting(data: bytes, *, path: Path, job_id: JobId, run_id: RunId) -> RunSetting:
    """Read the content of `run-setting.json`.

    Raises:
        CorruptRecordError: it is damaged, or another run's.
        StorageError: a newer version wrote it.
    """
    setting = _validate(RunSetting, _unseal_object(data, path), path)
    if (setting.job_id, setting.run_id) != (job_id, run_id):
        raise CorruptRecordError(f"{path} holds the setting of another run")
    return setting


def _plain(model: BaseModel) -> dict[str, JsonValue]:
    return model.model_dump(mode="json", exclude_none=True)


def _seal_object(content: Mapping[str, JsonValue]) -> bytes:
    text = json.dumps(
        readable({**content}), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return seal(text.encode()) + b"\n"


def _unseal_object(data: bytes, path: Path) -> dict[str, JsonValue]:
    """Return the object without its checksum; the version is looked at before anything else."""
    try:
        found = _OBJECT.validate_json(data)
    except ValidationError as error:
        raise _corrupt(path, "it is no JSON object") from error
    version = found.get("schemaVersion")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise StorageError(
            f"{path} was written by a newer version (schema {version}, known is {SCHEMA_VERSION})",
            hint="update perstack: pip install --upgrade perstack",
        )
    if unseal(data.removesuffix(b"\n")) is None:
        raise _corrupt(path, "the checksum does not fit")
    del found["crc"]
    return found


def _validate(model: type[_M], found: dict[str, JsonValue], path: Path) -> _M:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise _corrupt(path, first_problem(error)) from error


def _corrupt(path: Path, reason: str) -> CorruptRecordError:
    return CorruptRecordError(
        f"{path} is damaged: {reason}", hint="restore the file from a backup, or remove its folder"
    )
