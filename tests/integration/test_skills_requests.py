"""What a real tool server tells and asks while it is called, and what becomes of it."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import anyio
import psutil
import pytest
from pydantic import JsonValue

from perstack.domain.expert import Consent, McpStdioSkill
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import ImageInlinePart, TextPart
from perstack.domain.server_events import SkillLog, SkillProgress
from perstack.ports.skills import (
    Elicitation,
    ElicitationAnswer,
    RunContext,
    Sampling,
    SamplingAnswer,
    SkillSet,
)
from perstack.skills.mcp.reports import MAX_LOGS
from perstack.skills.mcp.requests import Patience
from perstack.skills.opener import Skills
from tests.fakes.skill_host import Answering
from tests.unit.skills.support import (
    FAKE_SERVER,
    QUICK,
    Notices,
    context_for,
    expert_with,
    fake_skill,
    processes_of,
    text,
)

pytestmark = pytest.mark.anyio

SKILLS = Skills(replace(QUICK, call_s=30.0))
CALL: Final = ToolCallId("call-1")
KEY: Final = "sk-canary-0123456789"
FORM: Final[dict[str, JsonValue]] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}
QUESTION: Final[dict[str, JsonValue]] = {"message": "Who are you?", "requestedSchema": FORM}
SAMPLING: Final[dict[str, JsonValue]] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "say hi"}}],
    "systemPrompt": "be brief",
    "maxTokens": 100,
}


async def test_a_calls_time_stands_still_while_it_is_held() -> None:
    patience = Patience()
    with patience.of_call(60.0):
        before = anyio.current_effective_deadline()
        with patience.held(), patience.held():
            assert anyio.current_effective_deadline() == math.inf
        assert before <= anyio.current_effective_deadline() < math.inf
    with patience.held(), patience.of_call(60.0):
        assert anyio.current_effective_deadline() == math.inf


async def test_a_call_that_was_held_up_has_the_time_that_was_left() -> None:
    patience = Patience()

    async def late() -> None:
        with patience.of_call(0.05):
            with patience.held(), patience.held():
                pass
            await anyio.sleep_forever()

    with anyio.fail_after(10), pytest.raises(TimeoutError):
        await late()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path, env={"API_KEY": KEY})


@pytest.fixture
def notices() -> Notices:
    return Notices()


def skill(
    *, sampling: Consent = "ask", elicitation: Literal["deny", "ask"] = "ask"
) -> McpStdioSkill:
    """The fake server as a user may set it."""
    made = fake_skill(required_env=("API_KEY",))
    return made.model_copy(update={"sampling": sampling, "elicitation": elicitation})


async def asks(
    skills: SkillSet, method: str, params: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Have the server ask something; return the whole answer that it got."""
    outcome = await skills.call(
        "request", {"method": method, "params": dict(params)}, tool_call_id=CALL
    )
    assert not outcome.is_error, text(outcome)
    found: dict[str, JsonValue] = json.loads(text(outcome))
    return found


async def tells(
    skills: SkillSet, method: str, params: Mapping[str, JsonValue], *, times: int = 1
) -> None:
    """Have the server send a notification; "TOKEN" is the call's progress token."""
    message: dict[str, JsonValue] = {"method": method, "params": dict(params), "times": times}
    outcome = await skills.call("tell", {"messages": [message]}, tool_call_id=CALL)
    assert text(outcome) == "told"


def progress_of(notices: Notices) -> list[SkillProgress]:
    return [each for each in notices if isinstance(each, SkillProgress)]


def logs_of(notices: Notices) -> list[SkillLog]:
    return [each for each in notices if isinstance(each, SkillLog)]


# ---------------------------------------------------------------- what it tells


async def test_progress_of_a_call_is_told_under_its_id_with_secrets_taken_out(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        await tells(
            skills,
            "notifications/progress",
            {
                "progressToken": "TOKEN",
                "progress": 1,
                "total": 4,
                "message": f"with {KEY}\n\x1b[2Jhalf",
            },
        )
    [told] = progress_of(notices)
    assert (told.tool_call_id, told.progress, told.total) == (CALL, 1, 4)
    assert told.message == "with [API_KEY] \ufffd[2Jhalf"


async def test_a_flood_of_progress_is_told_at_most_once_a_second_and_the_last_always(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        began = anyio.current_time()
        flood: list[JsonValue] = [
            {
                "method": "notifications/progress",
                "params": {"progressToken": "TOKEN", "progress": number},
            }
            for number in range(3_000)
        ]
        outcome = await skills.call("tell", {"messages": flood}, tool_call_id=CALL)
        took_s = anyio.current_time() - began
    assert text(outcome) == "told"
    told = progress_of(notices)
    assert told[-1].progress == 2_999
    assert 1 <= len(told) <= 2 + took_s


@pytest.mark.parametrize(
    "params",
    [
        {"progressToken": "TOKEN", "progress": 10**400},
        {"progressToken": "TOKEN", "progress": 1, "total": 10**400},
        {"progressToken": "TOKEN", "progress": "much"},
        {"progressToken": "TOKEN", "progress": True},
        {"progressToken": [], "progress": 1},
        {"progressToken": "another", "progress": 1},
        {},
    ],
)
async def test_progress_that_is_none_ends_no_conversation(
    context: RunContext, notices: Notices, params: dict[str, JsonValue]
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        await tells(skills, "notifications/progress", params)
        assert text(await skills.call("echo", {"text": "still here"})) == "still here"
    assert len(progress_of(notices)) <= 1


async def test_log_messages_are_told_in_one_bounded_line_each(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        log = "notifications/message"
        said = f"key {KEY}\n\x07gone"
        await tells(skills, log, {"level": "warning", "logger": "net", "data": said})
        await tells(skills, log, {"level": "info", "data": {"tries": [1, 2]}})
        await tells(skills, log, {"level": "shouting", "data": "x" * 100_000})
        await tells(skills, log, {"level": [], "data": KEY * 1_000})
    first, second, third, fourth = logs_of(notices)
    assert (first.level, first.message) == ("warning", "net: key [API_KEY] \ufffdgone")
    assert second.message == '{"tries": [1, 2]}'
    assert (third.level, len(third.message)) == ("info", 2_000)
    assert KEY not in fourth.message
    assert len(fourth.message) <= 2_000


async def test_a_flood_of_log_messages_is_cut_off_with_one_notice_for_all_lives_of_a_server(
    context: RunContext, notices: Notices
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        await tells(skills, "notifications/message", {"data": "again"}, times=5_000)
        assert text(await skills.call("echo", {"text": "still here"})) == "still here"
    logs = logs_of(notices)
    assert len(logs) == MAX_LOGS + 1
    assert "the rest is dropped" in logs[-1].message


async def test_notifications_that_nobody_knows_or_that_are_broken_are_dropped_quietly(
    context: RunContext, notices: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        for method in ("notifications/resources/updated", "no/such", "notifications/cancelled"):
            await tells(skills, method, {"uri": 7, "requestId": []}, times=50)
        assert text(await skills.call("echo", {"text": "still here"})) == "still here"
    assert logs_of(notices) == []
    assert caplog.records == []


# ---------------------------------------------------------------- what it asks


async def test_the_workspace_is_the_only_root(
    context: RunContext, notices: Notices, tmp_path: Path
) -> None:
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        answer = await asks(skills, "roots/list", {})
    assert answer["result"] == {"roots": [{"uri": tmp_path.as_uri(), "name": "workspace"}]}


async def test_a_question_reaches_the_host_and_its_answer_the_server(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(ElicitationAnswer("accept", {"name": "ana"}))
    async with SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills:
        answer = await asks(skills, "elicitation/create", QUESTION)
    assert answer["result"] == {"action": "accept", "content": {"name": "ana"}}
    [asked] = host.asked
    assert isinstance(asked, Elicitation)
    assert (asked.skill_name, asked.message) == ("fake", "Who are you?")
    assert asked.answer_schema["properties"] == {"name": {"type": "string"}}


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_question_that_nobody_answers_says_so(
    context: RunContext, notices: Notices, action: Literal["decline", "cancel"]
) -> None:
    host = Answering(ElicitationAnswer(action))
    async with SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills:
        assert (await asks(skills, "elicitation/create", QUESTION))["result"] == {"action": action}


async def test_a_page_to_open_is_declined_without_asking_anybody(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(ElicitationAnswer("accept"))
    page: dict[str, JsonValue] = {
        "mode": "url",
        "message": "log in here",
        "url": "https://phish.example/",
        "elicitationId": "1",
    }
    async with SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills:
        assert (await asks(skills, "elicitation/create", page))["result"] == {"action": "decline"}
    assert host.asked == []


async def test_a_call_is_not_late_while_its_server_waits_for_a_person(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(ElicitationAnswer("accept", {"name": "ana"}), holds=anyio.Event())
    answers: list[dict[str, JsonValue]] = []
    strict = Skills(replace(QUICK, call_s=1.0))
    expert = expert_with(fake=skill(), slow=fake_skill("slow"))
    async with strict.open(expert, context, notices, host) as skills:

        async def ask() -> None:
            answers.append(await asks(skills, "elicitation/create", QUESTION))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await host.is_asked.wait()
            # The person takes longer than a call may.
            assert "no answer within 1 s" in text(await skills.call("slow__echo", {"text": "x"}))
            assert host.holds is not None
            host.holds.set()
    assert answers[0]["result"] == {"action": "accept", "content": {"name": "ana"}}


async def test_a_question_that_the_server_takes_back_is_taken_back_from_the_host(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(holds=anyio.Event())
    async with SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills:
        taken_back: dict[str, JsonValue] = {**QUESTION, "cancel": True}
        assert await asks(skills, "elicitation/create", taken_back) == {"taken": "back"}
        assert text(await skills.call("echo", {"text": "still here"})) == "still here"
        if host.asked:
            with anyio.fail_after(10):
                await host.is_left.wait()


async def test_a_request_to_the_model_reaches_the_host_whole(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(sampled=SamplingAnswer(text="hi", model="m-1", stop_reason="maxTokens"))
    pixel = "R0lGODlhAQABAAAAACw="
    many: dict[str, JsonValue] = {
        **SAMPLING,
        "messages": [
            {"role": "user", "content": {"type": "text", "text": f"my key is {KEY}"}},
            {"role": "assistant", "content": {"type": "text", "text": "so?"}},
            {"role": "user", "content": {"type": "image", "data": pixel, "mimeType": "image/gif"}},
        ],
    }
    async with SKILLS.open(expert_with(fake=skill(sampling="allow")), context, notices, host) as s:
        answer = await asks(s, "sampling/createMessage", many)
    assert answer["result"] == {
        "role": "assistant",
        "content": {"type": "text", "text": "hi"},
        "model": "m-1",
        "stopReason": "maxTokens",
    }
    [asked] = host.asked
    assert isinstance(asked, Sampling)
    assert (asked.system, asked.max_tokens, asked.consent) == ("be brief", 100, "allow")
    first, second, third = asked.messages
    assert first.contents == (TextPart(text="my key is [API_KEY]"),)
    assert (second.type, second.contents) == ("expertMessage", (TextPart(text="so?"),))
    assert third.contents == (ImageInlinePart(encoded_data=pixel, mime_type="image/gif"),)


async def test_what_no_model_can_be_sent_is_refused_without_asking_the_host(
    context: RunContext, notices: Notices
) -> None:
    host = Answering()
    sound: JsonValue = {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}
    loud: dict[str, JsonValue] = {**SAMPLING, "messages": [{"role": "user", "content": sound}]}
    async with SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills:
        assert error_of(await asks(skills, "sampling/createMessage", loud))[0] == -32600
    assert host.asked == []


async def test_a_refusal_to_ask_the_model_is_an_error_that_says_why(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(sampled=SamplingAnswer(refused="the user refused: not today"))
    async with SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills:
        answer = await asks(skills, "sampling/createMessage", SAMPLING)
    assert error_of(answer) == (-1, "the user refused: not today")


async def test_what_a_skill_may_not_ask_is_refused_without_asking_the_host(
    context: RunContext, notices: Notices
) -> None:
    host = Answering()
    denied = skill(sampling="deny", elicitation="deny")
    async with SKILLS.open(expert_with(fake=denied), context, notices, host) as skills:
        for method, params in (
            ("sampling/createMessage", SAMPLING),
            ("elicitation/create", QUESTION),
        ):
            assert error_of(await asks(skills, method, params))[0] == -32600
        assert error_of(await asks(skills, "no/such", {}))[0] == -32601
    assert host.asked == []


async def test_a_server_that_dies_while_it_asks_leaves_nobody_waiting(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(holds=anyio.Event())
    told: list[str] = []

    async def ask() -> None:
        args: dict[str, JsonValue] = {"method": "elicitation/create", "params": QUESTION}
        told.append(text(await skills.call("request", args, tool_call_id=CALL)))

    async with (
        SKILLS.open(expert_with(fake=skill()), context, notices, host) as skills,
        anyio.create_task_group() as group,
    ):
        group.start_soon(ask)
        with anyio.fail_after(10):
            await host.is_asked.wait()
        [pid] = {each.pid for each in processes_of(context.run_id) if is_server(each)}
        os.kill(pid, signal.SIGKILL)
        with anyio.fail_after(10):
            await host.is_left.wait()
    assert "ended before it answered" in told[0]


async def test_a_server_that_asks_without_end_and_reads_no_answer_is_stopped(
    context: RunContext, notices: Notices
) -> None:
    flood: JsonValue = [{"method": "roots/list", "asks": True, "times": 50_000}]
    async with SKILLS.open(expert_with(fake=skill()), context, notices) as skills:
        outcome = await skills.call("tell", {"messages": flood}, tool_call_id=CALL)
        assert outcome.is_error
        assert "ended before it answered" in text(outcome)
        assert text(await skills.call("echo", {"text": "again"})).startswith("again")
    assert [line for line in notices.stderr() if "answers unread" in line] == [
        "it left 1,000 answers unread and was stopped"
    ]


def is_server(process: psutil.Process) -> bool:
    """Tell the server from the supervisor that has it as an argument, too."""
    words = process.cmdline()
    return FAKE_SERVER in words and "supervisor.py" not in " ".join(words)


def error_of(answer: Mapping[str, JsonValue]) -> tuple[JsonValue, JsonValue]:
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"], error["message"]
