"""An `ExpertRunner` whose Experts are plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

from pydantic import JsonValue

from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.errors import UnknownExpertError
from perstack.ports.experts import ExpertAnswer, ExpertEnding, ExpertRequest

Answering = Callable[[ExpertRequest], Awaitable[ExpertAnswer] | ExpertAnswer]


def make_expert(key: str, *, tags: tuple[str, ...] = ()) -> Expert:
    return Expert(
        key=ExpertKey(key),
        name=key,
        instruction=f"You are {key}.",
        skills={BASE_SKILL: BaseSkill()},
        tags=tags,
    )


def make_answer(
    text: str = "", *, ending: ExpertEnding = "completed", error: str | None = None, job: str = "j1"
) -> ExpertAnswer:
    return ExpertAnswer(
        ending=ending,
        text=text,
        job_id=JobId(job),
        run_id=RunId(f"{job}-run"),
        model="scripted",
        steps=1,
        input_tokens=10,
        output_tokens=5,
        cost_usd=None,
        duration_ms=3,
        error=error,
    )


def key_of(request: ExpertRequest) -> str:
    """Return the key of the Expert that a request names or defines."""
    return request.expert.key if isinstance(request.expert, Expert) else request.expert


async def use(request: ExpertRequest, tool: str, **arguments: JsonValue) -> str:
    """Call one of the request's own tools, as a model would."""
    (found,) = [one for one in request.tools if one.name == tool]
    return await found.call(arguments)


class FakeRunner:
    """Implements `ExpertRunner`: `answer` is asked; `asked` are the requests, in order.

    `cancelled` counts the runs that were stopped from outside.
    """

    def __init__(self, answer: Answering, experts: Mapping[str, Expert] | None = None) -> None:
        self._answer = answer
        self._experts = None if experts is None else {ExpertKey(k): e for k, e in experts.items()}
        self._jobs = count(1)
        self.asked: list[ExpertRequest] = []
        self.cancelled = 0

    @property
    def experts(self) -> Mapping[ExpertKey, Expert]:
        return self._experts or {}

    async def run(self, request: ExpertRequest) -> ExpertAnswer:
        self.asked.append(request)
        key = key_of(request)
        if (
            isinstance(request.expert, str)
            and self._experts is not None
            and key not in self.experts
        ):
            raise UnknownExpertError(key, [*self.experts])
        if request.on_started is not None:
            request.on_started(request.job_id or JobId(f"job{next(self._jobs)}"))
        done = False
        try:
            answer = self._answer(request)
            result = await answer if inspect.isawaitable(answer) else answer
            done = True
        finally:
            self.cancelled += not done
        return result
