"""Completions of what is typed for a resource's place or a prompt's argument."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mcp.types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ResourceTemplateReference,
)

from perstack.domain.ids import check_path_id
from perstack.errors import NotFoundError, StorageError, UsageError
from perstack.serving.mcp.resources import TEMPLATES

if TYPE_CHECKING:
    from perstack.serving.backend import Served

MOST = 100


async def complete(served: Served, asked: CompleteRequestParams) -> CompleteResult:
    """Return what the value may become; for a task, and for anything unknown, nothing."""
    value, name = asked.argument.value, asked.argument.name
    if not isinstance(asked.ref, ResourceTemplateReference):
        return _result(())
    if asked.ref.uri not in {template.uri_template for template in TEMPLATES}:
        return _result(())
    if f"{{{name}}}" not in asked.ref.uri:
        return _result(())
    if name == "key":
        return _result(key for key in served.experts if key.startswith(value))
    if name == "jobId":
        return _result(await _jobs(served, value))
    given = (asked.context.arguments or {}) if asked.context is not None else {}
    return _result(await _checkpoints(served, given.get("jobId", ""), value))


async def _jobs(served: Served, value: str) -> list[str]:
    try:
        prefix = check_path_id("job id", value) if value else ""
    except UsageError:
        return []
    return sorted(await served.runtime.history.find_jobs(prefix))


async def _checkpoints(served: Served, job: str, value: str) -> list[str]:
    from perstack.services.job_checkpoints import newest_checkpoints
    from perstack.services.looking import find_job

    history = served.runtime.history
    try:
        job_id = await find_job(history, job)
        found = await newest_checkpoints(history, job_id, MOST * 10)
    except (NotFoundError, StorageError, UsageError):
        return []
    return [one for one in found if one.startswith(value)]


def _result(values: Iterable[str]) -> CompleteResult:
    every = list(values)
    return CompleteResult(
        completion=Completion(values=every[:MOST], total=len(every), has_more=len(every) > MOST)
    )
