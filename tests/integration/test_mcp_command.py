"""`perstack mcp` as it is typed, and who its clients are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.server.session import ServerSession
from mcp.types import ClientCapabilities, Implementation, InitializeRequestParams
from starlette.requests import Request

from perstack.cli.app import app
from perstack.cli.mcp import TOKEN_VARIABLE
from perstack.errors import UsageError
from perstack.serving.mcp import clients
from perstack.serving.mcp.clients import SESSION_HEADER, Clients, Context
from perstack.serving.mcp.server import offered
from tests.fakes.mcp_door import door


def mcp(*words: str) -> None:
    app(["mcp", *words], standalone_mode=False)


def test_the_tools_are_listed_in_groups_with_their_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mcp("tools")
    shown = capsys.readouterr().out
    assert "Total: 46 tools" in shown
    assert "Agent (6):" in shown
    assert "With those of Experts: 50 tools" in shown
    assert shown.index("Github (7):") < shown.index("Total:") < shown.index("Expert (2):")
    mcp("tools", "--json", "--review-loops")
    told = json.loads(capsys.readouterr().out)
    assert (told["total"], told["count"], len(told["tools"])) == (46, 56, 56)


def test_a_transport_that_is_none_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sse") as raised:
        mcp("start", "--transport", "sse", "--workspace", str(tmp_path))
    assert raised.value.hint == "stdio or http"
    assert raised.value.exit_code == 1


@pytest.mark.parametrize("option", [("--host", "::1"), ("--port", "0"), ("--no-token",)])
def test_what_is_of_http_alone_is_refused_over_standard_input(
    tmp_path: Path, option: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as raised:
        mcp("start", *option, "--workspace", str(tmp_path))
    assert raised.value.hint == "add --transport http"


@pytest.mark.parametrize("token", ["short", "caf\u00e9-caf\u00e9-caf\u00e9-caf\u00e9"])
def test_a_token_that_could_be_guessed_or_not_be_sent_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(UsageError, match=TOKEN_VARIABLE) as raised:
        mcp("start", "--transport", "http", "--workspace", str(tmp_path))
    assert token not in f"{raised.value.message}{raised.value.hint}"


@pytest.mark.anyio
async def test_the_settings_offer_the_tools_of_review_loops(tmp_path: Path) -> None:
    async with door(tmp_path, "[mcp]\nreviewLoopTools = true\n") as it:
        assert "review_loop_start" in offered(it.backend)


class _Session:
    """What the SDK knows of a client."""

    def __init__(self, name: str) -> None:
        self.client_params = InitializeRequestParams(
            protocol_version="2025-06-18",
            capabilities=ClientCapabilities(),
            client_info=Implementation(name=name, version="1"),
        )


def asked_by(name: str, session: str | None = None) -> Context:
    headers = [(SESSION_HEADER.encode(), session.encode())] if session else []
    request = Request({"type": "http", "headers": headers}) if session is not None else None
    told = cast("ServerSession", _Session(name))
    lifespan: dict[str, Any] = {}
    return Context(
        session=told,
        lifespan_context=lifespan,
        protocol_version="2025-06-18",
        method="tools/call",
        request=request,
    )


def test_each_session_is_a_client_and_requests_without_one_share_one() -> None:
    known = Clients("ana@desk")
    first, second = known(asked_by("code", "a")), known(asked_by("code", "b"))
    assert first is not second
    assert known(asked_by("code", "a")) is first
    assert known(asked_by("code")) is known(asked_by("another"))


def test_a_clients_name_cannot_act_on_a_screen_or_fill_it() -> None:
    known = Clients("ana@desk")
    assert known(asked_by("code")).name == "ana@desk over MCP (code)"
    hostile = known(asked_by("\x1b]0;x\x07" + "y" * 500)).name
    assert hostile.isprintable()
    assert len(hostile) < 100


def test_clients_are_forgotten_once_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "MOST", 2)
    known = Clients("ana@desk")
    first = known(asked_by("code", "a"))
    known(asked_by("code", "b"))
    known(asked_by("code", "c"))
    assert known(asked_by("code", "a")) is not first
