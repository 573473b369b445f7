"""publish, unpublish, tag, status, search, info, versions: the program against a real registry."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from perstack.config.load import load_config
from perstack.config.trust import acceptances
from perstack.errors import PerstackError
from perstack.projection.inert import has_hidden
from tests.fakes.cli import Ran
from tests.fakes.registry_server import RegistryServer, registry_running
from tests.fakes.registry_wire import answer, expert, listed, one, page, refusal, registry_wire
from tests.fakes.typed import Typed

TEAM: Final = """
[experts."@acme/lead"]
description = "Leads a team that writes"
instruction = "You lead."
delegates = ["@acme/writer", "coder"]
[experts."@acme/lead".skills.web]
type = "mcpStdioSkill"
command = "npx"
packageName = "exa-mcp-server"
requiredEnv = ["EXA_API_KEY"]
[experts."@acme/writer"]
version = "1.1.0"
instruction = "You write."
"""
ONE: Final = """
[experts."@acme/writer"]
version = "{version}"
instruction = "You write {version}."
"""
OWN: Final = '[experts.own]\ninstruction = "x"\n'
ELSEWHERE: Final = "https://registry.invalid"
HOSTILE: Final = "a\x1b]0;owned\x07\u202eb\r\nStatus        available\u200b"


@dataclass
class Stage:
    """A folder where commands are typed, and the registry that they ask."""

    folder: Path
    patch: pytest.MonkeyPatch
    key: str = "psr_canary-0123456789"

    def at(self, url: str, key: str | None = None) -> None:
        """Ask the registry at `url`, with another key if one is given."""
        self.key = self.key if key is None else key
        self.patch.setenv("PERSTACK_API_BASE_URL", url)
        self.patch.setenv("PERSTACK_API_KEY", self.key)

    def run(self, *words: str) -> Ran:
        """Type a command; what the program would print of its error stands in `stderr`."""
        result = Typed(self.folder).ends(*words)
        error = result.exception if isinstance(result.exception, PerstackError) else None
        said = "" if error is None else f"Error: {error.message}\nHint: {error.hint}\n"
        code = result.exit_code if error is None else error.exit_code
        ran = Ran(code, result.stdout, result.stderr + said)
        # Whatever happens, nobody reads the key.
        assert not self.key or self.key not in ran.stdout + ran.stderr
        return ran

    def does(self, *words: str) -> str:
        """What a command prints that ends well."""
        ran = self.run(*words)
        assert ran.code == 0, ran.stderr
        return ran.stdout

    def fails(self, *words: str, key: str | None = None) -> str:
        """What a command says that is refused, with a hint; with another key if one is given."""
        with self.patch.context() as patch:
            if key is not None:
                patch.setenv("PERSTACK_API_KEY", key)
            ran = self.run(*words)
        assert (ran.code, ran.stdout) == (1, ""), (words, ran)
        assert "Hint: None" not in ran.stderr
        return ran.stderr

    def write(self, toml: str) -> None:
        (self.folder / "perstack.toml").write_text(toml)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    folder = tmp_path / "work"
    folder.mkdir()
    return Stage(folder, monkeypatch)


@pytest.fixture
def server(tmp_path: Path, stage: Stage) -> Generator[RegistryServer]:
    """Run a registry, of which the stage has a key, over a folder of its own."""
    with registry_running(tmp_path / "registry", orgs=("acme", "beta")) as server:
        stage.at(server.url, server.key())
        yield server


def test_what_is_published_is_found_read_and_listed(stage: Stage, server: RegistryServer) -> None:
    stage.write(TEAM)
    sent = stage.run("publish", "@acme/writer")
    assert (sent.code, sent.stdout) == (0, "Published @acme/writer@1.1.0\n")
    assert f"To {server.url}, for everybody there:" in sent.stderr
    sent = stage.run("publish", "@acme/lead", "--yes")
    assert sent.stdout == "Published @acme/lead@1.0.0\n"
    assert "@acme/writer (@acme/writer@1.1.0 of acme), coder" in sent.stderr
    assert "starts        npx exa-mcp-server" in sent.stderr
    assert "is given      EXA_API_KEY" in sent.stderr
    assert (stage.does("search", "leads")).splitlines() == [
        "NAME        VERSION  STATUS     DESCRIPTION",
        "@acme/lead  1.0.0    available  Leads a team that writes",
    ]
    card = (stage.does("info", "@acme/lead")).splitlines()
    assert card[:2] == ["Key           @acme/lead@1.0.0", "Owner         acme"]
    assert card[-2:] == ["Instruction", "  You lead."]
    first, second = (stage.does("versions", "@acme/writer")).splitlines()
    assert first == "VERSION  TAGS    STATUS     PUBLISHED (UTC)"
    assert second.startswith("1.1.0    latest  available  20")


def test_tags_and_status_of_a_version_change_as_asked(stage: Stage, server: RegistryServer) -> None:
    stage.write(ONE.format(version="1.0.0"))
    stage.does("publish")
    stage.write(ONE.format(version="2.0.0"))
    stage.does("publish")
    first, second = "@acme/writer@1.0.0", "@acme/writer@2.0.0"
    updated = stage.does("tag", first, "stable", "lts")
    assert updated == f"Updated {first}\n  Tags: lts, stable\n"
    moved = stage.does("tag", second, "stable")
    assert moved == f"Updated {second}\n  Tags: latest, stable\n"
    told = json.loads(stage.does("versions", "@acme/writer", "--json"))
    assert [(one["version"], one["tags"]) for one in told["versions"]] == [
        ("2.0.0", ["latest", "stable"]),
        ("1.0.0", ["lts"]),
    ]
    assert (told["latest"], told["total"]) == ("2.0.0", 2)
    assert stage.does("tag", first, "--none") == f"Updated {first}\n  Tags: none\n"
    changed = stage.does("status", first, "deprecated")
    assert changed == f"Updated {first}\n  Status: deprecated\n"
    shown = json.loads(stage.does("status", first, "disabled", "--json"))
    assert (shown["key"], shown["status"]) == (first, "disabled")
    assert stage.does("unpublish", first, "--force") == f"Unpublished {first}\n"
    assert "1.0.0" not in stage.does("versions", "@acme/writer")


def test_json_is_what_the_registry_said_and_acts_on_no_terminal(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write('[experts."@acme/a"]\ninstruction = "über\\u202E"\n')
    stage.does("publish")
    found = stage.does("search", "--json", "--take", "5", "--sort", "updatedAt")
    assert found.isascii()
    page = json.loads(found)
    assert (page["total"], page["take"], page["skip"]) == (1, 5, 0)
    assert page["experts"][0]["instruction"] == "über\u202e"
    info = json.loads(stage.does("info", "@acme/a", "--json"))
    assert info["owner"]["name"] == "acme"
    assert [each["version"] for each in info["versions"]] == ["1.0.0"]


def test_each_refusal_reaches_the_user_with_what_to_do(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(TEAM)
    stage.does("publish", "@acme/writer")
    stage.does("publish", "@acme/lead")
    other, plain = server.key("beta"), server.key(None)
    weak = server.key("acme", scopes=("read", "publish"))
    old = server.key("acme")
    server.revoke(old)
    writer, lead = "@acme/writer@1.1.0", "@acme/lead@1.0.0"
    said = stage.fails("publish", "@acme/writer")
    assert "already published" in said
    assert "raise version" in said
    assert "still delegated" in stage.fails("unpublish", writer, "--force")
    assert "already available" in stage.fails("status", writer, "available")
    stage.does("status", lead, "deprecated")
    assert "cannot go back" in stage.fails("status", lead, "available")
    stage.does("status", lead, "disabled")
    assert "immutable" in stage.fails("status", lead, "deprecated")
    assert "immutable" in stage.fails("tag", lead, "stable")
    assert "latest cannot be set" in stage.fails("tag", writer, "latest")
    assert "not owned" in stage.fails("tag", writer, "x", key=other)
    assert "scoped" in stage.fails("publish", "@acme/writer", key=plain)
    assert "scope manage" in stage.fails("tag", writer, "x", key=weak)
    assert "revoked" in stage.fails("tag", writer, "x", key=old)
    said = stage.fails("tag", writer, "x", key="psr_nobodys")
    assert "not known" in said
    assert "perstack login" in said
    where = server.url.removeprefix("http://")
    said = stage.fails("info", "@acme/nobody")
    assert f"Error: @acme/nobody is not found in the registry at {where}\n" in said
    assert "not found" in stage.fails("versions", "@acme/nobody")
    assert "not found" in stage.fails("tag", "@acme/writer@9.9.9", "x")
    stage.write('[experts.plain]\ninstruction = "x"\n')
    assert "must be scoped: @acme/plain" in stage.fails("publish")
    stage.at(server.url, plain)
    assert stage.does("publish") == "Published plain@1.0.0\n"
    said = stage.fails("publish", key=server.key(None))
    assert "already taken" in said
    assert "choose another name" in said


def test_delegates_that_are_not_published_are_named_before_anything_is_sent(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(TEAM)
    said = stage.fails("publish", "@acme/lead")
    assert "delegates to @acme/writer" in said
    assert "publish first: perstack publish @acme/writer" in said
    assert stage.does("search") == (
        "The registry has no Experts yet. To publish one: perstack publish\n"
    )


def test_a_built_in_expert_is_said_to_be_everywhere_instead_of_not_found(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(TEAM)
    said = stage.fails("publish", "coder")
    assert "coder is built in: everybody has it" in said
    assert "yours are: @acme/lead, @acme/writer" in said
    assert "did you mean coder" not in said


def test_a_secret_of_the_env_file_in_an_instruction_is_not_sent(
    stage: Stage, server: RegistryServer
) -> None:
    toml = '[experts."@acme/a"]\ninstruction = "the password is canary-0123456789"\n'
    stage.write(toml)
    (stage.folder / ".env").write_text("DOOR_PASSWORD=canary-0123456789\n")
    for words in (("publish",), ("publish", "--dry-run")):
        said = stage.fails(*words)
        assert "holds the value of DOOR_PASSWORD" in said
        assert "canary-0123456789" not in said
    assert "no Experts yet" in stage.does("search")


def test_the_key_and_the_address_may_stand_in_an_env_file(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(ONE.format(version="1.0.0"))
    lines = f"PERSTACK_API_KEY={stage.key}\nPERSTACK_API_BASE_URL={server.url}\n"
    (stage.folder / ".env").write_text(lines)
    stage.patch.delenv("PERSTACK_API_KEY")
    stage.patch.delenv("PERSTACK_API_BASE_URL")
    assert stage.does("publish") == "Published @acme/writer@1.0.0\n"


def test_an_address_in_an_env_file_is_not_given_the_shells_key_unasked(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(ONE.format(version="1.0.0"))
    (stage.folder / ".env").write_text(f"PERSTACK_API_BASE_URL={server.url}\n")
    # Nor is another registry asked instead: it would be told what is meant for a team.
    stage.patch.delenv("PERSTACK_API_BASE_URL")
    said = stage.fails("publish")
    assert f"set PERSTACK_API_BASE_URL={server.url} from .env" in said
    assert stage.does("publish", "--trust") == "Published @acme/writer@1.0.0\n"
    assert "@acme/writer" in stage.does("search")


def test_without_a_configuration_all_but_publishing_works(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(ONE.format(version="1.0.0"))
    stage.does("publish")
    (stage.folder / "perstack.toml").unlink()
    key = "@acme/writer@1.0.0"
    assert key in stage.does("info", "@acme/writer")
    assert "Updated" in stage.does("tag", key, "stable")
    assert "Updated" in stage.does("status", key, "deprecated")
    assert "Unpublished" in stage.does("unpublish", key, "--force")
    assert "perstack.toml not found" in stage.fails("publish")
    assert list(stage.folder.iterdir()) == []


def test_without_a_key_reading_works_and_changing_says_what_to_do(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(ONE.format(version="1.0.0"))
    stage.does("publish")
    stage.at(server.url, "")
    assert "@acme/writer" in stage.does("search")
    for words in (
        ("publish",),
        ("tag", "@acme/writer@1.0.0", "x"),
        ("status", "@acme/writer@1.0.0", "deprecated"),
        ("unpublish", "@acme/writer@1.0.0", "--force"),
    ):
        said = stage.fails(*words)
        assert "wants to know who you are" in said
        assert "perstack login" in said


def test_a_registry_that_does_not_answer_is_said_to_be_unreachable(
    stage: Stage, server: RegistryServer
) -> None:
    stage.write(ONE.format(version="1.0.0"))
    server.stop()
    for words in (
        ("publish",),
        ("search",),
        ("info", "@acme/writer"),
        ("status", "@acme/writer@1.0.0", "deprecated"),
    ):
        assert "cannot be reached" in stage.fails(*words)
    dry = stage.does("publish", "--dry-run")
    assert dry.startswith("Dry run - would publish:\n{")


def test_a_found_file_does_not_choose_where_the_key_goes(stage: Stage) -> None:
    asks = '[experts.own.skills.own]\ntype = "mcpStdioSkill"\ncommand = "own"\nargs = ["x"]\n'
    stage.write(f'perstackApiBaseUrl = "{ELSEWHERE}"\n{ONE.format(version="1.0.0")}{OWN}{asks}')
    stage.at("")
    for words in (("search",), ("publish",), ("tag", "a@1.0.0", "x"), ("login",)):
        said = stage.fails(*words)
        assert f"take Experts from {ELSEWHERE}, with your key for it" in said
        assert "--trust" in said
    said = stage.fails("search", "--trust")
    assert "the registry at registry.invalid" in said
    assert "[Errno" not in said
    config = load_config(stage.folder / "perstack.toml")
    lacking = acceptances(os.environ).lacking(config.path, config.demands())
    # Nothing is accepted that was not shown.
    assert [demand.text for demand in lacking] == ["start own x"]


def test_what_is_out_of_bounds_is_not_asked(stage: Stage) -> None:
    stage.write(TEAM)
    for words in (
        ("search", "--take", "0"),
        ("search", "--take", "101"),
        ("search", "--skip", "-1"),
        ("search", "--sort", "beauty"),
        ("search", "--order", "up"),
        ("info", "../etc/passwd"),
        ("info", "Acme"),
        ("versions", "@acme"),
        ("status", "a@1.0.0", "gone"),
        ("publish", "nobody"),
        ("publish",),
        ("tag",),
        ("unpublish",),
        ("status", "--registry"),
    ):
        ran = stage.run(*words)
        assert (ran.code, ran.stdout) == (1, ""), words
        assert ran.stderr.startswith("Error: "), words
        assert "cannot be reached" not in ran.stderr
    assert "do not fit together" in stage.fails("tag", "a@1.0.0", "x", "--none")


def test_pages_say_where_the_next_one_begins(stage: Stage) -> None:
    told = page(*(expert(f"a{number}") for number in range(3)), total=7)
    with registry_wire(answer(told)) as wire:
        stage.at(wire.url)
        found = stage.does("search", "some", "words", "--take", "3", "--skip", "2")
        assert found.splitlines()[-1] == "3 to 5 of 7. More: --skip 5"
        assert "filter=some+words" in wire.asked[0].target
        wire.then(answer(page(total=7)))
        assert stage.does("search", "--skip", "9") == "There are only 7.\n"
        wire.then(answer(page()))
        assert not has_hidden(stage.does("search", HOSTILE))
        assert stage.does("search", "nothing").splitlines() == [
            "No Expert has nothing in its name or description.",
            "All there are: perstack search",
        ]


def test_what_a_hostile_registry_says_is_shown_inert(stage: Stage) -> None:
    skills = {HOSTILE: {"type": "mcpStdioSkill", "command": "npx", "rule": HOSTILE, "x": HOSTILE}}
    bad: dict[str, Any] = {"skills": skills, "delegates": [HOSTILE]}
    bad |= {"description": HOSTILE, "instruction": HOSTILE}
    with registry_wire(answer(one(**bad)), answer(listed("1.0.0"))) as wire:
        stage.at(wire.url)
        card = stage.does("info", "tic-tac-toe")
        assert not has_hidden(card)
        assert sum(line.startswith("Status") for line in card.splitlines()) == 1
        wire.then(answer(page(expert(**bad))))
        found = stage.does("search")
        assert not has_hidden(found)
        assert len(found.splitlines()) == 2
        wire.then(refusal(400, f"{HOSTILE} {stage.key}"))
        said = stage.fails("tag", "tic-tac-toe@1.0.0", "x")
        assert not has_hidden(said)
        assert "[redacted]" in said
        wire.then(answer(one(stage.key)))
        assert "[redacted]@1.0.0" in stage.fails("info", "tic-tac-toe")


def test_a_registry_that_keeps_something_else_than_was_sent_is_found_out(stage: Stage) -> None:
    with registry_wire(answer(one(instruction="You obey."))) as wire:
        stage.at(wire.url)
        stage.write('[experts.tic-tac-toe]\ninstruction = "Play."\n')
        assert "does not have what was sent" in stage.fails("publish")


def test_doubts_about_what_is_published_are_said(stage: Stage, server: RegistryServer) -> None:
    toml = f"{TEAM}\ntags = ['x']\n[experts.coder]\ninstruction = 'You code.'\n"
    stage.write(toml)
    ran = stage.run("publish", "@acme/writer")
    assert "Warning: @acme/writer@1.1.0 is published without tags" in ran.stderr
    stage.write(toml.replace("You write.", "You write better."))
    stage.does("status", "@acme/writer@1.1.0", "deprecated")
    ran = stage.run("publish", "@acme/lead")
    assert ran.code == 0
    assert "@acme/writer@1.1.0 of the registry is not what perstack.toml defines" in ran.stderr
    assert "its delegate @acme/writer@1.1.0 is deprecated" in ran.stderr
    assert "elsewhere coder is the built-in Expert" in ran.stderr
    ran = stage.run("info", "@acme/lead")
    assert "defines @acme/lead, too: that one is run" in ran.stderr
