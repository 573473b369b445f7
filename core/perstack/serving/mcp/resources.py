"""Resources: the project's Experts, its jobs and their checkpoints, as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from mcp import MCPError
from mcp.types import (
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)
from pydantic import JsonValue

from perstack.domain.ids import CheckpointId, JobId, check_path_id
from perstack.errors import LimitError, NotFoundError, PerstackError, UsageError

if TYPE_CHECKING:
    from perstack.domain.job_views import ExpertView
    from perstack.serving.backend import Served

EXPERTS: Final = "perstack://experts"
JOBS: Final = "perstack://jobs"
PAGE: Final = 100
JOBS_LISTED: Final = 500
LARGEST: Final = 4 * 1024 * 1024
_JSON: Final = "application/json"
_CURSOR: Final = re.compile(r"[0-9]{1,9}")
_NO_SUCH: Final = -32002

TEMPLATES: Final = (
    ResourceTemplate(
        name="expert",
        title="An Expert",
        uri_template=f"{EXPERTS}/{{key}}",
        description="What an Expert is for, whom it delegates to, which skills it has.",
        mime_type=_JSON,
    ),
    ResourceTemplate(
        name="job",
        title="A job",
        uri_template=f"{JOBS}/{{jobId}}",
        description="How a job stands: its result, its question, what it waits for.",
        mime_type=_JSON,
    ),
    ResourceTemplate(
        name="checkpoint",
        title="A job's checkpoint",
        uri_template=f"{JOBS}/{{jobId}}/checkpoints/{{checkpointId}}",
        description="A point that the job can go on from, with all messages up to it.",
        mime_type=_JSON,
    ),
)


async def list_resources(served: Served, cursor: str | None) -> ListResourcesResult:
    """Return a page of the resources: both lists, the Experts, the jobs driven last.

    Raises:
        MCPError: there is no such page.
    """
    from perstack.services.looking import see_jobs

    every = [
        Resource(name="experts", title="All Experts", uri=EXPERTS, mime_type=_JSON),
        Resource(name="jobs", title="The jobs driven last", uri=JOBS, mime_type=_JSON),
        *map(_expert_resource, served.experts.values()),
    ]
    every += [
        Resource(
            name=seen.job.id,
            title=f"{seen.job.coordinator_expert_key}: {seen.state}",
            uri=f"{JOBS}/{quote(seen.job.id, safe='')}",
            mime_type=_JSON,
        )
        for seen in await see_jobs(served.runtime.history, limit=JOBS_LISTED, states=frozenset())
    ]
    start = _start(cursor, len(every))
    more = str(start + PAGE) if start + PAGE < len(every) else None
    return ListResourcesResult(resources=every[start : start + PAGE], next_cursor=more)


def list_templates() -> ListResourceTemplatesResult:
    """Return the templates."""
    return ListResourceTemplatesResult(resource_templates=list(TEMPLATES))


async def read_resource(served: Served, uri: str) -> ReadResourceResult:
    """Return what is at `uri`.

    Raises:
        MCPError: nothing is there, or it cannot be read, or is larger than `LARGEST` bytes.
    """
    try:
        text = await _text(served, uri)
        if len(text) > LARGEST:
            raise LimitError(
                f"the resource is larger than {LARGEST // 1_048_576} MiB", hint="perstack log"
            )
    except (NotFoundError, UsageError) as error:
        raise MCPError(_NO_SUCH, error.message, {"uri": uri[:1_000]}) from error
    except PerstackError as error:
        raise MCPError(INVALID_PARAMS, error.message) from error
    return ReadResourceResult(contents=[TextResourceContents(uri=uri, mime_type=_JSON, text=text)])


async def _text(served: Served, uri: str) -> str:
    from perstack.projection.job_list import jobs_line
    from perstack.services.job_checkpoints import show_checkpoint
    from perstack.services.job_reports import report_job
    from perstack.services.looking import see_jobs

    history = served.runtime.history
    if uri == JOBS:
        return jobs_line(await see_jobs(history, limit=PAGE, states=frozenset()))
    if uri == EXPERTS:
        views = served.experts.values()
        return _as_text({"experts": [one.model_dump(mode="json", by_alias=True) for one in views]})
    if uri.startswith(f"{EXPERTS}/"):
        view = served.experts.find(unquote(uri.removeprefix(f"{EXPERTS}/")))
        return _as_text(view.model_dump(mode="json", by_alias=True, exclude_none=True))
    match [unquote(part) for part in uri.removeprefix(f"{JOBS}/").split("/")]:
        case [job] if uri.startswith(f"{JOBS}/"):
            report = await report_job(history, served.runtime.consensus, await _job(served, job))
            return _as_text(report.model_dump(mode="json", by_alias=True, exclude_none=True))
        case [job, "checkpoints", checkpoint] if uri.startswith(f"{JOBS}/"):
            check_path_id("checkpoint id", checkpoint)
            job_id = await _job(served, job)
            return _as_text(await show_checkpoint(history, job_id, CheckpointId(checkpoint)))
        case _:
            raise NotFoundError("there is no such resource", hint="see resources/list")


async def _job(served: Served, job: str) -> JobId:
    from perstack.services.looking import find_job

    return await find_job(served.runtime.history, job)


def _expert_resource(expert: ExpertView) -> Resource:
    return Resource(
        name=expert.key,
        title=expert.name,
        uri=f"{EXPERTS}/{quote(expert.key, safe='')}",
        description=expert.description,
        mime_type=_JSON,
    )


def _as_text(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(value)


def _start(cursor: str | None, count: int) -> int:
    if cursor is None:
        return 0
    start = int(cursor) if _CURSOR.fullmatch(cursor) else count
    if start >= count:
        raise MCPError(INVALID_PARAMS, "there is no such page")
    return start
