"""A provider and tools of somebody else's program, kept from breaking the run that uses them.

Our own keep to their ports. What others raise beside that is translated here, once: a provider's
error fails the run, a tool's is what the model reads, skills that do not open are a `SkillError`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from typing import Final

from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import RunId, ToolCallId
from perstack.domain.messages import TextPart
from perstack.domain.usage import ModelPrice
from perstack.errors import PerstackError, ProviderError, SkillError
from perstack.ports.model import ChatModel, Generation, ModelRequest, Spoken
from perstack.ports.skills import (
    RunContext,
    SkillHost,
    SkillNotice,
    SkillOpener,
    SkillSet,
    ToolOutcome,
    ToolSpec,
)

_LOG: Final = logging.getLogger(__name__)
_SEE: Final = "the log has its traceback"
_LONGEST: Final = 2_000


class ForeignModel:
    """A `ChatModel` that raises nothing but our own errors while it is asked."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """Its name."""
        return self._model.name

    @property
    def context_window(self) -> int | None:
        """Its context window in tokens, None when unknown."""
        return self._model.context_window

    @property
    def price(self) -> ModelPrice | None:
        """What its tokens cost, None when no source states it."""
        return self._model.price

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        """Ask it once.

        Raises:
            ProviderError: it raised something, or yielded what is neither.
        """
        try:
            async with aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    yield _checked(piece)
        except PerstackError:
            raise
        except Exception as error:
            _LOG.exception("the provider %s failed", self.name)
            # Its words may hold a key, and this is written into the history.
            failed = f"the provider {self.name} raised {type(error).__name__}"
            raise ProviderError(failed, hint=_SEE) from error

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        self._model.forget(run_id)

    async def aclose(self) -> None:
        """Close it."""
        await self._model.aclose()


def _checked(piece: object) -> Spoken | Generation:
    """Nobody checked the types of a program that is not ours."""
    if isinstance(piece, Spoken | Generation):
        return piece
    raise TypeError(f"{type(piece).__name__} is neither Spoken nor Generation")


class ForeignSkills:
    """A `SkillOpener` that raises nothing but our own errors as it opens, and whose tools none."""

    def __init__(self, skills: SkillOpener) -> None:
        self._skills = skills

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AsyncGenerator[SkillSet, None]:
        """Open the tools for a run.

        Raises:
            SkillError: they could not be opened.
        """
        async with AsyncExitStack() as stack:
            with _as_skill_error(expert.key):
                entering = self._skills.open(expert, context, notice, host)
                opened = await stack.enter_async_context(entering)
            yield _ForeignSet(opened, expert.key)


class _ForeignSet:
    """One run's tools; what they raise is what their call gave."""

    def __init__(self, opened: SkillSet, expert_key: str) -> None:
        self._opened = opened
        self._expert_key = expert_key

    async def ready(self) -> None:
        with _as_skill_error(self._expert_key):
            await self._opened.ready()

    @property
    def tools(self) -> Mapping[str, ToolSpec]:
        return self._opened.tools

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        try:
            return await self._opened.call(name, args, tool_call_id=tool_call_id)
        except Exception as error:  # noqa: BLE001  whatever it is, the model is told
            _LOG.exception("the tool %s failed", name)
            said = f"{type(error).__name__}: {error}"[:_LONGEST]
            return ToolOutcome((TextPart(text=said),), is_error=True)


@contextmanager
def _as_skill_error(expert_key: str) -> Generator[None]:
    try:
        yield
    except PerstackError:
        raise
    except Exception as error:
        _LOG.exception("the tools of %s failed to open", expert_key)
        failed = f"opening the tools of {expert_key} raised {type(error).__name__}"
        raise SkillError(failed, hint=_SEE) from error
