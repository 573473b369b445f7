"""`perstack.create_provider`: a model and an embedder without a run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import perstack
from perstack.domain.messages import ExpertMessage, InstructionMessage, TextPart, UserMessage
from perstack.errors import ProviderError, UsageError
from perstack.ports.model import Generation, ModelRequest
from perstack.project import Project
from tests.fakes.engine import FakeModel, says

pytestmark = pytest.mark.anyio

TOML = """
maxRetries = 1
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
"""
SCENARIO = """
[[turns]]
after = "Anna"
text = "With a second n?"
[[turns]]
turn = 1
text = "Hello. Who is it?"
"""
KEY = "sk-ant-canary-0123456789abcdef"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    (tmp_path / ".env").write_text(f"ANTHROPIC_API_KEY={KEY}\n")
    return perstack.load_project(tmp_path / "perstack.toml")


def echoes(request: ModelRequest, turn: int) -> Generation:
    heard = [part.text for part in request.messages[-1].contents if isinstance(part, TextPart)]
    return says(f"{turn}: {''.join(heard)}")


async def test_a_conversation_goes_back_and_forth(project: Project) -> None:
    async with perstack.create_provider(project) as provider:
        said = [{"role": "user", "content": "Hello"}]
        first = await provider.chat(said)
        said += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "It is Anna"},
        ]
        second = await provider.chat(said)
    assert (first.content, first.finish) == ("Hello. Who is it?", "stop")
    assert second.content == "With a second n?"
    assert (first.model, provider.model) == ("scripted:scenario",) * 2
    assert second.usage.input_tokens > first.usage.input_tokens > 0
    # Nothing of it is kept.
    assert not (project.workspace / "perstack").exists()


async def test_the_model_gets_one_instruction_and_the_limit_and_forgets_the_rest(
    project: Project,
) -> None:
    model = FakeModel(echoes)
    async with perstack.create_provider(project, parts=perstack.Parts(model=model)) as provider:
        answer = await provider.chat(
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "three"},
            ],
            max_tokens=50,
        )
    (request,) = model.requests
    assert answer.content == "2: three"
    assert [type(message) for message in request.messages] == [
        InstructionMessage,
        UserMessage,
        ExpertMessage,
        UserMessage,
    ]
    assert [part.text for part in request.messages[0].contents if part.type == "textPart"] == [
        "Be brief.",
        "Be kind.",
    ]
    assert request.max_output_tokens == 50
    assert request.tools == ()
    assert model.forgotten == [request.run_id]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "system", "content": "Be brief."}],
        [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"}],
        [{"role": "tool", "content": "Hello"}],
        [{"role": "user"}],
    ],
)
async def test_what_is_no_conversation_is_refused(
    project: Project, messages: list[dict[str, str]]
) -> None:
    async with perstack.create_provider(project) as provider:
        with pytest.raises(UsageError):
            await provider.chat(messages)


async def test_a_limit_of_no_token_is_refused(project: Project) -> None:
    async with perstack.create_provider(project) as provider:
        with pytest.raises(UsageError, match="max_tokens"):
            await provider.chat([{"role": "user", "content": "Hello"}], max_tokens=0)


async def test_what_is_worth_asking_again_is_as_often_as_the_project_says(
    project: Project,
) -> None:
    failures = [ProviderError("busy", retryable=True, retry_after_s=0.0)]
    model = FakeModel(lambda request, turn: failures.pop() if failures else echoes(request, turn))
    async with perstack.create_provider(project, parts=perstack.Parts(model=model)) as provider:
        answer = await provider.chat([{"role": "user", "content": "Hello"}])
        assert (answer.content, len(model.requests)) == ("1: Hello", 2)
        failures += [ProviderError("busy", retryable=True, retry_after_s=0.0)] * 2
        with pytest.raises(ProviderError, match="busy"):
            await provider.chat([{"role": "user", "content": "Hello"}])
        assert len(model.requests) == 4


async def test_a_refusal_is_raised_at_once_without_the_key(project: Project) -> None:
    model = FakeModel(lambda request, turn: ProviderError(f"bad key {KEY}", status=401))
    async with perstack.create_provider(project, parts=perstack.Parts(model=model)) as provider:
        with pytest.raises(ProviderError, match="bad key") as raised:
            await provider.chat([{"role": "user", "content": "Hello"}])
    assert KEY not in raised.value.message
    assert raised.value.status == 401
    assert len(model.requests) == 1


async def test_what_a_model_of_ones_own_raises_is_our_own_error(project: Project) -> None:
    model = FakeModel(lambda request, turn: ZeroDivisionError())
    async with perstack.create_provider(project, parts=perstack.Parts(model=model)) as provider:
        with pytest.raises(ProviderError, match="ZeroDivisionError"):
            await provider.chat([{"role": "user", "content": "Hello"}])


async def test_a_vector_has_length_one_and_is_the_same_each_time(project: Project) -> None:
    async with perstack.create_provider(project) as provider:
        one, other = await provider.embed("text to embed"), await provider.embed("text to embed")
    assert one == other
    assert math.isclose(math.hypot(*one), 1.0, abs_tol=1e-6)
