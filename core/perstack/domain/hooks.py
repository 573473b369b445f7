"""Hooks: what happens around sessions and tasks, and workflows that such happenings start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from pydantic import JsonValue

from perstack.domain.coordination import CoordinationSettings
from perstack.domain.ids import SessionId, TaskId

HookEvent = Literal["session-start", "session-end", "pre-task", "post-task", "workflow"]
HOOK_EVENTS: Final[tuple[HookEvent, ...]] = (
    "session-start",
    "session-end",
    "pre-task",
    "post-task",
    "workflow",
)

DOC_SYNC: Final = "doc-sync"
_DOCUMENTS: Final = (".md", ".mdx")


class HookMemory(Protocol):
    """Memory as hooks see it: nobody's session, nobody's agent."""

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        """Write an entry, in place of one with that key."""
        ...

    async def search(self, query: str, *, namespace: str, limit: int) -> Sequence[str]:
        """Return the contents of the best hits, the best first."""
        ...


@dataclass(frozen=True, slots=True)
class HookContext:
    """What a hook is told. Handlers may add to `data`, which the next ones and the caller see."""

    event: HookEvent
    session_id: SessionId | None = None
    task_id: TaskId | None = None
    agent_type: str | None = None
    data: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])


HookHandler = Callable[[HookContext, HookMemory, CoordinationSettings], Awaitable[object] | object]


@dataclass(frozen=True, slots=True)
class WorkflowTrigger:
    """Starts a workflow when `condition` holds for what happened."""

    id: str
    name: str
    condition: Callable[[HookContext], bool]
    workflow_id: str
    options: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


def touches_documents(context: HookContext) -> bool:
    """Tell whether `data.path` or one of `data.modifiedFiles` is documentation."""
    paths = [context.data.get("path")]
    modified = context.data.get("modifiedFiles")
    if isinstance(modified, list):
        paths += modified
    return any(isinstance(path, str) and _is_document(path) for path in paths)


def doc_sync_trigger() -> WorkflowTrigger:
    """Return upstream's default trigger: changed documentation starts `doc-sync`."""
    return WorkflowTrigger("doc-sync-on-change", "Documentation sync", touches_documents, DOC_SYNC)


def _is_document(path: str) -> bool:
    return "/docs/" in f"/{path}" or path.endswith(_DOCUMENTS)
