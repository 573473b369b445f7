"""The coordination core inside another program: agents, tasks, memory, reviews, workflows.

    project = perstack.load_project("perstack.toml")
    async with perstack.coordinate(project) as team:
        bob = await team.agents.spawn("coder", name="bob")
        done = await team.execution.execute("Fix the failing test", bob.id)
        print(done.response)

What is done here is in the workspace's tables: the program's other processes see it at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from perstack.coordination import Coordination, open_coordination
from perstack.domain.ids import RunId
from perstack.domain.usage import ModelPrice
from perstack.engine.groups import alone
from perstack.errors import ProviderError
from perstack.foreign import ForeignModel, ForeignSkills
from perstack.library import Parts
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken
from perstack.project import Project
from perstack.runtime import open_runtime

_NO_PARTS: Final = Parts()


@asynccontextmanager
async def coordinate(
    project: Project, *, parts: Parts = _NO_PARTS, needs_model: bool = True
) -> AsyncGenerator[Coordination]:
    """Open all services of the project's workspace; leaving the block closes them in bounded time.

    Agents that were spawned, tasks and memory stay. Experts that are at work when the block is left
    by an error or a cancellation stop at a checkpoint. An error of the block's own leaves it as it
    was raised. `parts` replaces what the project says; its model is closed at the end. Without
    `needs_model` no vendor's key is needed, and what would ask a model fails.

    Raises:
        ConfigError: the provider's key is not set, or its settings cannot be used.
        StorageError: the tables cannot be written.
    """
    model: ChatModel | None = None if needs_model else _NoModel()
    if parts.model is not None:
        model = ForeignModel(parts.model)
    skills = None if parts.skills is None else ForeignSkills(parts.skills)
    opened = open_runtime(project, model=model, history=parts.history, skills=skills)
    with alone():
        async with opened as runtime, open_coordination(runtime) as team:
            yield team


class _NoModel:
    """A `ChatModel` that nobody is to ask."""

    name = "none"
    context_window: int | None = None
    price: ModelPrice | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        raise ProviderError(
            f"no model was opened for {request.expert_key}",
            hint="leave out needs_model=False, and set the vendor's key",
        )
        yield  # makes it the generator that the port wants

    def forget(self, run_id: RunId) -> None:
        pass

    async def aclose(self) -> None:
        pass
