"""/api/v1/specs, the same at /specifications, and /tasks/:tid/specs of a project's task."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from perstack.domain.project_views import SpecificationView, specification_view
from perstack.domain.projects import ProjectTaskId
from perstack.domain.specifications import SpecificationId, SpecificationType
from perstack.services.projects import NAME_LENGTH
from perstack.services.specifications import COMMENT_LENGTH, CONTENT_LENGTH, MOST_COMMENTS
from perstack.serving.rest.context import Principal, Services, needs
from perstack.serving.rest.envelope import Envelope, ok
from perstack.serving.rest.parameters import ID_LENGTH, Body, Whole
from perstack.serving.rest.shapes import Deleted

router = APIRouter(tags=["specs"])
READS = Depends(needs("projects", "read"))
_may_write = needs("projects", "write")
WRITES = Depends(_may_write)
_PREFIXES = ("/specs", "/specifications")

Writer = Annotated[Principal, WRITES]
TaskPath = Annotated[ProjectTaskId, Path(alias="tid", min_length=1, max_length=ID_LENGTH)]
SpecPath = Annotated[SpecificationId, Path(alias="id", min_length=1, max_length=ID_LENGTH)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=r"\S")]
Content = Annotated[str, Field(min_length=1, max_length=CONTENT_LENGTH, pattern=r"\S")]
Comments = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=COMMENT_LENGTH, pattern=r"\S")], ...],
    Field(max_length=MOST_COMMENTS),
]


class CreateSpecification(Body):
    """A draft."""

    type: SpecificationType
    title: Name
    content: Content
    created_by: Name | None = None
    """Counts where nobody is signed in; else who is signed in wrote it"""


class ChangeSpecification(Body):
    """What changes; what is not there or null stays."""

    type: SpecificationType | None = None
    title: Name | None = None
    content: Content | None = None


class ReviewSpecification(Body):
    """Who decides, and what they say."""

    reviewed_by: Name | None = None
    """Counts where nobody is signed in; else who is signed in decides"""
    comments: Comments = ()
    """Why; a rejection needs at least one"""
    version: Annotated[Whole | None, Field(ge=1)] = None
    """Only if that is what it still is"""


@router.get("/tasks/{tid}/specs", dependencies=[READS])
async def list_specifications(
    services: Services, task_id: TaskPath
) -> Envelope[tuple[SpecificationView, ...]]:
    """List the specifications of a project's task, the newest first."""
    found = await services.coordination.specifications.list(task_id)
    return ok(tuple(specification_view(one) for one in found))


@router.post("/tasks/{tid}/specs", dependencies=[WRITES], status_code=201)
async def create_specification(
    services: Services, principal: Writer, task_id: TaskPath, body: CreateSpecification
) -> Envelope[SpecificationView]:
    """Write a draft for a project's task."""
    made = await services.coordination.specifications.create(
        task_id,
        kind=body.type,
        title=body.title,
        content=body.content,
        created_by=principal.known_as(body.created_by),
    )
    return ok(specification_view(made))


async def get_specification(
    services: Services, specification_id: SpecPath
) -> Envelope[SpecificationView]:
    """Return a specification."""
    return ok(specification_view(await services.coordination.specifications.get(specification_id)))


async def change_specification(
    services: Services, specification_id: SpecPath, body: ChangeSpecification
) -> Envelope[SpecificationView]:
    """Change a specification, as its next version; what is approved no longer changes."""
    changed = await services.coordination.specifications.update(
        specification_id, kind=body.type, title=body.title, content=body.content
    )
    return ok(specification_view(changed))


async def delete_specification(services: Services, specification_id: SpecPath) -> Envelope[Deleted]:
    """Delete a specification."""
    await services.coordination.specifications.delete(specification_id)
    return ok(Deleted())


async def submit_specification(
    services: Services, specification_id: SpecPath
) -> Envelope[SpecificationView]:
    """Hand a draft in for review, or what was rejected once more."""
    submitted = await services.coordination.specifications.submit(specification_id)
    return ok(specification_view(submitted))


async def approve_specification(
    services: Services, principal: Writer, specification_id: SpecPath, body: ReviewSpecification
) -> Envelope[SpecificationView]:
    """Approve what is under review."""
    approved = await services.coordination.specifications.approve(
        specification_id,
        reviewed_by=principal.known_as(body.reviewed_by),
        comments=body.comments,
        version=body.version,
    )
    return ok(specification_view(approved))


async def reject_specification(
    services: Services, principal: Writer, specification_id: SpecPath, body: ReviewSpecification
) -> Envelope[SpecificationView]:
    """Reject what is under review, saying why."""
    rejected = await services.coordination.specifications.reject(
        specification_id,
        reviewed_by=principal.known_as(body.reviewed_by),
        comments=body.comments,
        version=body.version,
    )
    return ok(specification_view(rejected))


# The code calls them specs, the seed specifications: both are there.
for _prefix in _PREFIXES:
    _one = f"{_prefix}/{{id}}"
    router.get(_one, dependencies=[READS])(get_specification)
    router.put(_one, dependencies=[WRITES])(change_specification)
    router.delete(_one, dependencies=[WRITES])(delete_specification)
    router.put(f"{_one}/submit", dependencies=[WRITES])(submit_specification)
    router.put(f"{_one}/approve", dependencies=[WRITES])(approve_specification)
    router.put(f"{_one}/reject", dependencies=[WRITES])(reject_specification)
