"""What is told of projects, their tasks and specifications: the same, with times that say so."""

from __future__ import annotations

from typing import TypeVar

from perstack.domain.base import Model
from perstack.domain.moments import Moment
from perstack.domain.projects import Project, ProjectTask, ProjectTaskId
from perstack.domain.specifications import (
    Comment,
    Specification,
    SpecificationId,
    SpecificationStatus,
    SpecificationType,
)

M = TypeVar("M", bound=Model)


class ProjectView(Project):
    """A project."""

    created_at: Moment
    updated_at: Moment


class ProjectTaskView(ProjectTask):
    """A project's task."""

    created_at: Moment
    updated_at: Moment
    completed_at: Moment | None = None


class CommentView(Comment):
    """What somebody said of a specification."""

    created_at: Moment


class SpecificationView(Model):
    """A specification."""

    id: SpecificationId
    project_task_id: ProjectTaskId
    type: SpecificationType
    title: str
    content: str
    version: int
    status: SpecificationStatus
    created_by: str
    reviewed_by: str | None
    created_at: Moment
    updated_at: Moment
    approved_at: Moment | None
    comments: tuple[CommentView, ...]


def project_view(found: Project) -> ProjectView:
    """Return a project as it is told of."""
    return _as(ProjectView, found)


def project_task_view(found: ProjectTask) -> ProjectTaskView:
    """Return a project's task as it is told of."""
    return _as(ProjectTaskView, found)


def specification_view(found: Specification) -> SpecificationView:
    """Return a specification as it is told of."""
    said = tuple(_as(CommentView, one) for one in found.comments)
    return _as(SpecificationView, found, comments=said)


def _as(view: type[M], found: Model, **other: object) -> M:
    same = {name: getattr(found, name) for name in type(found).model_fields}
    return view(**{**same, **other})
