"""The scripted model."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.ids import RunId, ToolCallId
from perstack.domain.messages import TextPart, ThinkingPart, ToolCallPart
from perstack.domain.usage import Usage, cost_usd
from perstack.errors import ProviderError
from perstack.ports.model import Spoken
from perstack.providers.scenario import load_scenario
from perstack.providers.scripted import ScriptedModel
from tests.fakes.conversation import ask, call, expert, request, result, system, tools, user

pytestmark = pytest.mark.anyio


def scripted(tmp_path: Path, text: str, *, pace: float = 0.0) -> ScriptedModel:
    path = tmp_path / "demo.toml"
    path.write_text(text)
    return ScriptedModel(load_scenario(path), pace=pace)


async def test_a_turn_is_reasoning_then_text_then_calls(tmp_path: Path) -> None:
    model = scripted(
        tmp_path,
        """
        [[turns]]
        reasoning = "hm"
        text = "I read"
        calls = [{tool = "read", args = {path = "x", n = 1}}, {tool = "ls"}]
        """,
    )
    shown, generation = await ask(model, request())
    assert shown == [Spoken("reasoning", "hm"), Spoken("text", "I read")]
    assert generation.parts == (
        ThinkingPart(thinking="hm"),
        TextPart(text="I read"),
        call("read", "call_1_1", path="x", n=1),
        call("ls", "call_1_2"),
    )
    assert generation.finish == "toolCalls"


async def test_the_turn_follows_from_the_messages_alone(tmp_path: Path) -> None:
    text = "\n".join(f'[[turns]]\nturn = {n}\ntext = "turn {n}"' for n in (1, 2, 3))
    history = [system(), user("q"), expert("turn 1"), user("q"), expert("turn 2"), user("q")]
    for model in (scripted(tmp_path, text), scripted(tmp_path, text)):  # A restart in between.
        _, third = await ask(model, request(*history))
        _, first = await ask(model, request(*history[:2], run="forked"))
        assert third.parts == (TextPart(text="turn 3"),)
        assert first.parts == (TextPart(text="turn 1"),)


async def test_an_answer_or_a_rejection_leads_elsewhere(tmp_path: Path) -> None:
    model = scripted(
        tmp_path,
        """
        [[turns]]
        turn = 2
        after = "rejected"
        text = "another way"
        [[turns]]
        turn = 2
        text = "on"
        """,
    )
    said = [system(), user("rejected is a word here too"), expert(call("x"))]
    _, rejected = await ask(model, request(*said, tools(result("x", "c1", "was rejected"))))
    _, approved = await ask(model, request(*said, tools(result("x", "c1", "done")), run="2"))
    assert rejected.parts == (TextPart(text="another way"),)
    assert approved.parts == (TextPart(text="on"),)


async def test_the_number_of_the_turn_can_be_written_into_text_and_arguments(
    tmp_path: Path,
) -> None:
    calls = 'calls = [{tool = "record", args = {key = "k{{turn}}"}}]'
    model = scripted(tmp_path, f'[[turns]]\ntext = "step {{{{turn}}}}"\n{calls}')
    shown, generation = await ask(model, request(system(), user("q"), expert("a"), user("q")))
    assert shown == [Spoken("text", "step 2")]
    assert generation.parts[1] == call("record", "call_2_1", key="k2")


async def test_a_failure_is_given_as_often_as_written_then_the_answer(tmp_path: Path) -> None:
    error = "error = {status = 429, retry_after_s = 2.0, times = 2}"
    model = scripted(tmp_path, f'[[turns]]\ntext = "at last"\n{error}', pace=0.5)
    for _ in range(2):
        with pytest.raises(ProviderError, match="HTTP 429") as caught:
            await ask(model, request())
        assert caught.value.retryable
        assert caught.value.retry_after_s == 1.0
    _, generation = await ask(model, request())
    assert generation.parts == (TextPart(text="at last"),)
    with pytest.raises(ProviderError):
        await ask(model, request(run="another"))
    model.forget(RunId("run1"))
    with pytest.raises(ProviderError):
        await ask(model, request())


async def test_a_failure_of_the_users_making_is_final(tmp_path: Path) -> None:
    model = scripted(tmp_path, '[[turns]]\nerror = {status = 401, message = "no"}')
    with pytest.raises(ProviderError) as caught:
        await ask(model, request())
    assert not caught.value.retryable


async def test_a_missing_turn_names_scenario_expert_and_turn(tmp_path: Path) -> None:
    model = scripted(tmp_path, '[[turns]]\nexpert = "other"\ntext = "x"')
    with pytest.raises(ProviderError, match=r"demo\.toml .* 'tester' at turn 1") as caught:
        await ask(model, request())
    assert not caught.value.retryable
    assert 'expert = "tester" and turn = 1' in (caught.value.hint or "")


async def test_raw_arguments_stand_as_they_are(tmp_path: Path) -> None:
    model = scripted(
        tmp_path,
        """
        [[turns]]
        calls = [{tool = "x", raw_args = '{"a": '}, {tool = "x", raw_args = '{"a": 1}'}]
        """,
    )
    _, generation = await ask(model, request())
    bad, good = generation.parts
    assert bad == ToolCallPart(
        tool_call_id=ToolCallId("call_1_1"), tool_name="x", args={}, invalid_args='{"a": '
    )
    assert good == call("x", "call_1_2", a=1)


async def test_usage_is_as_written_or_estimated_from_lengths(tmp_path: Path) -> None:
    model = scripted(
        tmp_path,
        """
        [[turns]]
        turn = 1
        text = "12345678"
        reasoning = "1234"
        [[turns]]
        text = "x"
        [turns.usage]
        input_tokens = 1000
        output_tokens = 50
        cached_input_tokens = 900
        cache_write_tokens = 60
        [defaults]
        price = {input = 100, output = 200, cached_input = 10, cache_write = 125}
        """,
    )
    _, estimated = await ask(model, request(system("a" * 40), user("b" * 40)))
    assert estimated.usage == Usage(
        input_tokens=20, output_tokens=3, reasoning_tokens=1, total_tokens=23
    )
    _, written = await ask(model, request(system(), user("q"), expert("a"), user("q")))
    assert written.usage == Usage(
        input_tokens=1000,
        output_tokens=50,
        total_tokens=1050,
        cached_input_tokens=900,
        cache_write_tokens=60,
    )
    usd = (40 * 100 + 900 * 10 + 60 * 125 + 50 * 200) / 1_000_000
    assert cost_usd(written.usage, model.price) == pytest.approx(usd)


async def test_text_streams_in_pieces_at_the_written_pace(tmp_path: Path) -> None:
    text = '[defaults]\nchars_per_s = 60\n[[turns]]\ntext = "abcdefg"'
    model = scripted(tmp_path, text, pace=0.001)
    shown, generation = await ask(model, request())
    assert [piece.text for piece in shown] == ["abc", "def", "g"]
    assert generation.parts == (TextPart(text="abcdefg"),)


async def test_a_finish_can_be_written(tmp_path: Path) -> None:
    model = scripted(tmp_path, '[[turns]]\nfinish = "refusal"')
    _, generation = await ask(model, request())
    assert (generation.parts, generation.finish) == ((), "refusal")


async def test_it_says_that_it_is_scripted(tmp_path: Path) -> None:
    model = scripted(tmp_path, '[defaults]\ncontext_window = 9\n[[turns]]\ntext = "x"')
    assert model.name == "scripted:demo"
    assert model.context_window == 9
    await model.aclose()
