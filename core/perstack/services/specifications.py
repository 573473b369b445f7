"""Specifications: written, submitted, reviewed; what is approved no longer changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pydantic import JsonValue

from perstack.domain.projects import ProjectTaskId
from perstack.domain.specifications import (
    SPECIFICATION_TYPES,
    Comment,
    Specification,
    SpecificationId,
    approved,
    commented,
    edited,
    rejected,
    resolved,
    submitted,
)
from perstack.errors import NotFoundError, UsageError
from perstack.ports.stores import Stores
from perstack.ports.system import Clock, Ids
from perstack.services.bounds import check_number, check_text, check_word
from perstack.services.handle import Handle
from perstack.services.projects import NAME_LENGTH, Announce, unheard

CONTENT_LENGTH: Final = 1_000_000
COMMENT_LENGTH: Final = 10_000
MOST_COMMENTS: Final = 100


class SpecificationService:
    """What any front end may do with specifications.

    `announce` is told `spec:created`, and `spec:status` of every edit and every move.
    """

    def __init__(
        self,
        stores: Handle[Stores],
        *,
        clock: Clock,
        ids: Ids,
        announce: Announce = unheard,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._ids = ids
        self._announce = announce

    async def create(
        self, task_id: ProjectTaskId, *, kind: str, title: str, content: str, created_by: str
    ) -> Specification:
        """Write a draft for a project's task.

        Raises:
            NotFoundError: there is no such task.
            UsageError: no such type, or a text is empty or too long.
        """
        now = self._clock.now_ms()
        made = Specification(
            id=SpecificationId(self._ids.new()),
            project_task_id=task_id,
            type=check_word(kind, "type", SPECIFICATION_TYPES),
            title=check_text(title, "title", shortest=1, longest=NAME_LENGTH),
            content=check_text(content, "content", shortest=1, longest=CONTENT_LENGTH),
            created_by=check_text(created_by, "createdBy", shortest=1, longest=NAME_LENGTH),
            created_at=now,
            updated_at=now,
        )
        await self._stores.ask(lambda stores: stores.projects.add_specification(made))
        payload: dict[str, JsonValue] = {"specId": made.id, "taskId": task_id, "type": made.type}
        await self._announce("spec:created", payload)
        return made

    async def get(self, specification_id: SpecificationId) -> Specification:
        """Return it.

        Raises:
            NotFoundError: there is none.
        """
        return await self._stores.ask(
            lambda stores: stores.projects.get_specification(specification_id)
        )

    async def list(self, task_id: ProjectTaskId) -> Sequence[Specification]:
        """Return a task's specifications, the newest first.

        Raises:
            NotFoundError: there is no such task.
        """
        await self._stores.ask(lambda stores: stores.projects.get_task(task_id))
        return await self._stores.ask(lambda stores: stores.projects.list_specifications(task_id))

    async def update(
        self,
        specification_id: SpecificationId,
        *,
        kind: str | None = None,
        title: str | None = None,
        content: str | None = None,
    ) -> Specification:
        """Change what is given, as the next version; under review it becomes a draft again.

        Raises:
            NotFoundError: there is none.
            UsageError: as for `create`, or nothing is given.
            ConflictError: it is approved.
        """
        changes: dict[str, JsonValue] = {}
        if kind is not None:
            changes["type"] = check_word(kind, "type", SPECIFICATION_TYPES)
        if title is not None:
            changes["title"] = check_text(title, "title", shortest=1, longest=NAME_LENGTH)
        if content is not None:
            changes["content"] = check_text(content, "content", shortest=1, longest=CONTENT_LENGTH)
        if not changes:
            raise UsageError("nothing to change was given", hint="give type, title or content")
        change = partial(edited, changes=changes, now_ms=self._clock.now_ms())
        return await self._told(await self._change(specification_id, change))

    async def submit(self, specification_id: SpecificationId) -> Specification:
        """Hand it in for review.

        Raises:
            NotFoundError: there is none.
            ConflictError: it waits for review already, or is approved.
        """
        change = partial(submitted, now_ms=self._clock.now_ms())
        return await self._told(await self._change(specification_id, change))

    async def approve(
        self,
        specification_id: SpecificationId,
        *,
        reviewed_by: str,
        comments: Sequence[str] = (),
        version: int | None = None,
    ) -> Specification:
        """Approve it. With `version`, only if that is what it still is.

        Raises:
            NotFoundError: there is none.
            UsageError: nobody is named, or a comment is empty or too long.
            ConflictError: it is not under review, or was edited since that version.
        """
        change = self._decision(approved, reviewed_by, comments, version)
        return await self._told(await self._change(specification_id, change))

    async def reject(
        self,
        specification_id: SpecificationId,
        *,
        reviewed_by: str,
        comments: Sequence[str],
        version: int | None = None,
    ) -> Specification:
        """Reject it, with at least one comment that says why.

        Raises:
            NotFoundError, ConflictError: as for `approve`.
            UsageError: as for `approve`, or there is no comment.
        """
        if not comments:
            raise UsageError("Comments are required to reject a specification")
        change = self._decision(rejected, reviewed_by, comments, version)
        return await self._told(await self._change(specification_id, change))

    async def comment(
        self, specification_id: SpecificationId, *, author: str, content: str
    ) -> Specification:
        """Say something of it, whatever its status.

        Raises:
            NotFoundError: there is none.
            UsageError: a text is empty or too long, or there are too many comments.
        """
        now = self._clock.now_ms()
        said = self._comment(author, content, now)

        def change(found: Specification) -> Specification:
            check_number(len(found.comments) + 1, "comments", least=0, most=MOST_COMMENTS)
            return commented(found, said, now_ms=now)

        return await self._change(specification_id, change)

    async def resolve(self, specification_id: SpecificationId, comment_id: str) -> Specification:
        """Mark a comment as dealt with.

        Raises:
            NotFoundError: there is no such specification, or no such comment of it.
        """
        now = self._clock.now_ms()

        def change(found: Specification) -> Specification:
            done = resolved(found, comment_id, now_ms=now)
            if done is None:
                raise NotFoundError(f"Comment not found: {comment_id[:40]}")
            return done

        return await self._change(specification_id, change)

    async def delete(self, specification_id: SpecificationId) -> None:
        """Delete it.

        Raises:
            NotFoundError: there is none.
        """
        if not await self._stores.ask(
            lambda stores: stores.projects.delete_specification(specification_id)
        ):
            raise NotFoundError(f"Specification not found: {specification_id[:40]}")

    async def _change(
        self, specification_id: SpecificationId, change: Callable[[Specification], Specification]
    ) -> Specification:
        return await self._stores.ask(
            lambda stores: stores.projects.change_specification(specification_id, change)
        )

    def _decision(
        self,
        rule: Callable[..., Specification],
        by: str,
        comments: Sequence[str],
        version: int | None,
    ) -> Callable[[Specification], Specification]:
        now = self._clock.now_ms()
        author = check_text(by, "reviewedBy", shortest=1, longest=NAME_LENGTH)
        check_number(len(comments), "comments", least=0, most=MOST_COMMENTS)
        said = tuple(self._comment(author, content, now) for content in comments)
        return partial(rule, by=author, comments=said, version=version, now_ms=now)

    def _comment(self, author: str, content: str, now_ms: int) -> Comment:
        return Comment(
            id=self._ids.new(),
            author=check_text(author, "author", shortest=1, longest=NAME_LENGTH),
            content=check_text(content, "comment", shortest=1, longest=COMMENT_LENGTH),
            created_at=now_ms,
        )

    async def _told(self, changed: Specification) -> Specification:
        await self._announce("spec:status", {"specId": changed.id, "status": changed.status})
        return changed
