"""What a tool server at an address tells and asks while it is called, over both HTTP transports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from pydantic import JsonValue

from perstack.domain.expert import McpHttpSkill, McpSseSkill
from perstack.domain.ids import ToolCallId
from perstack.domain.server_events import SkillLog, SkillProgress
from perstack.ports.skills import (
    Elicitation,
    ElicitationAnswer,
    RunContext,
    Sampling,
    SamplingAnswer,
    SkillSet,
)
from perstack.skills.opener import Skills
from tests.fakes.mcp_http import McpHttp, mcp_http
from tests.fakes.skill_host import Answering
from tests.unit.skills.support import QUICK, Notices, context_for, expert_with, text, until

pytestmark = pytest.mark.anyio

SKILLS = Skills(replace(QUICK, call_s=30.0))
CALL: Final = ToolCallId("call-1")
KEY: Final = "sk-canary-0123456789"
QUESTION: Final[dict[str, JsonValue]] = {
    "message": f"Who are you, {KEY}?",
    "requestedSchema": {
        "type": "object",
        "properties": {"fish": {"type": "array", "items": {"enum": ["tuna", "trout"]}}},
    },
}
SAMPLING: Final[dict[str, JsonValue]] = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "say hi"}}],
    "maxTokens": 100,
}
Make = Callable[[McpHttp], McpHttpSkill | McpSseSkill]


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path, env={"API_KEY": KEY})


@pytest.fixture(params=["http", "sse"])
def make(request: pytest.FixtureRequest) -> Make:
    def over_http(server: McpHttp) -> McpHttpSkill:
        return McpHttpSkill(
            endpoint=f"{server.url}/mcp",
            allow_private=True,
            bearer_token_env="API_KEY",
            sampling="allow",
        )

    def over_sse(server: McpHttp) -> McpSseSkill:
        return McpSseSkill(
            endpoint=f"{server.url}/sse",
            allow_private=True,
            bearer_token_env="API_KEY",
            sampling="allow",
        )

    return over_http if request.param == "http" else over_sse


async def asks(
    skills: SkillSet, method: str, params: Mapping[str, JsonValue], **more: JsonValue
) -> dict[str, Any]:
    """Have the server ask something; return the whole answer that it got."""
    args: dict[str, JsonValue] = {"method": method, "params": dict(params), **more}
    outcome = await skills.call("request", args, tool_call_id=CALL)
    assert not outcome.is_error, text(outcome)
    found: dict[str, Any] = json.loads(text(outcome))
    return found


async def tells(skills: SkillSet, *messages: JsonValue) -> None:
    """Have the server send notifications; "TOKEN" is the call's progress token."""
    outcome = await skills.call("tell", {"messages": [*messages]}, tool_call_id=CALL)
    assert text(outcome) == "told"


def said(data: str, *, aside: bool = False) -> dict[str, JsonValue]:
    params: dict[str, JsonValue] = {"level": "warning", "data": data}
    return {"method": "notifications/message", "params": params, "aside": aside}


def progress(number: int) -> dict[str, JsonValue]:
    params: dict[str, JsonValue] = {"progressToken": "TOKEN", "progress": number, "total": 3}
    return {"method": "notifications/progress", "params": params}


async def test_a_question_reaches_the_host_and_its_answer_the_server(
    context: RunContext, notices: Notices, make: Make
) -> None:
    host = Answering(ElicitationAnswer("accept", {"fish": ["tuna", "trout"]}))
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices, host) as skills,
    ):
        answer = await asks(skills, "elicitation/create", QUESTION)
    assert answer["result"] == {"action": "accept", "content": {"fish": ["tuna", "trout"]}}
    [asked] = host.asked
    assert isinstance(asked, Elicitation)
    assert (asked.skill_name, asked.message) == ("far", "Who are you, [API_KEY]?")


async def test_a_request_to_the_model_reaches_the_host_and_its_answer_the_server(
    context: RunContext, notices: Notices, make: Make
) -> None:
    host = Answering(sampled=SamplingAnswer(text="hi", model="m-1"))
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices, host) as skills,
    ):
        answer = await asks(skills, "sampling/createMessage", SAMPLING)
    assert answer["result"]["content"] == {"type": "text", "text": "hi"}
    [asked] = host.asked
    assert isinstance(asked, Sampling)
    assert (asked.skill_name, asked.max_tokens, asked.consent) == ("far", 100, "allow")


async def test_what_nobody_knows_is_refused_as_the_protocol_says(
    context: RunContext, notices: Notices, make: Make
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices, Answering()) as skills,
    ):
        assert (await asks(skills, "no/such", {}))["error"]["code"] == -32601


async def test_a_call_is_not_late_while_its_server_waits_for_a_person(
    context: RunContext, notices: Notices, make: Make
) -> None:
    host = Answering(ElicitationAnswer("decline"), holds=anyio.Event())
    strict = Skills(replace(QUICK, call_s=1.0))
    answers: list[dict[str, Any]] = []
    async with mcp_http() as server, mcp_http() as slow:
        expert = expert_with(far=make(server), slow=make(slow))
        async with strict.open(expert, context, notices, host) as skills:
            slow.fault = "hang"

            async def ask() -> None:
                answers.append(await asks(skills, "elicitation/create", QUESTION))

            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await host.is_asked.wait()
                # The person takes longer than a call may.
                late = await skills.call("slow__echo", {"text": "x"})
                assert "no answer within 1 s" in text(late)
                assert host.holds is not None
                host.holds.set()
    assert answers[0]["result"] == {"action": "decline"}


async def test_a_question_that_the_server_takes_back_is_taken_back_from_the_host(
    context: RunContext, notices: Notices, make: Make
) -> None:
    host = Answering(holds=anyio.Event())
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices, host) as skills,
    ):
        args: dict[str, JsonValue] = {
            "method": "elicitation/create",
            "params": QUESTION,
            "cancel": True,
        }
        outcome = await skills.call("request", args, tool_call_id=CALL)
        assert text(outcome) == "taken back"
        if host.asked:
            with anyio.fail_after(10):
                await host.is_left.wait()
        assert text(await skills.call("echo", {"text": "still here"})) == "still here"


async def test_a_connection_that_breaks_while_the_server_asks_leaves_nobody_waiting(
    context: RunContext, notices: Notices
) -> None:
    host = Answering(holds=anyio.Event())
    told: list[str] = []
    async with mcp_http() as server:
        far = McpSseSkill(endpoint=f"{server.url}/sse", allow_private=True)
        async with (
            SKILLS.open(expert_with(far=far), context, notices, host) as skills,
            anyio.create_task_group() as group,
        ):

            async def ask() -> None:
                args: dict[str, JsonValue] = {"method": "elicitation/create", "params": QUESTION}
                told.append(text(await skills.call("request", args, tool_call_id=CALL)))

            group.start_soon(ask)
            with anyio.fail_after(10):
                await host.is_asked.wait()
                await server.cut_streams()
                await host.is_left.wait()
    assert "was lost before it answered" in told[0]


async def test_progress_and_log_messages_of_a_call_are_told_without_secrets(
    context: RunContext, notices: Notices, make: Make
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices) as skills,
    ):
        await tells(skills, progress(1), said(f"with {KEY}\n\x1b[2J"), progress(3))
    told = [each for each in notices if isinstance(each, SkillProgress)]
    assert {each.tool_call_id for each in told} == {CALL}
    assert (told[-1].skill_name, told[-1].progress, told[-1].total) == ("far", 3, 3)
    [log] = [each for each in notices if isinstance(each, SkillLog)]
    assert (log.skill_name, log.level) == ("far", "warning")
    assert log.message == "with [API_KEY] \ufffd[2J"


async def test_what_is_said_beside_all_calls_is_heard_too(
    context: RunContext, notices: Notices
) -> None:
    async with mcp_http() as server:
        server.listens = True
        far = McpHttpSkill(endpoint=f"{server.url}/mcp", allow_private=True)
        async with SKILLS.open(expert_with(far=far), context, notices) as skills:
            await until(lambda: bool(server.streams))
            await tells(skills, said("beside", aside=True))
            await until(lambda: any(isinstance(each, SkillLog) for each in notices))
    [log] = [each for each in notices if isinstance(each, SkillLog)]
    assert log.message == "beside"


async def test_without_a_host_what_a_server_asks_is_refused(
    context: RunContext, notices: Notices, make: Make
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices) as skills,
    ):
        for method, params in (
            ("elicitation/create", QUESTION),
            ("sampling/createMessage", SAMPLING),
        ):
            assert (await asks(skills, method, params))["error"]["code"] == -32600
