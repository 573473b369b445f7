"""Worlds whose only tool asks its run: the user, or the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.expert import BASE_SKILL, Consent
from perstack.domain.ids import MessageId
from perstack.domain.messages import TextPart, UserMessage
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.skills import Elicitation, ElicitationAnswer, Sampling, SamplingAnswer
from tests.fakes.engine import (
    FakeGate,
    FakeSkills,
    Mind,
    World,
    decided,
    done,
    expert,
    says,
)

Verdict = Callable[[ConsensusCheckpoint], ConsensusCheckpoint]
SECRET: Final = "sk-canary"
FORM: Final[dict[str, JsonValue]] = {
    "type": "object",
    "properties": {"region": {"type": "string", "enum": ["eu", "us"]}, "size": {"type": "integer"}},
    "required": ["region"],
}
QUESTION: Final = Elicitation(BASE_SKILL, "Which region?", FORM)
NOTHING: Final = UserMessage(id=MessageId(""), contents=(TextPart(text="say hi"),))


def sampling(consent: Consent = "ask") -> Sampling:
    return Sampling(BASE_SKILL, "be brief", (NOTHING,), 100, consent)


def sampler(answer: Generation | Exception) -> Mind:
    """A lead that calls `ask` once, and a model that answers whatever a server sends with this."""

    def mind(request: ModelRequest, turn: int) -> Generation | Exception:
        if not request.use_tools and not request.tools:
            return answer
        return says("", ("ask", {})) if turn == 1 else done("end")

    return mind


LEAD: Final = sampler(says("hi there"))


def asking(
    path: Path,
    *asked: Elicitation | Sampling,
    verdict: Verdict | None = None,
    mind: Mind = LEAD,
    **settings: object,
) -> tuple[World, list[ElicitationAnswer | SamplingAnswer]]:
    """A world whose tool `ask` puts these to its host, one after another, and keeps the answers."""
    answers: list[ElicitationAnswer | SamplingAnswer] = []
    skills = FakeSkills()

    async def ask(_: Mapping[str, JsonValue]) -> str:
        host = skills.hosts[-1]
        for one in asked:
            is_question = isinstance(one, Elicitation)
            answer = await host.elicit(one) if is_question else await host.sample(one)
            answers.append(answer)
        return "asked"

    skills.functions["ask"] = ask
    world = World(
        path,
        mind,
        (expert("lead"),),
        skills=skills,
        gate=FakeGate(verdict=verdict),
        **settings,  # pyright: ignore[reportArgumentType]
    )
    return world, answers


def answering(content: Mapping[str, JsonValue]) -> Verdict:
    return lambda asked: decided(asked, approved=True, feedback=json.dumps(content))


def refused(asked: ConsensusCheckpoint) -> ConsensusCheckpoint:
    return decided(asked, approved=False, feedback="not today")


def expired(asked: ConsensusCheckpoint) -> ConsensusCheckpoint:
    return asked.model_copy(update={"status": "expired"})


def of_type(world: World, *types: type) -> list[object]:
    return [event.body for event in world.heard.events if isinstance(event.body, types)]
