"""/api/registry/v1/experts."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError

from perstack.domain.base import Model
from perstack.domain.registry import API, ExpertQuery, Status
from perstack.services.registry import reasons
from perstack.services.registry.checks import fault_in, read_request
from perstack.serving.registry.answers import expert_answer, page_answer, versions_answer
from perstack.serving.registry.asking import asked_of, known_holder, reader, state_of

T = TypeVar("T")
ANSWER_S: Final = 20.0

router = APIRouter(prefix=API)
READS: Final = [Depends(reader)]


class Change(Model):
    """What to change of a version; what is not given stays."""

    tags: tuple[str, ...] | None = None
    status: Status | None = None


async def _in_time(work: Awaitable[T]) -> T:
    """Wait for the tables, but not for ever.

    Raises:
        TimeoutError: others ask so much that it takes too long.
    """
    with anyio.fail_after(ANSWER_S):
        return await work


@router.get("", dependencies=READS)
@router.get("/", dependencies=READS)
async def list_experts(request: Request) -> Response:
    """Return a page of Experts, each in its latest version."""
    query = _query_in(request)
    return page_answer(await _in_time(state_of(request).shelf.search(query)), query)


@router.post("")
@router.post("/")
async def publish(request: Request) -> Response:
    """Publish a version."""
    holder = known_holder(request)
    asked = await anyio.to_thread.run_sync(read_request, await request.body())
    return expert_answer(await _in_time(state_of(request).publishing.publish(asked, holder)))


@router.get("/{path:path}", dependencies=READS)
async def find(request: Request) -> Response:
    """Return an Expert, or its versions."""
    asked, shelf = asked_of(request), state_of(request).shelf
    if asked.versions:
        return versions_answer(await _in_time(shelf.versions(asked.key)))
    return expert_answer(await _in_time(shelf.find(asked.key)))


@router.post("/{path:path}")
async def update(request: Request) -> Response:
    """Change the tags of a version, or its status."""
    holder = known_holder(request)
    asked = asked_of(request)
    if asked.versions:
        raise reasons.refused("there is nothing to change here", status=405)
    change = _change_in(await request.body())
    publishing = state_of(request).publishing
    changed = publishing.update(asked.key, holder, tags=change.tags, status=change.status)
    return expert_answer(await _in_time(changed))


@router.delete("/{path:path}")
async def unpublish(request: Request) -> Response:
    """Remove a version."""
    holder = known_holder(request)
    asked = asked_of(request)
    if asked.versions:
        raise reasons.refused("there is nothing to remove here", status=405)
    return expert_answer(await _in_time(state_of(request).publishing.unpublish(asked.key, holder)))


def _query_in(request: Request) -> ExpertQuery:
    try:
        return ExpertQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise reasons.unfit(fault_in(error)) from error


def _change_in(body: bytes) -> Change:
    try:
        return Change.model_validate_json(body)
    except ValidationError as error:
        raise reasons.unfit(fault_in(error)) from error
