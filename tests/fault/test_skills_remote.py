"""Servers at an address that fail, lie, forget and come back (M3, M7, M8, M11, M18)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import pytest

from perstack.domain.expert import McpHttpSkill, McpSseSkill
from perstack.errors import SkillError
from perstack.ports.skills import RunContext
from perstack.skills.mcp.limits import ServerLimits
from perstack.skills.opener import Skills
from tests.fakes.mcp_http import McpHttp, mcp_http
from tests.unit.skills.support import QUICK, Notices, context_for, expert_with, text, until

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
# For what takes time by itself: 64 MB, on a machine that is busy.
PATIENT = Skills(ServerLimits(leave_s=0.3))
IMPATIENT = Skills(ServerLimits(start_s=0.5, leave_s=0.2, connect_s=0.3))
Make = Callable[[McpHttp], McpHttpSkill | McpSseSkill]
LOST = "the connection to the server of skill far was lost before it answered"
AGAIN = "(The connection to the server of skill far was lost and was made again.)"


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


@pytest.fixture
def notices() -> Notices:
    return Notices()


def over_http(server: McpHttp) -> McpHttpSkill:
    return McpHttpSkill(endpoint=f"{server.url}/mcp?key=sk-very-secret", allow_private=True)


def over_sse(server: McpHttp) -> McpSseSkill:
    return McpSseSkill(endpoint=f"{server.url}/sse?key=sk-very-secret", allow_private=True)


def _opener(words: str) -> Skills:
    return SKILLS if words.startswith("no answer") else PATIENT


# What each transport begins with.
STARTS = [
    pytest.param(make, at, id=f"{name}-{at}")
    for name, make, all_at in (
        ("http", over_http, ("initialize", "tools/list")),
        ("sse", over_sse, ("GET", "initialize", "tools/list")),
    )
    for at in all_at
]


@pytest.fixture(params=["http", "sse"])
def make(request: pytest.FixtureRequest) -> Make:
    return over_http if request.param == "http" else over_sse


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status", "it answered with HTTP 500 Internal Server Error"),
        ("redirect", "it redirects elsewhere (HTTP 307), which is not followed"),
        ("alien", "its answer is neither JSON-RPC nor a stream of events"),
        ("compressed", "its answer is compressed although that was not asked for"),
        ("garbage", "its answer is neither JSON-RPC nor a stream of events"),
        ("no_jsonrpc", "the server's reply breaks the protocol"),
        ("wrong_id", "no answer within 0.4 s"),
        ("mute", "server answered a request with 202 Accepted"),
        ("hang", "no answer within 0.4 s"),
        ("cut", LOST),
        ("huge", "it sent a message of more than 67,108,864 bytes"),
        ("many", "it sent a message of more than 250,000 values"),
    ],
)
async def test_a_call_that_fails_is_an_error_in_time_and_the_next_one_works(
    context: RunContext, notices: Notices, fault: str, words: str
) -> None:
    async with (
        mcp_http(as_json=True) as server,
        _opener(words).open(expert_with(far=over_http(server)), context, notices) as skills,
    ):
        server.fault, server.times = fault, 1
        with anyio.fail_after(40):
            outcome = await skills.call("echo", {"text": "x"})
        assert outcome.is_error
        assert words in text(outcome)
        assert text(await skills.call("echo", {"text": "y"})) == "y"
        assert notices.of("far") == ["skillStarting", "skillConnected"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("garbage", "the server's reply breaks the protocol"),
        ("no_jsonrpc", "the server's reply breaks the protocol"),
        ("cut", LOST),
        ("huge", LOST),
        ("many", LOST),
    ],
)
async def test_a_stream_of_events_that_breaks_is_an_error_and_the_next_call_works(
    context: RunContext, fault: str, words: str
) -> None:
    async with (
        mcp_http() as server,
        _opener(words).open(expert_with(far=over_http(server)), context, Notices()) as skills,
    ):
        server.fault, server.times = fault, 1
        with anyio.fail_after(40):
            outcome = await skills.call("echo", {"text": "x"})
        assert outcome.is_error
        assert words in text(outcome)
        assert text(await skills.call("echo", {"text": "y"})) == "y"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status", "it answered with HTTP 500 Internal Server Error"),
        ("redirect", "it redirects elsewhere (HTTP 307), which is not followed"),
        ("compressed", "its answer is compressed although that was not asked for"),
        ("garbage", "no answer within 0.4 s"),
        ("no_jsonrpc", "no answer within 0.4 s"),
        ("wrong_id", "no answer within 0.4 s"),
        ("mute", "no answer within 0.4 s"),
        ("hang", "no answer within 0.4 s"),
        ("cut", LOST),
    ],
)
async def test_a_failed_call_over_the_older_transport_leaves_its_stream_alone(
    context: RunContext, notices: Notices, fault: str, words: str
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=over_sse(server)), context, notices) as skills,
    ):
        server.fault, server.times = fault, 1
        with anyio.fail_after(40):
            outcome = await skills.call("echo", {"text": "x"})
        assert outcome.is_error
        assert words in text(outcome)
        assert text(await skills.call("echo", {"text": "y"})) == "y"
        assert notices.of("far") == ["skillStarting", "skillConnected"]


async def test_a_server_is_told_that_nobody_waits_for_a_late_answer_any_more(
    context: RunContext, make: Make
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, Notices()) as skills,
    ):
        server.fault, server.times = "hang", 1
        assert "no answer within 0.4 s" in text(await skills.call("echo", {"text": "x"}))
        await until(lambda: server.count("notifications/cancelled") == 1)


@pytest.mark.parametrize("fault", ["forget", "forget_400"])
async def test_a_server_that_forgot_the_conversation_is_asked_again_in_a_new_one(
    context: RunContext, notices: Notices, make: Make, fault: str
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, notices) as skills,
    ):
        server.fault, server.times = fault, 1
        outcome = await skills.call("echo", {"text": "x"})
        assert (outcome.is_error, text(outcome)) == (False, f"x\n{AGAIN}")
        assert text(await skills.call("echo", {"text": "y"})) == "y"
    life = ["skillStarting", "skillConnected", "skillDisconnected"]
    assert notices.of("far") == life * 2


async def test_a_server_that_forgets_always_is_given_up(context: RunContext, make: Make) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, Notices()) as skills,
    ):
        server.fault = "forget"
        told = [text(await skills.call("echo", {"text": "x"})) for _ in range(4)]
    assert "keeps forgetting the conversation. Nothing was done." in told[0]
    assert "is gone: it ended 4 times" in told[-1]
    assert server.count("initialize") == 4


async def test_a_stream_that_is_cut_is_opened_again_at_the_next_call(
    context: RunContext, notices: Notices
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=over_sse(server)), context, notices) as skills,
    ):
        await server.cut_streams()
        await until(lambda: notices.of("far")[-1] == "skillDisconnected")
        outcome = await skills.call("echo", {"text": "x"})
        assert (outcome.is_error, text(outcome)) == (False, f"x\n{AGAIN}")


async def test_a_stream_that_is_cut_in_a_call_ends_the_call_and_not_the_run(
    context: RunContext, notices: Notices
) -> None:
    told: list[str] = []
    async with (
        mcp_http() as server,
        PATIENT.open(expert_with(far=over_sse(server)), context, notices) as skills,
    ):

        async def call() -> None:
            told.append(text(await skills.call("echo", {"text": "x"})))

        server.fault, server.times = "mute", 1
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await until(lambda: server.count("tools/call") == 1)
            await server.cut_streams()
        assert not (await skills.call("attemptCompletion", {})).is_error
    assert LOST in told[0]


async def test_a_server_that_went_away_and_came_back_is_used_again(
    context: RunContext, make: Make
) -> None:
    async def serve(
        port: int, *, task_status: anyio.abc.TaskStatus[tuple[McpHttp, anyio.CancelScope]]
    ) -> None:
        with anyio.CancelScope() as scope:
            async with mcp_http(port=port) as server:
                task_status.started((server, scope))
                await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        first, running = await group.start(serve, 0)
        async with SKILLS.open(expert_with(far=make(first)), context, Notices()) as skills:
            running.cancel()
            away = await skills.call("echo", {"text": "x"})
            await group.start(serve, int(first.url.rpartition(":")[2]))
            back = await skills.call("echo", {"text": "y"})
        assert away.is_error
        assert "reached" in text(away) or "lost" in text(away)
        assert (back.is_error, text(back).splitlines()[0]) == (False, "y")
        group.cancel_scope.cancel()


async def test_a_tool_that_came_back_as_another_is_not_called(
    context: RunContext, make: Make
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, Notices()) as skills,
    ):
        server.changed, server.fault, server.times = True, "forget", 1
        changed = await skills.call("add", {})
        assert text(await skills.call("echo", {"text": "x"})) == "x"
    assert changed.is_error
    assert "now defines this tool differently. It is not called." in text(changed)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 599])
@pytest.mark.parametrize(("make", "strikes_at"), STARTS)
async def test_a_server_that_refuses_at_the_start_is_named_without_what_it_says(
    context: RunContext, make: Make, status: int, strikes_at: str
) -> None:
    async with mcp_http() as server:
        server.fault, server.status, server.strikes_at = "status", status, strikes_at
        with pytest.raises(SkillError, match=r"^Skill far could not be started: ") as caught:
            async with SKILLS.open(expert_with(far=make(server)), context, Notices()):
                pytest.fail("opened")
    told = caught.value.message + str(caught.value.hint)
    assert str(status) in told or "forgotten" in told
    assert "very-secret" not in told


@pytest.mark.parametrize(("make", "strikes_at"), STARTS)
async def test_a_server_that_never_gets_ready_is_left(
    context: RunContext, make: Make, strikes_at: str
) -> None:
    async with mcp_http() as server:
        server.fault, server.strikes_at = "hang", strikes_at
        with anyio.fail_after(10), pytest.raises(SkillError, match=r"not ready within 0\.5 s"):
            async with IMPATIENT.open(expert_with(far=make(server)), context, Notices()):
                pytest.fail("opened")


async def test_an_address_where_nobody_is_is_told(context: RunContext, make: Make) -> None:
    async with mcp_http() as server:
        pass
    with pytest.raises(SkillError, match="it could not be reached") as caught:
        async with SKILLS.open(expert_with(far=make(server)), context, Notices()):
            pytest.fail("opened")
    assert "very-secret" not in caught.value.message + str(caught.value.hint)


async def test_a_redirect_reaches_nobody(context: RunContext, make: Make) -> None:
    async with mcp_http() as server, mcp_http() as elsewhere:
        server.location = f"{elsewhere.url}/mcp"
        server.fault = "redirect"
        server.strikes_at = "initialize" if make is over_http else "GET"
        with pytest.raises(SkillError, match="redirects elsewhere"):
            async with SKILLS.open(expert_with(far=make(server)), context, Notices()):
                pytest.fail("opened")
        server.location = "/mcp"
        with pytest.raises(SkillError, match="redirects elsewhere"):
            async with SKILLS.open(expert_with(far=make(server)), context, Notices()):
                pytest.fail("opened")
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("alien", "its answer is no stream of events"),
        ("compressed", "its answer is compressed although that was not asked for"),
        ("cut", "its answer is no stream of events"),
        ("fleeting", "the conversation broke"),
        ("halved", "the connection broke"),
        ("huge", "its stream does not say where messages are to be sent"),
    ],
)
async def test_a_stream_that_does_not_begin_as_it_should_is_told_at_once(
    context: RunContext, fault: str, words: str
) -> None:
    async with mcp_http() as server:
        server.fault, server.strikes_at = fault, "GET"
        with anyio.fail_after(15), pytest.raises(SkillError) as caught:
            async with SKILLS.open(expert_with(far=over_sse(server)), context, Notices()):
                pytest.fail("opened")
    assert caught.value.message == f"Skill far could not be started: {words}"


async def test_an_answer_whose_stream_ended_is_fetched_from_the_next(
    context: RunContext, notices: Notices
) -> None:
    opener = Skills(replace(QUICK, call_s=20.0))
    async with (
        mcp_http() as server,
        opener.open(expert_with(far=over_http(server)), context, notices) as skills,
    ):
        server.fault, server.times = "fleeting", 1
        assert text(await skills.call("echo", {"text": "x"})) == "x"
        assert server.count("tools/call") == 1
        assert notices.of("far") == ["skillStarting", "skillConnected"]


async def test_a_stream_that_wants_to_be_opened_again_at_once_is_not(context: RunContext) -> None:
    """A server that asks for it ("retry: 0") must not make us ask a thousand times a second."""
    opener = Skills(replace(QUICK, call_s=20.0, reopen_s=3_600.0))
    async with mcp_http() as server:
        server.listens, server.fault, server.strikes_at = True, "fleeting", "GET"
        async with opener.open(expert_with(far=over_http(server)), context, Notices()) as skills:
            for _ in range(50):
                assert text(await skills.call("echo", {"text": "x"})) == "x"
            assert [each.verb for each in server.asked].count("GET") == 1


@pytest.mark.parametrize("fault", ["redirect", "compressed", "status", "hang", "cut"])
async def test_a_stream_beside_the_calls_that_cannot_be_had_is_done_without(
    context: RunContext, notices: Notices, fault: str
) -> None:
    opener = Skills(replace(QUICK, call_s=20.0))
    async with mcp_http() as server:
        server.listens, server.fault, server.strikes_at = True, fault, "GET"
        server.location = "/elsewhere"
        async with opener.open(expert_with(far=over_http(server)), context, notices) as skills:
            await until(lambda: any(each.verb == "GET" for each in server.asked))
            assert text(await skills.call("echo", {"text": "x"})) == "x"
            assert notices.of("far") == ["skillStarting", "skillConnected"]
    assert not any(each.place == "/elsewhere" for each in server.asked)


async def test_messages_are_sent_to_no_other_server_than_the_one_that_was_named(
    context: RunContext,
) -> None:
    async with mcp_http() as server, mcp_http() as elsewhere:
        server.posts_to = f"{elsewhere.url}/messages?session=1"
        with pytest.raises(SkillError, match="wants messages to be sent to another server"):
            async with SKILLS.open(expert_with(far=over_sse(server)), context, Notices()):
                pytest.fail("opened")
    assert elsewhere.asked == []


async def test_a_name_that_nobody_can_look_up_in_time_is_told(context: RunContext) -> None:
    async def never(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        return []

    opener = Skills(replace(QUICK, connect_s=0.1), resolve=never)
    skill = McpHttpSkill(endpoint="https://mcp.example/mcp?key=sk-very-secret")
    with anyio.fail_after(10), pytest.raises(SkillError, match="not be reached in time") as caught:
        async with opener.open(expert_with(far=skill), context, Notices()):
            pytest.fail("opened")
    assert "very-secret" not in caught.value.message + str(caught.value.hint)


async def test_a_cancelled_run_leaves_the_server_in_good_order(
    context: RunContext, make: Make
) -> None:
    opened = anyio.Event()
    async with mcp_http() as server:

        async def run() -> None:
            async with SKILLS.open(expert_with(far=make(server)), context, Notices()) as skills:
                server.fault = "hang"
                opened.set()
                await skills.call("echo", {"text": "x"})
                pytest.fail("it answered")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await opened.wait()
                await until(lambda: server.count("tools/call") == 1)
                group.cancel_scope.cancel()
        if make is over_http:
            assert server.sessions == set()


async def test_an_error_of_the_run_itself_comes_out_as_it_is(
    context: RunContext, make: Make
) -> None:
    async with mcp_http() as server:
        with pytest.raises(KeyError, match="mine"):
            async with SKILLS.open(expert_with(far=make(server)), context, Notices()):
                raise KeyError("mine")
