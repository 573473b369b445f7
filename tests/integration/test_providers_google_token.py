"""Access tokens for Google Cloud, from Google's own library against a server on loopback."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from perstack.domain.settings import ProviderSettings
from perstack.errors import ConfigError, ProviderError
from perstack.providers.google_token import GoogleToken
from tests.fakes.conversation import ask, request
from tests.fakes.model_server import model_server
from tests.fakes.model_wire import Reply
from tests.fakes.vendors import ENV, opened

pytestmark = pytest.mark.anyio

FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
NO_TOKEN: Final[dict[str, str]] = {key: value for key, value in ENV.items() if "TOKEN" not in key}


class TokenServer(http.server.ThreadingHTTPServer):
    """Hands out numbered tokens, or refuses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.given = 0
        self.refuses = False
        self.lasts_s = 3600

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/token"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, TokenServer)
        self.rfile.read(int(self.headers["content-length"]))
        server.given += 1
        said: dict[str, Any] = {"access_token": f"t-{server.given}", "expires_in": server.lasts_s}
        if server.refuses:
            said = {"error": "invalid_grant", "error_description": "secret-canary"}
        body = json.dumps(said).encode()
        self.send_response(400 if server.refuses else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with TokenServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def credentials(
    tokens: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The environment of an account whose key is in a file that the user names."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": "blue-sky-1",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "tester@blue-sky-1.example",
        "token_uri": tokens.url,
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account))
    monkeypatch.setenv(FILE, str(path))
    return NO_TOKEN


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "claude-sonnet-4-5@20250929"])
async def test_a_token_is_got_once_and_sent_with_every_request(
    model: str, tokens: TokenServer, credentials: dict[str, str]
) -> None:
    async with model_server(Reply(["a"]), Reply(["b"])) as server:
        given = ProviderSettings(name="google-vertex", base_url=f"{server.url}/v1")
        async with opened(given, model, env=credentials) as vertex:
            await ask(vertex, request())
            await ask(vertex, request())
        sent = [seen.headers["authorization"] for seen in server.requests]
    assert sent == ["Bearer t-1"] * 2
    assert tokens.given == 1


async def test_a_token_that_has_run_out_is_renewed(
    tokens: TokenServer, credentials: dict[str, str]
) -> None:
    tokens.lasts_s = 1  # Google's library counts a token that is about to run out as run out.
    source = GoogleToken(credentials)
    assert [await source.get(), await source.get()] == ["t-1", "t-2"]


async def test_a_refusal_is_final_and_holds_none_of_googles_words(
    tokens: TokenServer, credentials: dict[str, str]
) -> None:
    tokens.refuses = True
    with pytest.raises(ProviderError, match="no access token") as caught:
        await GoogleToken(credentials).get()
    assert not caught.value.retryable
    assert "canary" not in f"{caught.value.message} {caught.value.hint}"


async def test_a_server_that_is_away_may_come_back(
    tokens: TokenServer, credentials: dict[str, str]
) -> None:
    tokens.server_close()
    with pytest.raises(ProviderError, match="cannot be reached") as caught:
        await GoogleToken(credentials).get()
    assert caught.value.retryable


@pytest.mark.parametrize("content", ["{", "{}", None])
async def test_a_file_that_is_no_key_is_refused(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(FILE, str(path))
    with pytest.raises(ProviderError, match="no access token"):
        await GoogleToken(NO_TOKEN).get()


async def test_without_the_library_the_token_has_to_be_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(ConfigError, match=r"^GOOGLE_VERTEX_ACCESS_TOKEN is not set$") as caught:
        GoogleToken(NO_TOKEN)
    assert "perstack[vertex]" in (caught.value.hint or "")
    assert await GoogleToken(ENV).get()


async def test_without_amazons_library_bedrock_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        async with opened("amazon-bedrock", "anthropic.claude-sonnet-5-5"):
            pass
    assert "perstack[bedrock]" in (caught.value.hint or "")
