"""A tool server's requests to the run's model: who agrees, what is asked, what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perstack.domain.expert import BASE_SKILL
from perstack.domain.ids import MessageId
from perstack.domain.messages import ExpertMessage, ImageInlinePart, TextPart, UserMessage
from perstack.domain.server_events import SampleModel
from perstack.domain.settings import BudgetSettings
from perstack.domain.usage import ModelPrice
from perstack.engine.requests import MAX_SAMPLINGS
from perstack.engine.sampling import MAX_SAMPLED_TOKENS
from perstack.errors import ProviderError
from perstack.ports.model import Generation, ModelRequest
from perstack.ports.skills import Sampling, SamplingAnswer
from tests.fakes.asking import (
    LEAD,
    NOTHING,
    SECRET,
    asking,
    expired,
    of_type,
    refused,
    sampler,
    sampling,
)
from tests.fakes.engine import (
    USAGE,
    Reply,
    decided,
)

pytestmark = pytest.mark.anyio


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
    failing = sampler(ProviderError(f"bad key {SECRET}"))
    world, answers = asking(tmp_path, sampling("allow"), mind=failing)
    assert (await world.start()).outcome.text == "end"
    assert answers == [SamplingAnswer(refused="bad key [redacted]")]
    assert len([one for one in world.model.requests if not one.tools]) == 1


async def test_a_failure_that_passes_is_tried_again_and_counted_once(tmp_path: Path) -> None:
    failures = [ProviderError("busy", retryable=True, retry_after_s=0.0)]

    def mind(request: ModelRequest, turn: int) -> Reply:
        if not request.tools and failures:
            return failures.pop()
        return LEAD(request, turn)

    world, answers = asking(tmp_path, sampling("allow"), mind=mind)
    assert (await world.start()).outcome.text == "end"
    assert answers == [SamplingAnswer(text="hi there", model="fake-model")]
    assert len(of_type(world, SampleModel)) == 1
    assert len({one.run_id for one in world.model.requests if not one.tools}) == 1


async def test_a_failure_that_does_not_pass_ends_the_request_at_the_limit(tmp_path: Path) -> None:
    failing = sampler(ProviderError("still busy", retryable=True, retry_after_s=0.0))
    world, answers = asking(tmp_path, sampling("allow"), mind=failing, max_retries=1)
    assert (await world.start()).outcome.text == "end"
    assert answers == [SamplingAnswer(refused="still busy")]
    assert len([one for one in world.model.requests if not one.tools]) == 2
    assert of_type(world, SampleModel) == []


async def test_an_answer_cut_at_its_limit_says_so(tmp_path: Path) -> None:
    cut = Generation((TextPart(text="once upon"),), "length", USAGE)
    world, answers = asking(tmp_path, sampling("allow"), mind=sampler(cut))
    await world.start()
    assert answers == [
        SamplingAnswer(text="once upon", model="fake-model", stop_reason="maxTokens")
    ]
