"""`perstack install` with real servers, and what runs make of the lock file it writes."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import anyio
import pytest

from perstack.config.find import ConfigUrl
from perstack.config.load import parse_config
from perstack.config.lock_pins import read_pins, write_pins
from perstack.config.lockfile import read_lock
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Pin
from perstack.errors import SkillError, UsageError
from perstack.ports.skills import RunContext, SkillHost, SkillNotice, ToolSpec
from perstack.ports.system import RandomIds, SystemClock
from perstack.services.install import Installer, find_lock
from tests.fakes.cli import Program, Ran, accept_all, by_expert, calls, finishes, play
from tests.fakes.engine import FakeSkillSet
from tests.fakes.mcp_http import mcp_http
from tests.fakes.model_server import Answer, Seen, model_server
from tests.fakes.model_wire import Call

MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
BASE_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "base_server.py")
SOLO: Final = ExpertKey("solo")
SEARCH: Final = Call("web_search_exa", {"query": "perstack"})


def _toml(*options: str, more: str = "") -> str:
    words = ["-S", MCP_SERVER, "--pid-file", "server.pid", *options]
    return f"""
[experts.solo]
instruction = "You are solo."
[experts.solo.skills.exa]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = {words!r}
{more}
"""


def _commands(
    folder: Path, toml: str, *commands: Sequence[str], said: Sequence[Answer] = ()
) -> list[Ran]:
    """Run commands in turn in the same folder; each run's Expert says `said`."""
    decide = by_expert({"solo": said or finishes("Done.")})
    ran: list[Ran] = []
    for words in commands:
        (one,), _ = play(lambda url: Program.make(folder, toml, base_url=url), decide, words)
        ran.append(one)
    return ran


def _skills_of(ran: Ran) -> list[str]:
    return [event["skillName"] for event in ran.all("skillConnected")]


RUN: Final = ("run", "solo", "Say hello")
INSTALL: Final = ("install",)


@pytest.mark.long
def test_a_lock_that_cannot_be_used_is_told_and_the_run_goes_on_without(tmp_path: Path) -> None:
    tmp_path.joinpath("perstack.lock").write_text("garbage")

    (ran,) = _commands(tmp_path, _toml(), RUN)

    assert ran.code == 0
    assert "exa" in _skills_of(ran)
    (told,) = [line for line in ran.stderr.splitlines() if "perstack.lock" in line]
    assert told.startswith("Warning: ")
    assert "is not valid TOML" in told
    assert told.endswith("run perstack install")


@pytest.mark.long
def test_a_changed_configuration_makes_the_lock_stale_until_it_is_written_anew(
    tmp_path: Path,
) -> None:
    changed = _toml(more='omit = ["echo"]')
    _commands(tmp_path, _toml(), INSTALL)
    (stale,) = _commands(tmp_path, changed, RUN)
    again, fresh = _commands(tmp_path, changed, INSTALL, RUN)
    assert "stale: run perstack install" in stale.stderr
    assert "exa" in _skills_of(stale)
    assert "stale" not in again.stderr + fresh.stderr
    assert "exa" not in _skills_of(fresh)


def test_tools_for_clients_that_answer_requests_are_in_the_lock(tmp_path: Path) -> None:
    (installed,) = _commands(tmp_path, _toml("--fault", "picky"), INSTALL)
    assert installed.code == 0, installed.stderr
    assert 'name = "ask_client"' in (tmp_path / "perstack.lock").read_text()


@pytest.mark.long
def test_the_lock_is_beside_the_configuration_not_where_one_stands(tmp_path: Path) -> None:
    team, here = tmp_path / "team", tmp_path / "here"
    team.mkdir()
    (team / "solo.toml").write_text(_toml())
    config = ("--config", "../team/solo.toml")

    program = Program.make(here, "")
    (here / "perstack.toml").unlink()
    (here / "perstack.lock").write_text("somebody else's")
    accept_all(team / "solo.toml", program.env)

    async def both() -> tuple[Ran, Ran]:
        installed = await program.run("install", *config)
        return installed, await program.run("run", "solo", "hi", *config, "--max-retries", "0")

    installed, ran = anyio.run(both)
    assert installed.code == 0
    assert (here / "perstack.lock").read_text() == "somebody else's"
    assert (team / "perstack.lock").exists()
    assert "perstack.lock" not in ran.stderr
    assert _skills_of(ran) == ["@perstack/base"]


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        (("--fault", "crash_init"), "", "exa"),
        ((), 'requiredEnv = ["NOT_SET_ANYWHERE"]', "Skill exa requires environment variable"),
        ((), 'requireApproval = ["misspelt"]', "skill exa names misspelt"),
    ],
)
def test_if_one_skill_fails_the_install_fails_and_the_old_lock_stays(
    tmp_path: Path, options: tuple[str, ...], more: str, words: str
) -> None:
    tmp_path.joinpath("perstack.lock").write_text("the old one")

    (ran,) = _commands(tmp_path, _toml(*options, more=more), INSTALL)

    assert ran.code == 1
    assert words in ran.stderr
    assert "Generated" not in ran.stdout
    assert (tmp_path / "perstack.lock").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir() if "lock" in path.name] == ["perstack.lock"]


def test_nothing_is_started_that_the_user_has_not_accepted(tmp_path: Path) -> None:
    program = Program.make(tmp_path, _toml(), trusted=False)
    refused = anyio.run(program.run, "install")
    assert refused.code == 1
    assert "mcp_server.py" in refused.stderr
    assert not (tmp_path / "server.pid").exists()
    assert not (tmp_path / "perstack.lock").exists()

    accepted = anyio.run(program.run, "install", "--trust")
    assert accepted.code == 0
    assert (tmp_path / "perstack.lock").exists()


def test_the_lock_holds_what_the_expert_takes_and_what_is_to_be_gated(tmp_path: Path) -> None:
    more = 'pick = ["web_search_exa", "echo"]\nomit = ["echo"]\nrequireApproval = ["record"]'
    _commands(tmp_path, _toml(more=more), INSTALL)
    lock = read_lock(tmp_path / "perstack.lock")
    assert lock is not None
    assert {tool.name for tool in lock.tools[SOLO] if tool.skill_name == "exa"} == {
        "web_search_exa",
        "record",
    }
    (ran,) = _commands(tmp_path, _toml(more=more), RUN)
    assert ran.code == 0
    assert _skills_of(ran) == ["@perstack/base"]


def test_a_tool_that_is_defined_otherwise_than_in_the_lock_is_not_called(tmp_path: Path) -> None:
    toml = _toml("--fault", "rug_pull", "--marker", "marker", "--tools", "echo,web_search_exa")
    _commands(tmp_path, toml, INSTALL)
    (tmp_path / "marker").touch()
    said = [calls(Call("echo", {"text": "hi"})), *finishes("It was refused.")]

    (ran,) = _commands(tmp_path, toml, RUN, said=said)

    assert ran.code == 0
    (result,) = ran.all("resolveToolResults")[0]["toolResults"]
    assert "perstack install" in str(result["result"])


@pytest.mark.long
def test_a_job_that_keeps_its_old_definitions_takes_nothing_from_todays_lock(
    tmp_path: Path,
) -> None:
    first, *_ = _commands(tmp_path, _toml(), RUN)
    again = ("run", "solo", "Go on", "--continue-job", first.job_id, "--own-definitions")
    _, same = _commands(tmp_path, _toml(), INSTALL, again)
    _, other = _commands(tmp_path, _toml(more='omit = ["echo"]'), INSTALL, again)
    assert "exa" not in _skills_of(same)
    assert "exa" in _skills_of(other)


def test_of_another_base_skill_its_own_tools_are_locked(tmp_path: Path) -> None:
    toml = f"""
perstackBaseSkillCommand = ["{sys.executable}", "-S", "{BASE_SERVER}"]
[experts.solo]
instruction = "You are solo."
"""
    (installed,) = _commands(tmp_path, toml, INSTALL)
    assert installed.code == 0, installed.stderr
    lock = read_lock(tmp_path / "perstack.lock")
    assert lock is not None
    assert {(tool.skill_name, tool.name) for tool in lock.tools[SOLO]} == {
        ("@perstack/base", name)
        for name in ("attemptCompletion", "healthCheck", "exec", "readImageFile", "extra")
    }


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "path"), [("mcpHttpSkill", "/mcp"), ("mcpSseSkill", "/sse")])
async def test_servers_at_an_address_are_locked_too_and_asked_at_the_first_call(
    tmp_path: Path, kind: str, path: str
) -> None:
    said = by_expert({"solo": [calls(Call("echo", {"text": "hi"})), *finishes("Done.")]})
    asked: list[int] = []

    def decide(seen: Seen) -> Answer:
        asked.append(len(server.asked))
        return said(seen)

    async with mcp_http() as server, model_server(decide=decide) as model:
        toml = f"""
[experts.solo]
instruction = "You are solo."
[experts.solo.skills.web]
type = "{kind}"
endpoint = "{server.url}{path}"
allowPrivate = true
"""
        program = Program.make(tmp_path, toml, base_url=model.url)
        installed = await program.run("install")
        assert installed.code == 0, installed.stderr
        before = len(server.asked)
        ran = await program.run(*RUN)
    assert ran.code == 0, ran.stderr
    assert "echo" in str(model.requests[0].body["tools"])
    assert asked[0] == before
    assert asked[1] > before


# ---------------------------------------------------------------- without a process


@dataclass
class Offering:
    """Skills that offer given tools."""

    tools: Mapping[str, ToolSpec]
    opened: list[Expert] = field(default_factory=list[Expert])

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AsyncGenerator[FakeSkillSet]:
        del context, notice, host
        self.opened.append(expert)
        yield FakeSkillSet({}, self.tools)


def _installer(skills: Offering, said: list[str]) -> Installer:
    def redact(text: str) -> str:
        return text.replace("hunter2", "***")

    return Installer(skills, SystemClock(), RandomIds(), redact, said.append)


@pytest.mark.anyio
async def test_tools_are_locked_under_the_names_that_their_skills_have_for_them(
    tmp_path: Path,
) -> None:
    config = parse_config(tmp_path / "perstack.toml", _toml().encode())
    renamed = ToolSpec("exa", "exa__exec", "Runs.", {"type": "object"}, own_name="exec")
    await _installer(Offering({"exa__exec": renamed}), []).install(
        config, workspace=tmp_path, env={}
    )
    found = find_lock(config).listed[SOLO].tools_of("exa")
    assert found is not None
    assert [spec.name for spec in found] == ["exec"]
    assert find_lock(config).listed[SOLO].tools_of("other") is None


@pytest.mark.anyio
async def test_what_keys_of_a_registry_lead_to_outlives_an_install(tmp_path: Path) -> None:
    config = parse_config(tmp_path / "perstack.toml", _toml().encode())
    pin = Pin(registry="https://r.example", key="x@1.0.0", integrity="sha256-" + "0a" * 32)
    lock = tmp_path / "perstack.lock"
    await anyio.to_thread.run_sync(write_pins, lock, "perstack.toml", {"x": pin})
    tools = {"search": ToolSpec("exa", "search", "", {"type": "object"})}
    path = await _installer(Offering(tools), []).install(config, workspace=tmp_path, env={})
    assert read_pins(path) == {"x": pin}
    assert find_lock(config).listed[SOLO].tools_of("exa")


@pytest.mark.anyio
async def test_a_secret_in_a_definition_is_not_written_down(tmp_path: Path) -> None:
    config = parse_config(tmp_path / "perstack.toml", _toml().encode())
    leaking = ToolSpec("exa", "search", "Uses the key hunter2.", {"type": "object"})
    with pytest.raises(SkillError, match="Skill exa puts a secret") as caught:
        await _installer(Offering({"search": leaking}), []).install(
            config, workspace=tmp_path, env={}
        )
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_a_remote_configuration_has_no_lock(tmp_path: Path) -> None:
    local = parse_config(tmp_path / "perstack.toml", _toml().encode())
    remote = replace(local, url=ConfigUrl("https://example.com/perstack.toml"))
    said: list[str] = []
    with pytest.raises(UsageError, match="remote configuration has no lock"):
        await _installer(Offering({}), said).install(remote, workspace=tmp_path, env={})
    assert said == []
    (tmp_path / "perstack.lock").write_text("garbage")
    assert find_lock(remote).warning is None


@pytest.mark.parametrize(
    ("written", "instead", "warning"),
    [
        ("version = ", "garbage ", "perstack.lock is not valid TOML at line 2"),
        ('version = "1"', "", "perstack.lock is no lock file: version: Field required"),
        ('"perstack.toml"', '"team.toml"', "is not of "),
        ('contentHash = "', 'contentHash = "0', "perstack.lock is stale"),
        ("contentHash", "hash", "perstack.lock is stale"),
    ],
    ids=["no TOML", "another format", "of another file", "stale", "of unknown origin"],
)
@pytest.mark.anyio
async def test_a_lock_that_does_not_hold_says_why_and_gives_nothing(
    tmp_path: Path, written: str, instead: str, warning: str
) -> None:
    config = parse_config(tmp_path / "perstack.toml", _toml().encode())
    tools = {"search": ToolSpec("exa", "search", "", {"type": "object"})}
    path = await _installer(Offering(tools), []).install(config, workspace=tmp_path, env={})
    assert SOLO in find_lock(config).listed
    path.write_text(path.read_text().replace(written, instead, 1))

    found = find_lock(config)

    assert found.listed == {}
    assert found.warning is not None
    assert warning in found.warning
    assert found.warning.endswith("run perstack install")
