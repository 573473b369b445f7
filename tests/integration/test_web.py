"""`perstack start --web`: the cockpit in a browser, for who holds the address, and nobody else."""

from __future__ import annotations

import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import anyio
import pytest

from perstack.cli.start import without_serving
from perstack_tui.web.door import Door
from tests.fakes.browser import CHROMIUM, browser
from tests.fakes.cli import SCRIPTED, Program, Running

pytestmark = pytest.mark.anyio

TEAM: Final = """
[consensus]
enabled = true
reviewerStrategy = "human"

[experts."lead"]
instruction = "Release."
delegates = ["deployer"]

[experts."deployer"]
instruction = "Deploy."
"""
STORY: Final = """
[[turns]]
expert = "lead"
turn = 1
calls = [{ tool = "deployer", args = { query = "modify the index" } }]

[[turns]]
expert = "lead"
text = "Shipped."

[[turns]]
expert = "deployer"
text = "Deployed."
"""
WORDS: Final = ("start", "lead", "ship it", "--web", "--no-open", "--port", "0")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program.make(tmp_path / "work", SCRIPTED + TEAM, scenario=STORY, env={"LANG": "C.UTF-8"})


@asynccontextmanager
async def served(program: Program, *words: str) -> AsyncGenerator[tuple[Running, str]]:
    """The server, and the address that it prints."""
    async with program.running(*words) as running:
        await running.wait_for(lambda: b"counts once" in running.out)
        found = re.search(rb"http://127\.0\.0\.1:\d+/\?token=\S+", running.out)
        assert found is not None
        yield running, found.group().decode()


async def test_the_address_counts_once_and_nothing_is_shown_without_its_cookie(
    program: Program,
) -> None:
    async with (
        served(program, *WORDS) as (running, address),
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client,
    ):
        base = address.partition("?")[0]
        for path in ("", "ws", "page.css", "static/js/textual.js"):
            async with client.get(base + path) as refused:
                assert refused.status == 403, path
        async with client.get(address + "x") as wrong:
            assert wrong.status == 403
        async with client.get(address) as page:
            assert page.status == 200
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            assert "token" not in str(page.url)
            assert "http" not in (await page.text()).replace(base[:-1], "").replace("ws://", "")
        (cookie,) = client.cookie_jar
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
        async with client.get(base, headers={"Host": "cockpit.example:80"}) as renamed:
            assert renamed.status == 421
        for origin in ({"Origin": "http://cockpit.example"}, {}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as other:
                await client.ws_connect(base + "ws", headers=origin)
            assert other.value.status == 403
        async with aiohttp.ClientSession() as stranger, stranger.get(address) as again:
            assert again.status == 403
        running.send(signal.SIGINT)
        assert (await running.ended()).code == 0


async def test_what_is_no_message_of_the_terminal_does_no_harm(program: Program) -> None:
    async with (
        served(program, *WORDS) as (_, address),
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client,
    ):
        base = address.partition("?")[0]
        async with client.get(address):
            pass
        headers = {"Origin": base[:-1]}
        async with client.ws_connect(base + "ws?width=x&height=999999", headers=headers) as socket:
            for odd in (
                "{",
                "[]",
                "7",
                '["resize",{"width":-1,"height":0}]',
                '["stdin"]',
                '["what"]',
            ):
                await socket.send_str(odd)
            await socket.send_bytes(b"\xff\xfe")
            await socket.send_json(["stdin", "\ud800"])
            await socket.send_json(["ping", "here"])
            heard: object = None
            while heard != '["pong", "here"]':
                heard = (await socket.receive(timeout=30)).data


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
async def test_a_gate_is_approved_in_a_browser_and_the_run_goes_on(
    program: Program, tmp_path: Path
) -> None:
    async with served(program, *WORDS) as (running, address), browser(tmp_path) as tab:
        await tab.open(address)
        # The run is at its gate before the inbox has it: until then enter would open nothing.
        await tab.until(lambda text: "▲ med" in text and "left" in text)
        assert "token" not in str(await tab.value("location.href"))
        await tab.press("4")
        await tab.press("enter")
        await tab.until(lambda text: "Review" in text and "approve" in text)
        # Keys count once the keyboard was quiet: pressing too early only makes it wait longer.
        with anyio.fail_after(30):
            while "a approves" in "\n".join(await tab.screen()):
                await tab.press("a")
                await anyio.sleep(0.6)
        await tab.until(lambda text: "Review" not in text or "approved by" in text)
        await tab.press("escape")
        await tab.until(lambda text: "Shipped." in text)
        running.send(signal.SIGINT)
        assert (await running.ended()).code == 0
    listed = await program.run("jobs", "--json")
    assert '"state":"completed"' in listed.stdout


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
async def test_a_page_that_is_opened_again_watches_and_starts_nothing(
    program: Program, tmp_path: Path
) -> None:
    async with served(program, *WORDS) as (_, address), browser(tmp_path) as tab:
        await tab.open(address)
        await tab.until(lambda text: "▲" in text and "deployer" in text)
        await tab.open(address.partition("?")[0])
        await tab.until(lambda text: "lead" in text)
        listed = await program.run("jobs", "--json")
        assert listed.stdout.count('"coordinatorExpertKey"') == 1


def test_only_this_machines_names_lead_in() -> None:
    door = Door(8001)
    assert door.is_here("127.0.0.1:8001")
    assert door.is_here("localhost:8001")
    assert not door.is_here("127.0.0.1:8002")
    assert not door.is_here("evil.example:8001")
    assert not door.is_here(None)
    assert door.is_own_page("http://127.0.0.1:8001")
    assert not door.is_own_page("https://127.0.0.1:8001")
    assert not door.is_own_page("null")
    assert not door.is_own_page(None)


def test_no_cookie_is_known_before_the_token_was_used() -> None:
    door = Door(8001)
    assert not door.knows("")
    token = door.invitation.partition("token=")[2]
    cookie = door.admit(token)
    assert cookie is not None
    assert door.admit(token) is None
    assert door.knows(cookie)
    assert not door.knows(cookie + "x")
    assert not door.knows("ü")
    assert token not in door.invitation
    assert door.cookie_name != Door(8002).cookie_name


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (("start", "--web", "lead", "go"), ("start", "lead", "go")),
        (("start", "--port", "8000", "lead", "--no-open"), ("start", "lead")),
        (("start", "--port=8000", "--", "lead", "--web"), ("start", "--", "lead", "--web")),
    ],
)
def test_a_session_is_the_command_without_what_serves_it(
    typed: tuple[str, ...], kept: tuple[str, ...]
) -> None:
    assert without_serving(typed) == kept
