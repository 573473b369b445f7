"""Specifications: texts that are written for a project's task, reviewed and then fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NewType

from pydantic import JsonValue

from perstack.domain.base import Model
from perstack.domain.projects import ProjectTaskId
from perstack.errors import ConflictError, WrongStateError

SpecificationId = NewType("SpecificationId", str)

SpecificationType = Literal["architecture", "requirements", "design", "api", "other"]
SpecificationStatus = Literal["draft", "pending_review", "approved", "rejected"]

SPECIFICATION_TYPES: Final[tuple[SpecificationType, ...]] = (
    "architecture",
    "requirements",
    "design",
    "api",
    "other",
)


class Comment(Model):
    """What somebody said of a specification. `created_at` in Unix milliseconds."""

    id: str
    author: str
    content: str
    created_at: int
    resolved: bool = False


class Specification(Model):
    """A text under review. `version` counts its edits from 1. Times in Unix milliseconds."""

    id: SpecificationId
    project_task_id: ProjectTaskId
    type: SpecificationType
    title: str
    content: str
    version: int = 1
    status: SpecificationStatus = "draft"
    created_by: str
    reviewed_by: str | None = None
    created_at: int
    updated_at: int
    approved_at: int | None = None
    comments: tuple[Comment, ...] = ()


def edited(found: Specification, changes: Mapping[str, JsonValue], *, now_ms: int) -> Specification:
    """Return it with other words, as its next version.

    A text that waits for review is a draft again: nobody shall approve what they did not read.

    Raises:
        ConflictError: it is approved, and so fixed.
    """
    if found.status == "approved":
        raise WrongStateError(
            "Cannot update an approved specification", hint="write another one for the same task"
        )
    status = "draft" if found.status == "pending_review" else found.status
    update: dict[str, object] = {**changes, "status": status, "updated_at": now_ms}
    return found.model_copy(update={**update, "version": found.version + 1})


def submitted(found: Specification, *, now_ms: int) -> Specification:
    """Return it as it waits for review; what was rejected may be handed in again.

    Raises:
        ConflictError: it waits already, or is approved.
    """
    if found.status not in ("draft", "rejected"):
        raise _not_from(found, "submit", "draft or rejected")
    return found.model_copy(
        update={"status": "pending_review", "reviewed_by": None, "updated_at": now_ms}
    )


def approved(
    found: Specification,
    *,
    by: str,
    comments: Sequence[Comment],
    version: int | None,
    now_ms: int,
) -> Specification:
    """Return it approved, and from now on fixed.

    Raises:
        ConflictError: it is not under review, or `version` is not what it is now.
    """
    _check_under_review(found, "approve", version)
    return found.model_copy(
        update={
            "status": "approved",
            "reviewed_by": by,
            "approved_at": now_ms,
            "updated_at": now_ms,
            "comments": (*found.comments, *comments),
        }
    )


def rejected(
    found: Specification,
    *,
    by: str,
    comments: Sequence[Comment],
    version: int | None,
    now_ms: int,
) -> Specification:
    """Return it rejected, with the comments that say why.

    Raises:
        ConflictError: as for `approved`.
    """
    _check_under_review(found, "reject", version)
    return found.model_copy(
        update={
            "status": "rejected",
            "reviewed_by": by,
            "updated_at": now_ms,
            "comments": (*found.comments, *comments),
        }
    )


def commented(found: Specification, comment: Comment, *, now_ms: int) -> Specification:
    """Return it with a comment more; its text, version and status stay."""
    comments = (*found.comments, comment)
    return found.model_copy(update={"comments": comments, "updated_at": now_ms})


def resolved(found: Specification, comment_id: str, *, now_ms: int) -> Specification | None:
    """Return it with a comment marked as dealt with, None when it has no such comment."""
    if all(comment.id != comment_id for comment in found.comments):
        return None
    comments = tuple(
        comment.model_copy(update={"resolved": True}) if comment.id == comment_id else comment
        for comment in found.comments
    )
    return found.model_copy(update={"comments": comments, "updated_at": now_ms})


def _check_under_review(found: Specification, verb: str, version: int | None) -> None:
    if found.status != "pending_review":
        raise _not_from(found, verb, "pending_review")
    if version is not None and version != found.version:
        raise ConflictError(
            f"Specification is at version {found.version}, not {version}",
            hint="read it again before deciding",
        )


def _not_from(found: Specification, verb: str, wanted: str) -> WrongStateError:
    return WrongStateError(
        f"Cannot {verb} a specification that is {found.status}: it must be {wanted}"
    )
