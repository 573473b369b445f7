"""One answer of a run's model for a tool server: asked for apart from the run's conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import anyio

from perstack.domain.events import Delta
from perstack.domain.ids import RunId
from perstack.domain.messages import (
    ExpertMessage,
    ImageInlinePart,
    InstructionMessage,
    Message,
    TextPart,
    UserMessage,
)
from perstack.domain.server_events import SampleModel
from perstack.engine.bill import bill_for
from perstack.engine.budget import unmeasured
from perstack.engine.generation import Speech, generate
from perstack.engine.retry import delay_s
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.skills import Sampling, SamplingAnswer

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

MAX_SAMPLED_TOKENS: Final = 4_096
MAX_SAMPLED_CHARS: Final = 100_000
MAX_SAMPLED_IMAGE_CHARS: Final = 8_000_000
_NO_SYSTEM: Final = "You answer a request that a tool makes while it works."

Messages = Sequence[UserMessage | ExpertMessage]


async def sampled(
    run: RunDriver, asked: Sampling, system: str | None, messages: Messages, *, blank: Delta
) -> SamplingAnswer:
    """Ask the run's model, without tools; what it uses is recorded and counted by the job.

    `system` and `messages` are those of `asked` without secrets, `blank` a delta of the run.

    Raises:
        ProviderError: the vendor failed, or gave no answer.
    """
    deps = run.job.deps
    instruction = InstructionMessage(
        id=run.new_message_id(), contents=(TextPart(text=system or _NO_SYSTEM),)
    )
    begun: tuple[Message, ...] = (instruction, *messages)
    request = ModelRequest(
        # A run of its own to the adapter, so that nothing it keeps of the real one is touched.
        run_id=RunId(deps.ids.new()),
        expert_key=run.expert.key,
        messages=begun,
        tools=(),
        use_tools=False,
        max_output_tokens=token_limit(asked),
    )
    answer: Generation | None = None
    try:
        with run.control.interruptible():
            answer = await _generated(run, request, blank)
    finally:
        run.model.forget(request.run_id)
    if answer is None:
        return SamplingAnswer(refused="the run was stopped")
    return await _took(run, asked, answer)


def token_limit(asked: Sampling) -> int:
    """Return how many tokens the answer may have."""
    return max(1, min(asked.max_tokens, MAX_SAMPLED_TOKENS))


def is_too_long(asked: Sampling) -> bool:
    """Whether a request is longer than a person would read, or a model should be sent."""
    parts = [part for message in asked.messages for part in message.contents]
    texts = sum(len(part.text) for part in parts if isinstance(part, TextPart))
    images = sum(len(part.encoded_data) for part in parts if isinstance(part, ImageInlinePart))
    texts += len(asked.system or "")
    return texts > MAX_SAMPLED_CHARS or images > MAX_SAMPLED_IMAGE_CHARS


def readable(asked: Sampling, system: str | None, messages: Messages) -> str:
    """Return the whole request as a person reads it."""
    said = [f"system: {system}"] if system else []
    for message in messages:
        who = "user" if isinstance(message, UserMessage) else "assistant"
        said += [f"{who}: {_part_text(part)}" for part in message.contents]
    return "\n\n".join([*said, f"(at most {token_limit(asked)} tokens)"])


async def _generated(run: RunDriver, request: ModelRequest, blank: Delta) -> Generation:
    """Ask, and again after failures that may pass, as often as for the run's own steps.

    Raises:
        ProviderError: it failed for good, or once too often.
    """
    deps, settings = run.job.deps, run.job.plan.settings
    unheard = Speech(blank, _say_nothing, final=False)
    attempt = 0
    while True:
        attempt += 1
        try:
            return await generate(run.model, request, unheard, timeout_s=settings.timeout / 1000)
        except ProviderError as error:
            if not error.retryable or attempt > settings.max_retries:
                raise
            await anyio.sleep(delay_s(attempt, error.retry_after_s, rng=deps.rng))


async def _took(run: RunDriver, asked: Sampling, answer: Generation) -> SamplingAnswer:
    bill = bill_for(answer, run.model)
    run.job.count(bill.usage, bill.cost_usd)
    with anyio.CancelScope(shield=True):
        await run.record(
            SampleModel(skill_name=asked.skill_name, usage=bill.usage, cost_usd=bill.cost_usd)
        )
    if why := unmeasured(run.job.plan.settings.budget, bill.usage, bill.cost_usd):
        raise ProviderError(why)
    text = "".join(part.text for part in answer.parts if isinstance(part, TextPart))
    if answer.finish == "refusal" or not text.strip():
        raise ProviderError("the model gave no answer")
    stopped = "maxTokens" if answer.finish == "length" else "endTurn"
    return SamplingAnswer(text=text, model=run.model.name, stop_reason=stopped)


def _part_text(part: object) -> str:
    match part:
        case TextPart():
            return part.text
        case ImageInlinePart():
            return f"(image, {part.mime_type}, {len(part.encoded_data) * 3 // 4} bytes)"
        case _:
            return f"({type(part).__name__})"


def _say_nothing(delta: Delta) -> None:
    """A server's answer is the server's: it is not shown as if the Expert said it."""
