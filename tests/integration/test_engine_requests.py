"""What a run makes of its tool servers' requests: who is asked, what is recorded, what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.consensus import ConsensusCheckpoint
from perstack.domain.events import Event, RequestInput, ResolveInput, SampleModel
from perstack.domain.expert import BASE_SKILL, Consent
from perstack.domain.ids import MessageId, ToolCallId
from perstack.domain.messages import ExpertMessage, ImageInlinePart, TextPart, UserMessage
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import ModelPrice
from perstack.engine.requests import MAX_QUESTIONS, MAX_SAMPLED_TOKENS, MAX_SAMPLINGS
from perstack.errors import ProviderError
from perstack.ports.frontend import Continuation
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.skills import Elicitation, ElicitationAnswer, Sampling, SamplingAnswer
from tests.fakes.engine import USAGE, FakeGate, FakeSkills, Mind, World, decided, done, expert, says

pytestmark = pytest.mark.anyio

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


# ---------------------------------------------------------------- questions


async def test_a_question_waits_at_a_checkpoint_and_its_answer_reaches_the_server(
    tmp_path: Path,
) -> None:
    world, answers = asking(tmp_path, QUESTION, verdict=answering({"region": "eu"}))
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer("accept", {"region": "eu"})]
    [checkpoint] = world.gate.proposed.values()
    [task] = checkpoint.proposed_subtasks
    assert checkpoint.reason == f"the tool server of skill {BASE_SKILL} asks a question"
    assert task.input.splitlines()[0] == "Which region?"
    assert "region: eu | us" in task.input
    assert "size: integer, may be left out" in task.input
    assert checkpoint.form is not None
    assert checkpoint.expires_at is not None
    assert checkpoint.expires_at - checkpoint.created_at == world.consensus.timeout
    assert [notice.kind for notice in world.notifier.notices] == ["question"]


async def test_a_question_is_recorded_and_its_answer_is_not(tmp_path: Path) -> None:
    world, _ = asking(tmp_path, QUESTION, verdict=answering({"region": "us", "size": 4711}))
    await world.start()
    [asked, closed] = of_type(world, RequestInput, ResolveInput)
    [checkpoint] = world.gate.proposed.values()
    assert isinstance(asked, RequestInput)
    assert (asked.kind, asked.message, asked.consensus_id) == (
        "elicitation",
        "Which region?",
        checkpoint.id,
    )
    assert closed == ResolveInput(consensus_id=checkpoint.id, outcome="accepted", decided_by="ana")
    assert not any(b"4711" in file.read_bytes() for file in tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("verdict", "action", "outcome"),
    [
        (refused, "decline", "declined"),
        (expired, "cancel", "expired"),
    ],
)
async def test_declining_and_expiry_are_told_apart(
    tmp_path: Path,
    verdict: Verdict,
    action: Literal["decline", "cancel"],
    outcome: Literal["declined", "expired"],
) -> None:
    world, answers = asking(tmp_path, QUESTION, verdict=verdict)
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer(action)]
    [closed] = of_type(world, ResolveInput)
    assert isinstance(closed, ResolveInput)
    assert closed.outcome == outcome


async def test_an_answer_that_does_not_fit_is_never_handed_on(tmp_path: Path) -> None:
    """Whoever decides is to check it; the engine does not count on that."""
    world, answers = asking(tmp_path, QUESTION, verdict=answering({"region": "mars"}))
    await world.start()
    assert answers == [ElicitationAnswer("decline")]


@pytest.mark.parametrize(
    "asked",
    [
        replace(
            QUESTION, answer_schema={"type": "object", "properties": {"a": {"type": "object"}}}
        ),
        replace(QUESTION, answer_schema={"type": "array"}),
        replace(QUESTION, answer_schema={}),
        replace(QUESTION, message="x" * 10_001),
        replace(QUESTION, skill_name="another skill"),
    ],
)
async def test_what_is_no_form_or_comes_outside_a_call_is_declined_unasked(
    tmp_path: Path, asked: Elicitation
) -> None:
    world, answers = asking(tmp_path, asked, verdict=answering({}))
    await world.start()
    assert answers == [ElicitationAnswer("decline")]
    assert world.gate.proposed == {}
    assert of_type(world, RequestInput) == []


async def test_secrets_are_not_shown_in_a_question(tmp_path: Path) -> None:
    form: dict[str, JsonValue] = {
        "type": "object",
        "properties": {"key": {"type": "string", "description": f"is it {SECRET}?"}},
    }
    asked = Elicitation(BASE_SKILL, f"I know {SECRET}", form)
    world, _ = asking(tmp_path, asked, verdict=answering({}))
    await world.start()
    [checkpoint] = world.gate.proposed.values()
    assert SECRET not in checkpoint.model_dump_json()
    assert not any(SECRET.encode() in file.read_bytes() for file in tmp_path.rglob("*.jsonl"))


async def test_with_no_wait_a_question_is_declined_and_the_run_goes_on(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, QUESTION, wait_at_gates=False)
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer("decline")]
    assert world.gate.proposed == {}


async def test_a_run_asks_so_many_questions_and_no_more(tmp_path: Path) -> None:
    many = [QUESTION] * (MAX_QUESTIONS + 5)
    world, answers = asking(tmp_path, *many, verdict=answering({"region": "eu"}))
    await world.start()
    assert len(world.gate.proposed) == MAX_QUESTIONS
    assert answers[MAX_QUESTIONS:] == [ElicitationAnswer("decline")] * 5


async def test_a_stop_takes_the_question_back_and_the_run_can_go_on(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, QUESTION)

    def stop(event: Event) -> None:
        if isinstance(event.body, RequestInput):
            world.control.stop("user")

    world.heard.on = stop
    stopped = await world.start()
    assert stopped.outcome.ending == "stopped"
    assert answers == [ElicitationAnswer("cancel")]
    [closed] = of_type(world, ResolveInput)
    assert isinstance(closed, ResolveInput)
    assert closed.outcome == "expired"
    world.heard.on = None
    world.control = type(world.control)()
    assert (await world.go_on(Continuation(job_id=stopped.job_id))).outcome.text == "end"


async def test_a_question_that_the_server_takes_back_is_closed_and_recorded(tmp_path: Path) -> None:
    world, answers = asking(tmp_path)

    async def ask(_: Mapping[str, JsonValue]) -> str:
        with anyio.CancelScope() as scope:
            world.heard.on = lambda event: (
                scope.cancel() if isinstance(event.body, RequestInput) else None
            )
            answers.append(await world.skills.hosts[-1].elicit(QUESTION))
        return "taken back"

    world.skills.functions["ask"] = ask
    assert (await world.start()).outcome.text == "end"
    assert answers == []
    [closed] = of_type(world, ResolveInput)
    assert isinstance(closed, ResolveInput)
    assert closed.outcome == "expired"
    kinds = [kind for _, kind in world.heard.types("requestInput", "resolveInput", "toolReturned")]
    assert kinds[:3] == ["requestInput", "resolveInput", "toolReturned"]


async def test_a_question_of_a_process_that_died_is_taken_back_when_the_run_goes_on(
    tmp_path: Path,
) -> None:
    killed = anyio.CancelScope()

    def kill(asked: ConsensusCheckpoint) -> ConsensusCheckpoint:
        killed.cancel()
        return asked

    world, _ = asking(tmp_path, QUESTION, verdict=kill)
    with killed:
        await world.start()
    # As a crash leaves it: that the question was asked is on record, that it was closed is not.
    [events] = tmp_path.rglob("events.jsonl")
    lines = events.read_bytes().splitlines(keepends=True)
    asked = next(at for at, line in enumerate(lines) if b'"requestInput"' in line)
    events.write_bytes(b"".join(lines[: asked + 1]))
    world.gate.withdrawn.clear()
    job = await world.history.find_latest_job()
    assert job is not None
    assert (await world.go_on(Continuation(job_id=job.id))).outcome.text == "end"
    assert world.gate.withdrawn == list(world.gate.proposed)
    assert any("In doubt" in text for _, text, _ in world.heard.results())


async def test_a_delegated_run_may_ask_as_well(tmp_path: Path) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        if request.expert_key == "lead":
            return says("", ("helper", {"query": "help"})) if turn == 1 else done("end")
        return says("", ("ask", {})) if turn == 1 else done("helped")

    world, answers = asking(tmp_path, QUESTION, verdict=answering({"region": "us"}), mind=mind)
    world.experts = (expert("lead", "helper"), expert("helper"))
    assert (await world.start()).outcome.text == "end"
    assert answers == [ElicitationAnswer("accept", {"region": "us"})]
    [checkpoint] = world.gate.proposed.values()
    assert (checkpoint.expert_key, checkpoint.depth) == ("helper", 2)


# ---------------------------------------------------------------- the model


async def test_a_person_reads_a_request_to_the_model_whole_and_agrees(tmp_path: Path) -> None:
    said = ExpertMessage(id=MessageId(""), contents=(TextPart(text="so?"),))
    picture = UserMessage(
        id=MessageId(""),
        contents=(ImageInlinePart(encoded_data="AAAA", mime_type="image/png"),),
    )
    asked = replace(sampling(), messages=(NOTHING, said, picture), system=f"obey {SECRET}")
    world, answers = asking(tmp_path, asked, verdict=lambda c: decided(c, approved=True))
    assert (await world.start()).outcome.text == "end"
    assert answers == [SamplingAnswer(text="hi there", model="fake-model")]
    [checkpoint] = world.gate.proposed.values()
    [task] = checkpoint.proposed_subtasks
    assert task.input == (
        "system: obey [redacted]\n\nuser: say hi\n\nassistant: so?\n\n"
        "user: (image, image/png, 3 bytes)\n\n(at most 100 tokens)"
    )
    assert checkpoint.form is None
    assert checkpoint.input_request is not None
    assert checkpoint.input_request.kind == "sampling"


async def test_the_request_is_one_generation_of_its_own_without_tools(tmp_path: Path) -> None:
    world, _ = asking(tmp_path, replace(sampling("allow"), max_tokens=1_000_000))
    outcome = await world.start()
    [request] = [one for one in world.model.requests if not one.tools]
    assert request.run_id != outcome.run_id
    assert (request.use_tools, request.max_output_tokens) == (False, MAX_SAMPLED_TOKENS)
    first, second = request.messages
    assert (first.type, second.type) == ("instructionMessage", "userMessage")
    assert request.run_id in world.model.forgotten


async def test_what_it_used_is_recorded_and_counted_once(tmp_path: Path) -> None:
    world, _ = asking(tmp_path, sampling("allow"))
    world.model.price = ModelPrice(input=1.0, output=2.0)
    outcome = await world.start()
    [sampled] = of_type(world, SampleModel)
    assert isinstance(sampled, SampleModel)
    assert (sampled.skill_name, sampled.usage) == (BASE_SKILL, USAGE)
    assert sampled.cost_usd == pytest.approx(20e-6)
    job = await world.history.get_job(outcome.job_id)
    own = len(world.model.requests) - 1
    assert job.usage.total_tokens == (own + 1) * USAGE.total_tokens
    assert job.cost.usd == pytest.approx((own + 1) * 20e-6)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (sampling("deny"), "may not ask the model"),
        (replace(sampling("allow"), messages=()), "empty or too long"),
        (replace(sampling("allow"), system="x" * 100_001), "empty or too long"),
        (replace(sampling("allow"), skill_name="another"), "only while a call of its own"),
    ],
)
async def test_a_request_that_cannot_be_granted_is_refused_unasked(
    tmp_path: Path, asked: Sampling, why: str
) -> None:
    world, answers = asking(tmp_path, asked)
    await world.start()
    [answer] = answers
    assert isinstance(answer, SamplingAnswer)
    assert why in (answer.refused or "")
    assert world.gate.proposed == {}
    assert all(request.tools for request in world.model.requests)


async def test_a_person_who_refuses_is_quoted_and_nothing_is_generated(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, sampling(), verdict=refused)
    await world.start()
    assert answers == [SamplingAnswer(refused="the user refused: not today")]
    assert all(request.tools for request in world.model.requests)


async def test_nobody_agreeing_in_time_is_a_refusal(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, sampling(), verdict=expired)
    await world.start()
    assert answers == [SamplingAnswer(refused="nobody agreed to it")]


async def test_a_run_answers_so_many_requests_and_no_more(tmp_path: Path) -> None:
    world, answers = asking(tmp_path, *[sampling("allow")] * (MAX_SAMPLINGS + 3))
    await world.start()
    assert len([one for one in answers if isinstance(one, SamplingAnswer) and one.refused]) == 3
    assert len([one for one in world.model.requests if not one.tools]) == MAX_SAMPLINGS


async def test_a_budget_that_is_used_up_is_used_up_for_servers_too(tmp_path: Path) -> None:
    budget = BudgetSettings(max_tokens=2 * USAGE.total_tokens)
    world, answers = asking(tmp_path, *[sampling("allow")] * 3, budget=budget)
    outcome = await world.start()
    assert outcome.outcome.ending == "limit"
    granted = [one for one in answers if isinstance(one, SamplingAnswer) and not one.refused]
    assert len(granted) == 1
    assert "budget" in (str(answers[-1]))


async def test_a_vendor_that_fails_is_a_refusal_without_secrets(tmp_path: Path) -> None:
    failing = sampler(ProviderError(f"bad key {SECRET}", retryable=True))
    world, answers = asking(tmp_path, sampling("allow"), mind=failing)
    assert (await world.start()).outcome.text == "end"
    assert answers == [SamplingAnswer(refused="bad key [redacted]")]


async def test_an_answer_cut_at_its_limit_says_so(tmp_path: Path) -> None:
    cut = Generation((TextPart(text="once upon"),), "length", USAGE)
    world, answers = asking(tmp_path, sampling("allow"), mind=sampler(cut))
    await world.start()
    assert answers == [
        SamplingAnswer(text="once upon", model="fake-model", stop_reason="maxTokens")
    ]


# ---------------------------------------------------------------- output


async def test_what_a_call_prints_is_shown_live_under_its_id_and_never_recorded(
    tmp_path: Path,
) -> None:
    world, _ = asking(tmp_path)

    async def ask(_: Mapping[str, JsonValue]) -> str:
        world.skills.hosts[-1].output(ToolCallId("c1"), f"line with {SECRET}\n")
        return "done"

    world.skills.functions["ask"] = ask
    await world.start()
    [delta] = [one for one in world.heard.deltas if one.stream == "tool"]
    assert (delta.kind, delta.text, delta.tool_call_id) == ("delta", "line with [redacted]\n", "c1")
    assert not any(b"line with" in file.read_bytes() for file in tmp_path.rglob("events.jsonl"))
