"""The commands of the registry as they ask: in lines, at a real terminal of 80 columns."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import pexpect
import pytest

from perstack.projection.agent_watch import columns
from perstack.projection.inert import has_hidden
from tests.fakes.cli import PROGRAM, Program
from tests.fakes.consensus import until
from tests.fakes.registry_server import RegistryServer, registry_running
from tests.fakes.registry_wire import (
    answer,
    expert,
    listed,
    one,
    page,
    refusal,
    registry_wire,
    silent,
)
from tests.fakes.typed import Typed

WIDTH: Final = 80
HOSTILE: Final = "a\x1b]0;owned\x07\u202eb\r\n  1  someone-else"
TEAM: Final = """
[experts."@acme/writer"]
description = "Writes what it is asked to write, and then writes it again, and once more"
version = "1.0.0"
instruction = "You write."
[experts."@acme/reader"]
instruction = "You read."
"""


# Sentences are the terminal's to wrap; what stands in columns is not.
SENTENCES: Final = ("Error: ", "Hint: ", "Note: ", "Warning: ", "The key is kept in ")


@dataclass
class Terminal:
    """A program at a terminal, and what its user types."""

    child: pexpect.spawn[str]
    secrets: tuple[str, ...] = ()
    shown: list[str] = field(default_factory=list[str])

    def asks(self, text: str) -> None:
        """Wait until it asks that."""
        self.child.expect_exact(text)
        self.shown.append(f"{self.child.before}{text}")

    def types(self, text: str) -> None:
        self.child.send(text)

    def answers(self, question: str, text: str) -> None:
        """Answer a question with a line."""
        self.asks(question)
        self.types(f"{text}\r")

    def ends(self, code: int = 0) -> str:
        """Wait for its end; return all that was shown, on lines that fit and act on nothing."""
        self.child.expect(pexpect.EOF)
        self.shown.append(str(self.child.before))
        self.child.close()
        said = "".join(self.shown).replace("\r\n", "\n")
        assert self.child.signalstatus is None
        assert self.child.exitstatus == code, said
        assert "Traceback" not in said
        for line in said.replace("\r", "").split("\n"):
            assert columns(line) <= WIDTH or line.startswith(SENTENCES), line
            assert not has_hidden(line), line
        for secret in self.secrets:
            assert secret not in said
        return said


@dataclass
class Desk:
    """A folder, the registry that is asked there, and a key for it."""

    folder: Path
    env: dict[str, str]
    key: str
    open: list[Terminal] = field(default_factory=list[Terminal])

    def terminal(self, *words: str, env: dict[str, str] | None = None) -> Terminal:
        child: pexpect.spawn[str] = pexpect.spawn(
            PROGRAM[0],
            [*PROGRAM[1:], *words],
            cwd=str(self.folder),
            env={**self.env, "TERM": "dumb", **(env or {})},
            dimensions=(24, WIDTH),
            timeout=40,
            encoding="utf-8",
        )
        self.open.append(Terminal(child, (self.key,)))
        return self.open[-1]

    def does(self, *words: str) -> str:
        """What a command without a terminal prints that ends well; it is typed in this process."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("PERSTACK_API_BASE_URL", "PERSTACK_API_KEY"):
                patch.setenv(name, self.env.get(name, ""))
            return Typed(self.folder).says(*words)

    def at(self, url: str) -> None:
        self.env |= {"PERSTACK_API_BASE_URL": url, "PERSTACK_API_KEY": self.key}


@pytest.fixture
def desk(tmp_path: Path) -> Generator[Desk]:
    program = Program.make(tmp_path / "work", TEAM)
    desk = Desk(program.workspace, dict(program.env), "psr_canary-0123456789")
    yield desk
    for terminal in desk.open:
        terminal.child.close(force=True)


@pytest.fixture
def server(tmp_path: Path, desk: Desk) -> Generator[RegistryServer]:
    with registry_running(tmp_path / "registry") as server:
        desk.key = server.key()
        desk.at(server.url)
        yield server


def test_an_expert_is_picked_shown_and_published(desk: Desk, server: RegistryServer) -> None:
    terminal = desk.terminal("publish")
    terminal.answers("Number or name (q: cancel): ", "7")
    terminal.answers("Number or name (q: cancel): ", "1")
    terminal.answers("Publish it? [y/N] ", "y")
    said = terminal.ends()
    assert "  1  @acme/writer  1.0.0    Writes what it is asked to write, and" in said
    assert "Type a number from 1 to 2, or a name of the list." in said
    assert f"To {server.url}, for everybody there:" in said
    assert said.endswith("Published @acme/writer@1.0.0\n")
    assert "@acme/writer" in desk.does("search")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("typed", ["\x1b", "q\r", "\x03", "\x04", "\x1b\r", "Q\r"])
def test_q_escape_ctrl_c_and_ctrl_d_cancel_and_end_with_0(desk: Desk, typed: str) -> None:
    desk.at("http://127.0.0.1:9")
    terminal = desk.terminal("publish")
    terminal.asks("Number or name (q: cancel): ")
    terminal.types(typed)
    said = terminal.ends()
    assert said.rstrip("\r\n").endswith("Cancelled")


def test_arrow_keys_count_for_nothing_and_do_not_cancel(desk: Desk, server: RegistryServer) -> None:
    terminal = desk.terminal("publish")
    terminal.asks("Number or name (q: cancel): ")
    for arrow in ("\x1b[A", "\x1bOB"):
        terminal.types(arrow)
        # What comes later than a key's own bytes is no part of the key.
        terminal.asks("^[")
    terminal.types("@acme/reader\r")
    terminal.answers("Publish it? [y/N] ", "")
    assert "Cancelled" in terminal.ends()
    assert "no Experts yet" in desk.does("search")


def test_ctrl_c_cancels_while_the_registry_is_only_asked(desk: Desk) -> None:
    with registry_wire(silent) as wire:
        desk.at(wire.url)
        terminal = desk.terminal("tag")
        terminal.answers("Number or name (q: cancel): ", "1")
        anyio.run(until, lambda: len(wire.asked) == 1)
        terminal.types("\x03")
        assert terminal.ends().endswith("Cancelled\n")


def test_ctrl_c_once_it_is_sent_cancels_nothing_and_says_so_by_its_code(desk: Desk) -> None:
    with registry_wire(silent) as wire:
        desk.at(wire.url)
        terminal = desk.terminal("publish", "@acme/reader")
        terminal.answers("Publish it? [y/N] ", "y")
        anyio.run(until, lambda: len(wire.asked) == 1)
        assert wire.asked[0].method == "POST"
        terminal.types("\x03")
        assert "Cancelled" not in terminal.ends(130)


def test_tags_are_asked_for_and_told_where_they_come_from(
    desk: Desk, server: RegistryServer
) -> None:
    desk.does("publish", "@acme/writer")
    desk.does("tag", "@acme/writer@1.0.0", "stable")
    config = desk.folder / "perstack.toml"
    config.write_text(TEAM.replace('"1.0.0"', '"1.1.0"'))
    desk.does("publish", "@acme/writer")
    terminal = desk.terminal("tag")
    terminal.answers("Number or name (q: cancel): ", "1")
    terminal.answers("Number or version (q: cancel): ", "1.1.0")
    terminal.answers("(q: cancel): ", "latest")
    terminal.answers("(q: cancel): ", "NoTag!")
    terminal.answers("(q: cancel): ", "")
    terminal.answers("(q: cancel): ", "stable, beta next")
    terminal.answers("[y/N] ", "maybe")
    terminal.answers("[y/N] ", "YES")
    said = terminal.ends()
    assert "  2  1.0.0    stable  available  20" in said
    assert "Its tags now, besides latest: none" in said
    assert "the tag latest cannot be set" in said
    assert "'NoTag!' is not a tag" in said
    assert "stable moves here from 1.0.0." in said
    *_, updated, tags = said.splitlines()
    assert updated == "Updated @acme/writer@1.1.0"
    assert set(tags.removeprefix("  Tags: ").split(", ")) == {"latest", "beta", "next", "stable"}


def test_a_status_is_chosen_among_those_that_are_left(desk: Desk, server: RegistryServer) -> None:
    desk.does("publish", "@acme/writer")
    terminal = desk.terminal("status", "--registry")
    terminal.answers("Number or name (q: cancel): ", "7")  # none of those listed: asked again
    terminal.answers("Number or name (q: cancel): ", "@acme/writer")
    terminal.answers("Number or version (q: cancel): ", "1")
    terminal.answers("Number or status (q: cancel): ", "available")
    terminal.answers("Number or status (q: cancel): ", "deprecated")
    terminal.answers("[y/N] ", "y")
    said = terminal.ends()
    assert "Type a number from 1 to 2, or a name." in said
    assert "Type a number from 1 to 2, or a status of the list." in said
    assert "there is no way back" in said
    assert said.endswith("Updated @acme/writer@1.0.0\n  Status: deprecated\n")
    terminal = desk.terminal("status", "@acme/writer@1.0.0")
    terminal.answers("Number or status (q: cancel): ", "1")
    terminal.answers("Make @acme/writer@1.0.0 disabled? [y/N] ", "y")
    assert terminal.ends().endswith("  Status: disabled\n")
    final = desk.terminal("status", "@acme/writer@1.0.0")
    assert "is disabled, which is final" in final.ends(1)


@pytest.mark.long
def test_a_version_is_picked_and_unpublished(desk: Desk, server: RegistryServer) -> None:
    desk.does("publish", "@acme/writer")
    kept = desk.terminal("unpublish")
    kept.answers("Number or name (q: cancel): ", "1")
    kept.answers("Number or version (q: cancel): ", "1")
    kept.answers("Remove @acme/writer@1.0.0 for good? [y/N] ", "n")
    assert kept.ends().endswith("Cancelled\n")
    gone = desk.terminal("unpublish")
    gone.answers("Number or name (q: cancel): ", "1")
    gone.answers("Number or version (q: cancel): ", "1")
    gone.answers("Remove @acme/writer@1.0.0 for good? [y/N] ", "y")
    assert gone.ends().endswith("Unpublished @acme/writer@1.0.0\n")
    none = desk.terminal("unpublish")
    none.answers("Number or name (q: cancel): ", "1")
    assert "not found" in none.ends(1)


@pytest.mark.long
def test_without_a_configuration_the_registrys_experts_are_offered(
    desk: Desk, server: RegistryServer
) -> None:
    desk.does("publish", "@acme/reader")
    (desk.folder / "perstack.toml").unlink()
    terminal = desk.terminal("tag")
    terminal.answers("Number or name (q: cancel): ", "1")
    terminal.answers("Number or version (q: cancel): ", "1")
    terminal.answers("(q: cancel): ", "lts")
    terminal.answers("[y/N] ", "y")
    assert "Updated @acme/reader@1.0.0" in terminal.ends()


def test_hostile_text_of_the_registry_is_inert_in_every_question(desk: Desk) -> None:
    (desk.folder / "perstack.toml").unlink()
    hostile = expert("tic-tac-toe", description=HOSTILE)
    answers = (page(hostile), listed("1.0.0"), one("tic-tac-toe", description=HOSTILE))
    with registry_wire(*map(answer, answers), refusal(400, HOSTILE)) as wire:
        desk.at(wire.url)
        terminal = desk.terminal("status", "--registry")
        terminal.answers("Number or name (q: cancel): ", "1")
        terminal.answers("Number or version (q: cancel): ", "1")
        terminal.answers("Number or status (q: cancel): ", "1")
        terminal.answers("[y/N] ", "y")
        said = terminal.ends(1)
    assert sum(line.startswith("  1  ") for line in said.splitlines()) == 3


def test_a_key_is_asked_for_unseen_checked_and_kept_for_the_user_alone(
    desk: Desk, server: RegistryServer
) -> None:
    del desk.env["PERSTACK_API_KEY"]
    home = Path(desk.env["HOME"])
    asks = f"Key for {server.url} (not shown; q: cancel): "
    refused = desk.terminal("login")
    refused.answers(asks, "psr_wrong-0123456789")
    said = refused.ends(1)
    assert "psr_wrong" not in said
    assert f"Error: {server.url} does not take this key: the API key is not known" in said
    assert "copy all of it and try again" in " ".join(said.split())
    assert "type: perstack login" not in said
    assert not (home / ".config" / "perstack").exists()
    for typed in ("\x03", "q\r", "\x1b"):
        cancelled = desk.terminal("login")
        cancelled.asks(asks)
        cancelled.types(typed)
        assert cancelled.ends().endswith("Cancelled\n")
    login = desk.terminal("login")
    login.answers(asks, desk.key)
    said = login.ends()
    file = home / ".config" / "perstack" / "credentials.json"
    assert f"Signed in to {server.url}" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["registries"] == {server.url: desk.key}
    assert desk.does("publish", "@acme/reader") == "Published @acme/reader@1.0.0\n"
    assert desk.does("logout") == f"Signed out of {server.url}\n"
    assert desk.does("logout") == f"No key is kept for {server.url}\n"
    assert server.url not in file.read_text()


def piped(desk: Desk, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words],
        input=text,
        cwd=desk.folder,
        env=desk.env,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_a_key_is_read_from_a_pipe_and_the_environments_still_wins(
    desk: Desk, server: RegistryServer
) -> None:
    other = server.key()
    ran = piped(desk, f"{other}\n", "login", "--key-stdin", "--url", f"{server.url}/")
    assert (ran.returncode, ran.stdout.splitlines()[0]) == (0, f"Signed in to {server.url}")
    assert "PERSTACK_API_KEY is set, and counts instead" in ran.stderr
    assert other not in ran.stdout + ran.stderr
    for text, words in (
        ("", ("login", "--key-stdin")),
        ("a b\n", ("login", "--key-stdin")),
        ("psr_\u202e\n", ("login", "--key-stdin")),
        ("", ("login",)),
        (f"{other}\n", ("login", "--key-stdin", "--url", "http://registry.example.com")),
        (f"{other}\n", ("login", "--key-stdin", "--url", "ftp://x")),
    ):
        ran = piped(desk, text, *words)
        assert (ran.returncode, ran.stdout) == (1, ""), words
        assert "Hint: " in ran.stderr
        assert other not in ran.stderr


def test_a_card_fits_the_terminal(desk: Desk, server: RegistryServer) -> None:
    long = "word " * 60 + "x" * 200
    (desk.folder / "perstack.toml").write_text(
        f'[experts."@acme/long"]\ninstruction = "{long}"\ndescription = "{long}"\n'
    )
    desk.does("publish")
    card = desk.terminal("info", "@acme/long").ends()
    assert card.count("word") == 120
    assert sum(line.startswith("Description") for line in card.splitlines()) == 1
    assert os.linesep.join(desk.does("info", "@acme/long").splitlines()).count(long) == 2
