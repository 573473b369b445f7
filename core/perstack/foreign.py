"""A provider and tools of somebody else's program, kept from breaking the run that uses them.

Our own keep to their ports. What others raise beside that is translated here, once: a provider's
error fails the run, a tool's is what the model reads, skills that do not open are a `SkillError`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final, cast, get_args

import anyio
import anyio.lowlevel
from pydantic import JsonValue, TypeAdapter

from perstack.domain.expert import Expert
from perstack.domain.ids import RunId, ToolCallId
from perstack.domain.messages import ExpertPart, TextPart, ToolCallPart
from perstack.domain.usage import ModelPrice, Usage
from perstack.errors import PerstackError, ProviderError, SkillError
from perstack.ports.model import ChatModel, FinishReason, Generation, ModelRequest, Spoken
from perstack.ports.skills import (
    RunContext,
    SkillHost,
    SkillNotice,
    SkillOpener,
    SkillSet,
    ToolOutcome,
    ToolSpec,
)
from perstack.providers.answer import MOST_CHARS, too_large
from perstack.providers.wire import clean, storable

_LOG: Final = logging.getLogger(__name__)
_SEE: Final = "the log has its traceback"
_LONGEST: Final = 2_000
_END: Final = object()
_PARTS: Final = TypeAdapter(tuple[ExpertPart, ...])


class ForeignModel:
    """A `ChatModel` that raises nothing but our own errors while it is asked, and none besides.

    `name` is what it is called instead of what it calls itself.
    """

    def __init__(self, model: ChatModel, *, name: str | None = None) -> None:
        self._model = model
        self._name = name

    @property
    def name(self) -> str:
        """Its name."""
        return self._model.name if self._name is None else self._name

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
            ProviderError: it raised something, yielded what is neither, or without any end.
        """
        heard = 0
        with self._as_provider_error():
            pieces = _opened(self._model.stream(request))
        try:
            while True:
                with self._as_provider_error():
                    piece = await anext(pieces, _END)
                    checked = None if piece is _END else _checked(piece)
                if checked is None:
                    return
                heard += len(checked.text) + 1 if isinstance(checked, Spoken) else 0
                if heard > MOST_CHARS:
                    raise too_large()
                yield checked
                # One that never waits would keep all else waiting, and its own time limit.
                await anyio.lowlevel.checkpoint()
        finally:
            with _logged(f"the answer of the provider {self.name} did not close"):
                await pieces.aclose()

    def forget(self, run_id: RunId) -> None:
        """Drop what was kept for the run."""
        with _logged(f"the provider {self.name} did not forget a run"):
            self._model.forget(run_id)

    async def aclose(self) -> None:
        """Close it."""
        with _logged(f"the provider {self.name} did not close"):
            await self._model.aclose()

    @contextmanager
    def _as_provider_error(self) -> Generator[None]:
        try:
            yield
        except PerstackError as error:
            raise _provider_error(error) from error
        except BaseException as error:
            if is_the_programs(error):
                raise
            _LOG.exception("the provider %s failed", self.name)
            # Its words may hold a key, and this is written into the history.
            failed = f"the provider {self.name} raised {type(error).__name__}"
            raise ProviderError(failed, hint=_SEE) from error


def _provider_error(error: PerstackError) -> ProviderError:
    """Return what a provider says of itself as the engine can go by it."""
    said, hint = str(error.message)[:_LONGEST], error.hint
    told = None if hint is None else str(hint)[:_LONGEST]
    if not isinstance(error, ProviderError):
        return ProviderError(said, hint=told)
    wait, status = cast("object", error.retry_after_s), cast("object", error.status)
    return ProviderError(
        said,
        hint=told,
        retryable=bool(error.retryable),
        retry_after_s=wait if isinstance(wait, int | float) and 0 <= wait < math.inf else None,
        status=status if isinstance(status, int) else None,
    )


def _opened(pieces: object) -> AsyncGenerator[object, None]:
    if isinstance(pieces, AsyncGenerator):
        return cast("AsyncGenerator[object, None]", pieces)
    if inspect.iscoroutine(pieces):
        pieces.close()
    raise TypeError(f"stream gave a {type(pieces).__name__}, and is to be an async generator")


def is_the_programs(error: BaseException) -> bool:
    """Tell whether what others' code raised ends more than that code: a cancellation, Ctrl-C.

    `sys.exit` does not, nor does a cancellation that nobody but that code asked for.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    cancelled = task is not None and task.cancelling() > 0
    return cancelled or anyio.get_current_task().has_pending_cancellation()


@contextmanager
def _logged(failed: str) -> Generator[None]:
    """What comes of tidying up is of no consequence to the run."""
    try:
        yield
    except BaseException as error:
        if is_the_programs(error):
            raise
        _LOG.exception(failed)


def _checked(piece: object) -> Spoken | Generation:
    """Nobody checked the types of a program that is not ours."""
    match piece:
        case Spoken():
            return _checked_words(piece)
        case Generation():
            return _checked_answer(piece)
        case _:
            raise TypeError(f"{type(piece).__name__} is neither Spoken nor Generation")


def _checked_words(spoken: Spoken) -> Spoken:
    stream, text = cast("object", spoken.stream), cast("object", spoken.text)
    if stream not in ("reasoning", "text") or not isinstance(text, str):
        raise TypeError("Spoken has a stream, reasoning or text, and a text")
    return Spoken("reasoning" if stream == "reasoning" else "text", clean(text))


def _checked_answer(answer: Generation) -> Generation:
    """Return the answer made anew of what is JSON in it: it is stored, and its calls are made."""
    if answer.finish not in get_args(FinishReason):
        raise TypeError(f"a Generation finishes by one of {', '.join(get_args(FinishReason))}")
    parts = _PARTS.validate_python([storable(part.model_dump()) for part in answer.parts])
    calls = [part.tool_call_id for part in parts if isinstance(part, ToolCallPart)]
    if len(calls) != len(set(calls)):
        raise TypeError("a Generation's tool calls have ids of their own")
    usage, *requests = (
        Usage.model_validate(one.model_dump()) for one in (answer.usage, *answer.requests)
    )
    return Generation(parts, answer.finish, usage, tuple(requests))


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
