"""One step's generation: asking the model, showing what it says, retrying, taking its answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import anyio

from perstack.domain.events import CallTools, Delta, Retry, StartGeneration
from perstack.domain.expert import Expert
from perstack.domain.messages import ExpertMessage, TextPart, UserMessage
from perstack.domain.usage import NO_USAGE
from perstack.engine.bill import Bill, bill_for
from perstack.engine.budget import WITHOUT_BUDGET, unmeasured
from perstack.engine.plan import RunOutcome
from perstack.engine.retry import delay_s
from perstack.errors import ProviderError
from perstack.ports.model import ChatModel, Generation, ModelRequest, ProviderTools, Spoken

if TYPE_CHECKING:
    from perstack.engine.run import RunDriver

StreamName = Literal["reasoning", "text", "result"]


@dataclass(slots=True)
class Speech:
    """Turns pieces of text into deltas, each stream opened and closed once, in order."""

    blank: Delta
    say: Callable[[Delta], None]
    final: bool
    _open: StreamName | None = None
    _heard: str = ""

    def hear(self, spoken: Spoken) -> None:
        """Show one piece."""
        stream: StreamName = "reasoning" if spoken.stream == "reasoning" else "text"
        if stream == "text" and self.final:
            stream = "result"
        if stream != self._open:
            self.close()
            self._open = stream
            self._send("start", "")
        self._heard += spoken.text
        self._send("delta", spoken.text)

    def close(self) -> None:
        """End the stream that is open."""
        if self._open is not None:
            self._send("end", self._heard)
        self._open, self._heard = None, ""

    def _send(self, kind: Literal["start", "delta", "end"], text: str) -> None:
        update = {"stream": self._open, "kind": kind, "text": text}
        self.say(self.blank.model_copy(update=update))


async def generate(
    model: ChatModel, request: ModelRequest, speech: Speech, *, timeout_s: float
) -> Generation:
    """Ask once.

    Raises:
        ProviderError: the vendor failed, or took longer than `timeout_s` seconds.
    """
    try:
        with anyio.fail_after(timeout_s):
            async with aclosing(model.stream(request)) as stream:
                async for piece in stream:
                    if isinstance(piece, Generation):
                        return piece
                    speech.hear(piece)
    except TimeoutError as error:
        raise ProviderError(
            f"{model.name} gave no complete answer within {timeout_s:g} s", retryable=True
        ) from error
    finally:
        speech.close()
    raise ProviderError(f"{model.name} ended its answer early", retryable=True)


async def step(run: RunDriver, *, final: bool) -> RunOutcome | None:
    """Ask the model for tool calls or, when `final`, for the result alone; take what it answers."""
    if (over := run.job.over_budget) is not None:
        return await run.reach(RunOutcome("limit", overrun=over))
    await run.record(StartGeneration())
    answer: Generation | None = None
    try:
        with run.control.interruptible():
            answer = await _asked(run, final=final)
    except ProviderError as error:
        return await _failed(run, error)
    return None if answer is None else await _took(run, answer, final=final)


async def _asked(run: RunDriver, *, final: bool) -> Generation:
    request = ModelRequest(
        run_id=run.run_id,
        expert_key=run.expert.key,
        messages=run.state.messages,
        tools=run.toolset.definitions,
        use_tools=not final,
        provider_tools=_provider_tools(run.expert),
    )
    timeout_s = run.job.plan.settings.timeout / 1000
    speech = Speech(blank_delta(run), run.job.say, final)
    return await generate(run.model, request, speech, timeout_s=timeout_s)


def blank_delta(run: RunDriver) -> Delta:
    """Return what all deltas of the step at hand have in common."""
    return Delta(
        job_id=run.job.job_id,
        run_id=run.run_id,
        expert_key=run.expert.key,
        step_number=run.step,
        stream="text",
        kind="start",
    )


def _provider_tools(expert: Expert) -> ProviderTools | None:
    if not (expert.provider_tools or expert.provider_skills):
        return None
    return ProviderTools(
        expert.provider_tools, expert.provider_tool_options, expert.provider_skills
    )


async def _took(run: RunDriver, answer: Generation, *, final: bool) -> RunOutcome | None:
    bill = bill_for(answer, run.model)
    message = ExpertMessage(id=run.new_message_id(), contents=answer.parts)
    run.job.count(bill.usage, bill.cost_usd)
    if why := unmeasured(run.job.plan.settings.budget, bill.usage, bill.cost_usd):
        refused = ProviderError(f"{why}, so the job's budget cannot be kept", hint=WITHOUT_BUDGET)
        return await run.fail(refused, bill)
    if answer.finish == "refusal":
        refusal = message.text.strip() or "the model refused to answer"
        return await run.fail(ProviderError(refusal), bill)
    if answer.finish == "length" and message.tool_calls:
        return await _again(
            run,
            "Error: Generation length exceeded",
            "Your answer was cut off at the length limit. Try again, in smaller pieces.",
            bill,
        )
    if message.tool_calls and not final:
        return await _call_tools(run, message, bill)
    if message.text.strip():
        return await run.complete(bill, said=message)
    return await _again(
        run,
        "Error: No tool call or text generated",
        "You gave neither text nor a tool call. Go on with the task.",
        bill,
    )


async def _call_tools(run: RunDriver, message: ExpertMessage, bill: Bill) -> None:
    rules = run.job.plan.settings.consensus
    routes = tuple(
        run.toolset.route(call, depth=run.depth + 1, rules=rules) for call in message.tool_calls
    )
    # The intent to do something that cannot simply be done again is on the disk first.
    intent = any(not route.repeatable and route.kind == "mcp" for route in routes)
    await run.record(
        CallTools(
            new_message=message,
            routes=routes,
            usage=bill.usage,
            cost_usd=bill.cost_usd,
            context_window_usage=bill.context_window_usage,
        ),
        durable=intent,
    )


async def _failed(run: RunDriver, error: ProviderError) -> RunOutcome | None:
    attempt = run.state.retry_count + 1
    limit = run.job.plan.settings.max_retries
    if not error.retryable:
        return await run.fail(error)
    if attempt > limit:
        message = f"Max retries ({limit}) exceeded: {error.message}"
        return await run.fail(ProviderError(message, hint=error.hint, status=error.status))
    wait_s = delay_s(attempt, error.retry_after_s, rng=run.job.deps.rng)
    await run.record(
        Retry(
            reason=run.job.deps.redact(f"Error: {error.message}"),
            attempt=attempt,
            delay_ms=round(wait_s * 1000),
            usage=NO_USAGE,
        )
    )
    with run.control.interruptible():
        await anyio.sleep(wait_s)
    return None


async def _again(run: RunDriver, reason: str, advice: str, bill: Bill) -> RunOutcome | None:
    attempt = run.state.retry_count + 1
    if attempt > run.job.plan.settings.max_retries:
        return await run.fail(ProviderError(reason.removeprefix("Error: ")), bill)
    message = UserMessage(id=run.new_message_id(), contents=(TextPart(text=advice),))
    await run.record(
        Retry(
            reason=reason,
            attempt=attempt,
            delay_ms=0,
            usage=bill.usage,
            cost_usd=bill.cost_usd,
            new_messages=(message,),
        )
    )
    return None
