"""Skills at an address, over real sockets: both HTTP transports, and what may be spoken to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from perstack.domain.expert import McpHttpSkill, McpSseSkill
from perstack.domain.server_events import SkillConnected, SkillStarting
from perstack.errors import ConfigError, SkillError
from perstack.ports.skills import RunContext
from perstack.skills.base.skill import NAMES
from perstack.skills.mcp.addresses import Resolve
from perstack.skills.opener import Skills
from tests.fakes.mcp_http import McpHttp, mcp_http
from tests.unit.skills.support import QUICK, Notices, context_for, expert_with, text, until

pytestmark = pytest.mark.anyio

SKILLS = Skills(QUICK)
Remote = McpHttpSkill | McpSseSkill
Make = Callable[[McpHttp], Remote]
OWN = "add allowPrivate = true if the server is your own"


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


@pytest.fixture(params=["http", "sse"])
def make(request: pytest.FixtureRequest) -> Make:
    return over_http if request.param == "http" else over_sse


def over_http(server: McpHttp) -> Remote:
    return McpHttpSkill(endpoint=f"{server.url}/mcp", allow_private=True)


def over_sse(server: McpHttp) -> Remote:
    return McpSseSkill(endpoint=f"{server.url}/sse", allow_private=True)


def leads_to(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "events"])
async def test_a_server_is_announced_called_and_left(
    context: RunContext, notices: Notices, make: Make, as_json: bool
) -> None:
    async with mcp_http(as_json=as_json) as server:
        async with SKILLS.open(expert_with(far=make(server)), context, notices) as skills:
            assert set(skills.tools) == {*NAMES, "echo", "add", "request", "tell"}
            assert skills.tools["echo"].skill_name == "far"
            assert text(await skills.call("echo", {"text": "hello"})) == "hello"
            assert "do not fit" in text(await skills.call("echo", {"text": 7}))
            assert notices.of("far") == ["skillStarting", "skillConnected"]
        assert server.count("tools/call") == 1
        assert server.sessions == set()
    assert notices.of("far")[-1] == "skillDisconnected"
    assert "'two words' was left out" in notices.stderr()[0]
    [connected] = [each for each in notices[1:] if isinstance(each, SkillConnected)]
    assert connected.server_info is not None
    assert (connected.server_info.name, connected.server_info.version) == ("far", "3.2.1")
    assert connected.total_duration_ms >= connected.connect_duration_ms >= 0


async def test_a_server_may_ask_in_the_middle_of_a_call_and_gets_no_roots(
    context: RunContext, make: Make, tmp_path: Path
) -> None:
    async with (
        mcp_http() as server,
        SKILLS.open(expert_with(far=make(server)), context, Notices()) as skills,
    ):
        answered = text(await skills.call("request", {"method": "roots/list"}))
    assert "List roots not supported" in answered
    assert str(tmp_path) not in answered


async def test_calls_at_once_do_not_wait_for_each_other(context: RunContext, make: Make) -> None:
    told: list[str] = []
    answered = anyio.Event()
    # The one that hangs would have its answer, that there is none, only after the test's own bound.
    patient = Skills(replace(QUICK, call_s=120.0))
    async with (
        mcp_http() as server,
        patient.open(expert_with(far=make(server)), context, Notices()) as skills,
    ):

        async def ask(word: str) -> None:
            assert text(await skills.call("echo", {"text": word})) == word
            told.append(word)
            if len(told) == 19:
                answered.set()

        server.fault, server.times = "hang", 1
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, str(number))
            with anyio.fail_after(30):
                await answered.wait()
            group.cancel_scope.cancel()
    assert len(set(told)) == 19


@pytest.mark.parametrize(("kind", "path"), [("http", "/mcp"), ("sse", "/sse")])
async def test_an_address_is_announced_without_what_may_be_a_key(
    context: RunContext, notices: Notices, kind: str, path: str
) -> None:
    async with mcp_http() as server:
        endpoint = f"{server.url}{path}"
        model = McpHttpSkill if kind == "http" else McpSseSkill
        skill = model(endpoint=f"{endpoint}?exaApiKey=sk-very-secret", allow_private=True)
        async with SKILLS.open(expert_with(far=skill), context, notices):
            assert server.asked[0].path == f"{path}?exaApiKey=sk-very-secret"
        starting = notices[1]
        assert isinstance(starting, SkillStarting)
        assert (starting.command, starting.args) == (kind, (endpoint,))
        assert "sk-very-secret" not in repr(notices)


async def test_headers_are_sent_with_every_request_and_their_values_never_shown(
    tmp_path: Path, notices: Notices, make: Make
) -> None:
    context = context_for(tmp_path, env={"TOKEN": "tok-very-secret", "TEAM": "team-very-secret"})
    async with mcp_http() as server:
        skill = make(server).model_copy(
            update={
                "headers": {"X-Plain": "plain-text"},
                "header_env": {"X-Team": "TEAM"},
                "bearer_token_env": "TOKEN",
            }
        )
        async with SKILLS.open(expert_with(far=skill), context, notices) as skills:
            outcome = await skills.call("echo", {"text": "tok-very-secret team-very-secret"})
    assert text(outcome) == "[TOKEN] [TEAM]"
    for asked in server.asked:
        assert asked.headers["authorization"] == "Bearer tok-very-secret"
        assert asked.headers["x-team"] == "team-very-secret"
        assert asked.headers["x-plain"] == "plain-text"
        assert asked.headers["accept-encoding"] == "identity"
    assert "very-secret" not in repr(notices)


@pytest.mark.parametrize(
    "update",
    [
        {"bearer_token_env": "NEEDED"},
        {"header_env": {"X": "NEEDED"}},
        {"required_env": ("NEEDED",)},
    ],
    ids=["bearer", "header", "required"],
)
@pytest.mark.parametrize("value", [None, ""])
async def test_a_variable_that_is_not_set_reaches_nobody(
    tmp_path: Path, make: Make, update: dict[str, object], value: str | None
) -> None:
    context = context_for(tmp_path, env={} if value is None else {"NEEDED": value})
    async with mcp_http() as server:
        skill = make(server).model_copy(update=update)
        with pytest.raises(ConfigError, match=r"^Skill far requires environment variable NEEDED$"):
            async with SKILLS.open(expert_with(far=skill), context, Notices()):
                pytest.fail("opened")
        assert server.asked == []


async def test_a_value_that_is_no_header_is_refused_unseen(tmp_path: Path, make: Make) -> None:
    context = context_for(tmp_path, env={"TOKEN": "sk-secret\r\nX-Other: 1"})
    async with mcp_http() as server:
        skill = make(server).model_copy(update={"bearer_token_env": "TOKEN"})
        with pytest.raises(ConfigError, match="variable TOKEN as a header") as caught:
            async with SKILLS.open(expert_with(far=skill), context, Notices()):
                pytest.fail("opened")
    assert "sk-secret" not in caught.value.message + str(caught.value.hint)


async def test_pick_omit_and_approval_shape_what_is_offered(
    context: RunContext, make: Make
) -> None:
    async with mcp_http() as server:
        skill = make(server).model_copy(
            update={"pick": ("echo", "add"), "omit": ("add",), "require_approval": ("echo",)}
        )
        async with SKILLS.open(expert_with(far=skill), context, Notices()) as skills:
            added = {name: spec.gated for name, spec in skills.tools.items() if name not in NAMES}
    assert added == {"echo": True}


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://[::1",
        "ftp://mcp.example/",
        "http://mcp.example/mcp",
        "https://2130706433/mcp",
        "https://0x7f000001/mcp",
        "https://127.1/mcp",
        "https://0.0.0.0/mcp",
        "https://10.0.0.1/mcp",
        "https://169.254.169.254/latest",
        "https://100.64.0.1/mcp",
        "https://[fd00::1]/mcp",
        "https://[::ffff:10.0.0.1]/mcp",
        "https://me:secret@mcp.example/mcp",
    ],
)
async def test_an_address_that_is_plainly_wrong_is_refused_before_anything_is_sent(
    context: RunContext, endpoint: str
) -> None:
    with pytest.raises(ConfigError, match=r"^The endpoint of skill far ") as caught:
        async with SKILLS.open(
            expert_with(far=McpHttpSkill(endpoint=endpoint)), context, Notices()
        ):
            pytest.fail("opened")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_this_machine_is_asked_only_if_the_file_says_that_the_server_is_ones_own(
    context: RunContext, make: Make, host: str
) -> None:
    async with mcp_http() as server:
        here = make(server)
        foreign = here.model_copy(
            update={"endpoint": here.endpoint.replace("127.0.0.1", host), "allow_private": False}
        )
        with pytest.raises(ConfigError, match="skill far leads to this machine") as caught:
            async with SKILLS.open(expert_with(far=foreign), context, Notices()):
                pytest.fail("opened")
        assert caught.value.hint == OWN
        assert server.asked == []
        own = foreign.model_copy(update={"allow_private": True})
        here_alone = Skills(QUICK, resolve=leads_to("127.0.0.1"))
        async with here_alone.open(expert_with(far=own), context, Notices()) as skills:
            assert text(await skills.call("echo", {"text": "x"})) == "x"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "fd00::1",
        "fe80::1%eth0",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "224.0.0.1",
        "no address",
    ],
)
async def test_a_name_that_stands_for_a_private_address_is_refused_when_it_is_connected_to(
    context: RunContext, address: str
) -> None:
    async with mcp_http() as server:
        port = server.url.rpartition(":")[2]
        skills = Skills(QUICK, resolve=leads_to(address, "93.184.215.14"))
        for kind in (McpHttpSkill, McpSseSkill):
            skill = kind(endpoint=f"https://mcp.example:{port}/mcp")
            with pytest.raises(SkillError, match="stands for the private address") as caught:
                async with skills.open(expert_with(far=skill), context, Notices()):
                    pytest.fail("opened")
            asked = f"its server is asked at {skill.endpoint}"
            assert caught.value.hint == f"{asked}; {OWN}"
        assert server.asked == []


@pytest.mark.parametrize("host", ["[64:ff9b::a00:1]", "[2002:a00:1::]", "[::ffff:0:a00:1]"])
async def test_an_address_that_carries_a_private_one_is_refused(
    context: RunContext, host: str
) -> None:
    skill = McpHttpSkill(endpoint=f"https://{host}/mcp")
    with pytest.raises((ConfigError, SkillError), match="private"):
        async with SKILLS.open(expert_with(far=skill), context, Notices()):
            pytest.fail("opened")


async def test_a_name_for_this_machine_that_now_leads_into_a_network_is_refused(
    context: RunContext, make: Make
) -> None:
    async with mcp_http() as server:
        here = make(server)
        skill = here.model_copy(
            update={"endpoint": here.endpoint.replace("127.0.0.1", "localhost")}
        )
        async with Skills(QUICK).open(expert_with(far=skill), context, Notices()) as skills:
            assert text(await skills.call("echo", {"text": "x"})) == "x"
        elsewhere = Skills(QUICK, resolve=leads_to("10.0.0.1"))
        with pytest.raises(SkillError, match=r"the private address 10\.0\.0\.1") as caught:
            async with elsewhere.open(expert_with(far=skill), context, Notices()):
                pytest.fail("opened")
        assert OWN not in str(caught.value.hint)


async def test_what_was_checked_is_what_is_connected_to(context: RunContext, make: Make) -> None:
    """The name is asked for once, and kept: it cannot stand for something else a moment later."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with mcp_http() as server:
        here = make(server)
        skill = here.model_copy(
            update={
                "endpoint": here.endpoint.replace("127.0.0.1", "team.internal"),
                "allow_private": True,
            }
        )
        opener = Skills(QUICK, resolve=resolve)
        async with opener.open(expert_with(far=skill), context, Notices()) as skills:
            assert text(await skills.call("echo", {"text": "x"})) == "x"
        port = server.url.rpartition(":")[2]
        assert {each.headers["host"] for each in server.asked} == {f"team.internal:{port}"}
    assert asked == ["team.internal"]


async def test_the_next_address_is_tried_when_one_does_not_answer(
    context: RunContext, make: Make
) -> None:
    async with mcp_http() as server:
        here = make(server)
        skill = here.model_copy(
            update={"endpoint": here.endpoint.replace("127.0.0.1", "localhost")}
        )
        opener = Skills(QUICK, resolve=leads_to("127.0.0.99", "127.0.0.1"))
        async with opener.open(expert_with(far=skill), context, Notices()) as skills:
            assert text(await skills.call("echo", {"text": "x"})) == "x"


async def test_a_name_without_an_address_is_told(context: RunContext) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    skill = McpSseSkill(endpoint="https://mcp.example/sse?key=sk-very-secret")
    with pytest.raises(SkillError, match="its name could not be looked up") as caught:
        async with Skills(QUICK, resolve=resolve).open(expert_with(far=skill), context, Notices()):
            pytest.fail("opened")
    assert caught.value.hint == "its server is asked at https://mcp.example/sse"


async def test_a_proxy_of_the_environment_is_used_and_its_password_not_shown(
    tmp_path: Path, notices: Notices, make: Make
) -> None:
    async with mcp_http() as server:
        proxy = server.url.replace("://", "://me:very-secret@")
        context = context_for(tmp_path, env={"http_proxy": proxy, "no_proxy": "other.example"})
        path = make(server).endpoint.removeprefix(server.url)
        skill = make(server).model_copy(
            update={"endpoint": f"http://team.internal{path}", "allow_private": True}
        )
        async with SKILLS.open(expert_with(far=skill), context, notices) as skills:
            assert text(await skills.call("echo", {"text": "x"})) == "x"
    assert all(each.path.startswith("http://team.internal/") for each in server.asked)
    assert all("proxy-authorization" in each.headers for each in server.asked)
    assert "very-secret" not in repr(notices)


async def test_a_proxy_that_is_not_spoken_is_refused_unseen(tmp_path: Path) -> None:
    context = context_for(tmp_path, env={"ALL_PROXY": "socks5://me:very-secret@127.0.0.1:1"})
    skill = McpHttpSkill(endpoint="https://mcp.example/mcp")
    with pytest.raises(ConfigError, match="The proxy in ALL_PROXY is neither") as caught:
        async with SKILLS.open(expert_with(far=skill), context, Notices()):
            pytest.fail("opened")
    assert "very-secret" not in caught.value.message


async def test_remote_servers_and_processes_start_together(
    context: RunContext, notices: Notices
) -> None:
    async with mcp_http() as one, mcp_http() as two:
        one.fault = two.fault = "hang"
        one.strikes_at = two.strikes_at = "tools/list"
        expert = expert_with(one=over_http(one), two=over_sse(two))

        async def run() -> None:
            async with SKILLS.open(expert, context, notices):
                pytest.fail("opened")

        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await until(lambda: bool(one.count("tools/list") and two.count("tools/list")))
            group.cancel_scope.cancel()
