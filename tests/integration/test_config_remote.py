"""A configuration at a URL, fetched over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from perstack.config.find import ConfigUrl, find, locate
from perstack.config.load import load_source, parse_config
from perstack.config.remote import ConfigFetcher, shown_url
from perstack.config.typed import Overrides
from perstack.config.watch import watch_config
from perstack.errors import ConfigError
from perstack.ports.frontend import CockpitRequest, Setup
from perstack_tui.local.gateway import open_local_gateway
from perstack_tui.ports.gateway import DefinitionsUpdate
from tests.fakes.cli import Program

GOOD = b'[experts.writer]\ninstruction = "Write."\n'
LARGE = 4 * 1024 * 1024


class Host(BaseHTTPRequestHandler):
    """A host of raw files, some of which misbehave."""

    asked: list[str]
    stopping: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        match self.path.partition("?")[0]:
            case "/o/r/main/perstack.toml":
                self._answer(200, GOOD)
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "/o/r/main/perstack.toml")
                self.end_headers()
            case "/large":
                self._answer(200, b"#" * (LARGE + 1))
            case "/endless":
                self._endless()
            case "/slow":
                self._slow()
            case "/head":
                self._slow_head()
            case "/cut":
                self._answer(200, GOOD, length=len(GOOD) + 10)
            case "/zipped":
                self._answer(200, b"\x1f\x8b\x08\x00" + b"\0" * 20, encoding="gzip")
            case "/broken":
                self._answer(503, b"")
            case _:
                self._answer(404, b"")

    def _answer(
        self, status: int, body: bytes, *, length: int | None = None, encoding: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(body)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"#" * 65_536)
        except OSError:
            return

    def _slow(self) -> None:
        self.send_response(200)
        self.end_headers()
        # Never silent for long, and never done: only a limit on the whole ends it.
        try:
            while not self.stopping.wait(0.05):
                self.wfile.write(b"#")
        except OSError:
            return

    def _slow_head(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.stopping.wait(0.05):
                self.wfile.write(b"#")
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own name
        """Say nothing on stderr."""


class Files(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.stopping = threading.Event()
        handler = type("BoundHost", (Host,), {"asked": self.asked, "stopping": self.stopping})
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def url(self, path: str) -> ConfigUrl:
        return ConfigUrl(self.origin + path)


@pytest.fixture
def files() -> Iterator[Files]:
    with Files() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stopping.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def fetcher(files: Files, monkeypatch: pytest.MonkeyPatch) -> ConfigFetcher:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return ConfigFetcher(_origin=files.origin, _timeout_s=20)


def refused(fetcher: ConfigFetcher, url: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        fetcher.fetch(ConfigUrl(url))
    assert caught.value.hint
    return caught.value


def test_a_file_at_the_allowed_host_is_read(files: Files, fetcher: ConfigFetcher) -> None:
    assert fetcher.fetch(files.url("/o/r/main/perstack.toml")) == GOOD


def test_a_redirect_is_refused_and_not_followed(files: Files, fetcher: ConfigFetcher) -> None:
    error = refused(fetcher, files.url("/moved"))
    assert error.message == f"{files.origin}/moved leads on to another address, which is refused"
    assert files.asked == ["/moved"]


def test_a_file_that_is_not_there_is_named(files: Files, fetcher: ConfigFetcher) -> None:
    error = refused(fetcher, files.url("/o/r/main/none.toml?token=canary"))
    assert error.message == f'Given config path "{files.origin}/o/r/main/none.toml" is not found'
    assert "canary" not in f"{error.message}{error.hint}"


def test_another_answer_is_told_by_its_number(files: Files, fetcher: ConfigFetcher) -> None:
    assert refused(fetcher, files.url("/broken")).message.endswith("its host answered 503")


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_a_file_that_is_too_large_is_not_read_to_its_end(
    files: Files, fetcher: ConfigFetcher, path: str
) -> None:
    assert refused(fetcher, files.url(path)).message.endswith("is larger than 4,194,304 bytes")


@pytest.mark.parametrize("path", ["/slow", "/head"])
@pytest.mark.usefixtures("fetcher")
def test_a_file_that_never_ends_arriving_is_given_up(files: Files, path: str) -> None:
    hasty = ConfigFetcher(_origin=files.origin, _timeout_s=0.4)
    assert refused(hasty, files.url(path)).message.endswith("not there within 0.4 seconds")


def test_a_file_that_is_cut_off_is_refused(files: Files, fetcher: ConfigFetcher) -> None:
    assert "/cut cannot be fetched: " in refused(fetcher, files.url("/cut")).message


def test_a_packed_answer_is_not_unpacked(files: Files, fetcher: ConfigFetcher) -> None:
    assert fetcher.fetch(files.url("/zipped")).startswith(b"\x1f\x8b")


def test_a_host_that_is_not_there_is_told(fetcher: ConfigFetcher, files: Files) -> None:
    other = ConfigFetcher(_origin="http://127.0.0.1:9", _timeout_s=0.4)
    assert "cannot be fetched: " in refused(other, "http://127.0.0.1:9/x").message


@pytest.mark.parametrize(
    "url",
    [
        "http://raw.githubusercontent.com/o/r/main/perstack.toml",
        "https://raw.githubusercontent.com:8443/o/r/main/perstack.toml",
        "https://me:pw@raw.githubusercontent.com/o/r/main/perstack.toml",
        "https://raw.githubusercontent.com.evil.example/o/r/main/perstack.toml",
        "https://raw.githubusercontent.com@evil.example/perstack.toml",
        "https://github.com/o/r/raw/main/perstack.toml",
        "https://evil.example/?x=https://raw.githubusercontent.com/",
        "https://[::1/x",
        "file:///etc/passwd",
        "ftp://raw.githubusercontent.com/x",
        "https://raw.githubusercontent.com/\x1b[31m",
    ],
)
def test_nothing_but_the_allowed_host_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not allowed: a remote configuration comes from") as c:
        load_source(ConfigUrl(url), workspace=tmp_path)
    assert c.value.message.isprintable()
    assert "pw" not in c.value.message


def test_a_url_is_told_from_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "team.toml").write_bytes(GOOD)
    url = "https://raw.githubusercontent.com/o/r/main/perstack.toml"
    assert locate(tmp_path, url) == find(tmp_path, url) == url
    assert locate(tmp_path, "team.toml") == tmp_path / "team.toml"
    assert locate(tmp_path, Path("team.toml")) == tmp_path / "team.toml"
    assert find(tmp_path, None) is None
    with pytest.raises(ConfigError, match=r'Given config path "https:/x" is not found'):
        locate(tmp_path, Path("https://x"))


def test_a_remote_configuration_lives_in_the_workspace_and_shows_no_token(tmp_path: Path) -> None:
    url = ConfigUrl("https://raw.githubusercontent.com/o/r/main/perstack.toml?token=canary")
    config = parse_config(tmp_path / "x.toml", GOOD, url=url)
    assert (config.url, config.argument) == (url, url)
    assert config.shown_source == shown_url(url)
    assert config.shown_source == "https://raw.githubusercontent.com/o/r/main/perstack.toml"
    assert "canary" not in repr(config)
    with pytest.raises(ConfigError) as caught:
        parse_config(tmp_path / "x.toml", b"maxSteps = 0", url=url)
    assert caught.value.message.startswith(f"{config.shown_source}: Validation failed:")
    assert caught.value.hint == "correct line 1 of perstack.toml and save it"


@pytest.mark.anyio
async def test_what_is_at_a_url_is_told_once(tmp_path: Path) -> None:
    changes = [one async for one in watch_config(ConfigUrl("https://x.example/p.toml"))]
    assert [change.config for change in changes] == [None]
    assert changes[0].error is not None
    assert "is not allowed" in changes[0].error.message


@pytest.mark.anyio
async def test_the_cockpit_says_what_is_wrong_with_a_url(tmp_path: Path) -> None:
    setup = Setup(ConfigUrl("https://evil.example/perstack.toml"), Overrides(), named=True)
    gateway = await open_local_gateway(CockpitRequest(workspace=tmp_path, runtime=setup))
    told: list[DefinitionsUpdate] = []
    heard = anyio.Event()

    async def listen() -> None:
        async with aclosing(gateway.updates()) as updates:
            async for update in updates:
                if isinstance(update, DefinitionsUpdate):
                    told.append(update)
                    heard.set()

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        with anyio.fail_after(20):
            await heard.wait()
        await gateway.aclose()
        group.cancel_scope.cancel()
    (update,) = told
    assert update.path is not None
    assert update.path.name == "perstack.toml"
    assert "https://evil.example/perstack.toml is not allowed" in (update.error or "")


@pytest.mark.anyio
@pytest.mark.parametrize("command", [("run", "writer", "go"), ("config", "check")])
async def test_the_program_refuses_a_url_elsewhere(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    program = Program.make(tmp_path, GOOD.decode())
    ran = await program.run(*command, "--config", "https://evil.example/perstack.toml")
    assert ran.code == 1
    assert "https://evil.example/perstack.toml is not allowed" in ran.stderr
