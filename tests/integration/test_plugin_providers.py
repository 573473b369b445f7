"""Models of providers that plugins bring: real folders, enabled by a user, asked by real runs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from perstack.chat import create_provider
from perstack.config.load import load_config
from perstack.config.overrides import apply_overrides
from perstack.config.trust import acceptances
from perstack.config.typed import Overrides
from perstack.domain.coordination import CoordinationSettings, PluginSettings
from perstack.domain.ids import ExpertKey
from perstack.domain.plugins import PluginInfo
from perstack.errors import ConfigError, ProviderError, UsageError
from perstack.integrations.plugins.loader import LocalPlugins
from perstack.ports.experts import ExpertRequest
from perstack.ports.system import SystemClock
from perstack.project import Project, open_project
from perstack.runtime import open_runtime
from perstack.services.hooks import HookService
from perstack.services.loaded_plugins import LoadedPlugins
from perstack.services.plugins import PluginService
from perstack.team import coordinate
from perstack.wiring import open_tables
from tests.fakes.cli import Program, Ran
from tests.integration.test_plugins import NoMemory, Registry

pytestmark = pytest.mark.anyio

TOML: Final = """
model = "llama-house"

[provider]
providerName = "plugin:house"

[experts."writer"]
instruction = "You are writer."
"""
SECRET: Final = "canary-0123456789abcdef"
# A provider as its author would write it. `{open}` and `{stream}` are what goes wrong in it.
CODE: Final = """
import asyncio
import pathlib
import sys
from perstack.domain.ids import ToolCallId
from perstack.domain.messages import TextPart, ToolCallPart
from perstack.domain.usage import Usage
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError, ProviderError
from perstack.ports.model import Generation, Spoken

USED = Usage(input_tokens=10, output_tokens=5, total_tokens=15)
CALL = ToolCallPart(tool_call_id=ToolCallId("a"), tool_name="attemptCompletion", args={{}})
NOTES = pathlib.Path({notes!r})

def note(text):
    with NOTES.open("a") as file:
        file.write(text + "\\n")

def said(request):
    return getattr(request.messages[-1].contents[0], "text", "a tool")

class House:
    def __init__(self, model, key):
        self.name, self.context_window, self.price = "other", 5, None
        self.model, self.key = model, key

    async def stream(self, request):
        text = f"{{self.model}} says hello to {{said(request)}}"
        {stream}
        yield Spoken("text", text[:4])
        yield Spoken("text", text[4:])
        yield Generation((TextPart(text=text),), "stop", USED)

    def forget(self, run_id):
        note("forgot")

    async def aclose(self):
        note("closed")

def open_house(model, env):
    note(f"opened {{model}} with {{env.get('HOUSE_KEY')}}")
    {open}
    return House(model, env.get("HOUSE_KEY"))

def stop():
    note("cleaned up")

plugin = {{"providers": {{"house": open_house}}, "cleanup": stop}}
"""


@dataclass(frozen=True)
class House:
    """A workspace whose configuration names the provider of a plugin in it."""

    program: Program
    notes: Path

    def write(self, *, open_: str = "pass", stream: str = "pass", folder: str = "greeter") -> None:
        """Write the plugin, with something in it that goes wrong."""
        path = self.program.workspace / "plugins" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "plugin.toml").write_text(f'name = "{folder}"\nversion = "1.0.0"\n')
        code = CODE.format(notes=str(self.notes), open=open_, stream=stream)
        (path / "plugin.py").write_text(code)

    async def enable(self, name: str = "greeter") -> PluginInfo:
        """Enable it, as its user would."""
        async with self.plugins() as service:
            await service.discover(load=False)
            return await service.enable(name)

    @asynccontextmanager
    async def plugins(self) -> AsyncGenerator[PluginService]:
        tables = open_tables(self.program.workspace)
        hooks = HookService(NoMemory(), settings=CoordinationSettings(), clock=SystemClock())
        loader = LocalPlugins(self.program.workspace)
        service = PluginService(
            tables.stores,
            loader,
            LoadedPlugins(loader, hooks, env={}, registry=Registry()),
            settings=PluginSettings(),
            workspace=self.program.workspace,
            consents=acceptances(self.program.env),
            clock=SystemClock(),
        )
        try:
            yield service
        finally:
            await service.aclose()
            await tables.aclose()

    async def run(self, *args: str) -> Ran:
        """Run the Expert with the real program."""
        return await self.program.run("run", "writer", "Bob", *args)

    @property
    def noted(self) -> list[str]:
        """What the plugin noted."""
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def house(tmp_path: Path) -> House:
    return make(tmp_path, TOML)


def make(tmp_path: Path, toml: str) -> House:
    program = Program.make(tmp_path / "work", toml, env={"HOUSE_KEY": SECRET})
    return House(program, tmp_path / "notes.txt")


def project_of(house: House) -> Project:
    return open_project(house.program.workspace, house.program.workspace / "perstack.toml")


async def test_a_run_asks_the_provider_that_an_enabled_plugin_brings(house: House) -> None:
    house.write()
    enabled = await house.enable()
    assert (enabled.status, enabled.providers) == ("loaded", ("house",))
    house.notes.unlink()  # enabling loaded it, here
    ran = await house.run()
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.one("completeRun")["text"] == "llama-house says hello to Bob"
    began = ran.one("initializeRuntime")
    assert (began["model"], began["providerName"]) == ("llama-house", "plugin:house")
    assert house.noted == [
        f"opened llama-house with {SECRET}",
        "forgot",
        "closed",
        "cleaned up",
    ]


async def test_its_tool_calls_are_made(house: House) -> None:
    house.write(stream="if said(request) == 'Bob': yield Generation((CALL,), 'toolCalls', USED)")
    await house.enable()
    ran = await house.run()
    assert ran.types("callTools", "completeRun") == ["callTools", "completeRun"]
    assert ran.one("completeRun")["text"] == "llama-house says hello to a tool"


async def test_the_command_line_names_a_provider_of_a_plugin_and_then_a_model(
    tmp_path: Path,
) -> None:
    house = make(tmp_path, '[experts."writer"]\ninstruction = "You are writer."\n')
    house.write()
    await house.enable()
    ran = await house.run("--provider", "plugin:house", "--model", "qwen")
    assert ran.one("completeRun")["text"] == "qwen says hello to Bob"
    ran = await house.run("--provider", "plugin:house")
    assert ran.code == ConfigError.exit_code
    assert "the provider plugin:house has no default model" in ran.stderr
    assert "--model NAME" in ran.stderr
    ran = await house.run("--provider", "plugin:No such", "--model", "qwen")
    assert ran.code == UsageError.exit_code
    assert '"plugin:No such" names no provider' in ran.stderr


async def test_a_plugin_that_nobody_enabled_is_named_and_not_run(house: House) -> None:
    house.write()
    ran = await house.run()
    assert ran.code == ConfigError.exit_code
    assert "no plugin at work brings the provider plugin:house; there are: none" in ran.stderr
    assert "the plugin greeter is unasked: its code runs only once you enabled it" in ran.stderr
    assert 'plugins.enable("greeter")' in ran.stderr
    assert house.noted == []
    assert house.program.jobs() == []


async def test_a_provider_that_no_plugin_brings_is_told_with_those_that_there_are(
    house: House,
) -> None:
    house.write()
    await house.enable()
    ran = await house.run("--provider", "plugin:castle", "--model", "x")
    assert ran.code == ConfigError.exit_code
    assert "brings the provider plugin:castle; there are: plugin:house" in ran.stderr
    assert house.program.jobs() == []


async def test_without_any_plugin_and_with_plugins_turned_off_the_way_out_is_told(
    tmp_path: Path,
) -> None:
    ran = await make(tmp_path / "none", TOML).run()
    assert ran.code == ConfigError.exit_code
    assert "there are: none" in ran.stderr
    assert "put its plugin into ./plugins" in ran.stderr
    off = make(tmp_path / "off", TOML.replace("[exp", "[plugins]\nenabled = false\n[exp"))
    off.write()
    ran = await off.run()
    assert ran.code == ConfigError.exit_code
    assert "plugins are turned off" in ran.stderr


OPENINGS: Final = {
    "raise RuntimeError(f'no way with {env[\"HOUSE_KEY\"]}')": "RuntimeError: no way with [redac",
    "sys.exit(0)": "ForeignExitError: SystemExit: 0",
    "raise asyncio.CancelledError": "CancelledError",
    "raise GeneratorExit": "GeneratorExit",
    "return None": "it gave a NoneType, not a ChatModel",
    "return 'a model'": "it gave a str, not a ChatModel",
    "raise ConfigError('no key', hint='set HOUSE_KEY')": "the provider plugin:house: no key",
}


@pytest.mark.parametrize("open_", OPENINGS)
async def test_a_provider_that_cannot_open_its_model_is_told_with_the_reason(
    house: House, monkeypatch: pytest.MonkeyPatch, open_: str
) -> None:
    house.write(open_=open_)
    await house.enable()
    monkeypatch.setenv("HOUSE_KEY", SECRET)
    with pytest.raises(ConfigError) as raised:
        async with open_runtime(project_of(house)):
            raise AssertionError("it was opened")
    assert raised.value.message.startswith("the provider plugin:house")
    assert OPENINGS[open_] in raised.value.message
    assert SECRET not in raised.value.message
    assert raised.value.hint
    assert house.noted[-1] == "cleaned up"


async def test_one_that_ends_the_program_as_it_opens_ends_it_with_an_error(house: House) -> None:
    house.write(open_="sys.exit(0)")
    await house.enable()
    ran = await house.run()
    assert ran.code == ConfigError.exit_code
    assert ran.stderr.startswith("Error: the provider plugin:house could not open llama-house")
    assert "Traceback" not in ran.stderr
    assert house.program.jobs() == []


ANSWERS: Final = {
    "raise RuntimeError(self.key)": "the provider llama-house raised RuntimeError",
    "sys.exit(0)": "the provider llama-house raised SystemExit",
    "raise GeneratorExit": "the provider llama-house raised GeneratorExit",
    "raise asyncio.CancelledError": "the provider llama-house raised CancelledError",
    "yield 'text'": "the provider llama-house raised TypeError",
    "yield Spoken('song', 'la')": "the provider llama-house raised TypeError",
    "yield Generation(None, 'stop', USED)": "the provider llama-house raised TypeError",
    "yield Generation((), 'whim', USED)": "the provider llama-house raised TypeError",
    "yield None": "the provider llama-house raised TypeError",
    "yield Generation((CALL, CALL), 'toolCalls', USED)": "raised TypeError",
    "yield Generation((), 'stop', None)": "the provider llama-house raised AttributeError",
    "yield Generation(('text',), 'stop', USED)": "the provider llama-house raised AttributeError",
    "raise ProviderError(5, retry_after_s='soon', status='no')": "5",
    "raise ConfigError('no quota left')": "no quota left",
    "raise ProviderError(f'{self.key} is out of date')": "[redacted] is out of date",
}


@pytest.mark.parametrize("stream", ANSWERS)
async def test_a_provider_that_fails_or_answers_nonsense_fails_the_run(
    house: House, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    house.write(stream=stream)
    await house.enable()
    monkeypatch.setenv("HOUSE_KEY", SECRET)
    async with open_runtime(project_of(house)) as runtime:
        answer = await runtime.runner.run(ExpertRequest(ExpertKey("writer"), "Ann"))
    assert answer.ending == "failed"
    assert ANSWERS[stream] in (answer.error or "")
    assert SECRET not in (answer.error or "")
    assert house.noted[-2:] == ["closed", "cleaned up"]


async def test_one_that_ends_the_program_as_it_answers_fails_the_run(house: House) -> None:
    house.write(stream="note('asked'); sys.exit(self.key)")
    await house.enable()
    ran = await house.run()
    assert ran.code == 1
    said = ran.one("stopRunByError")["error"]["message"]
    assert said == "the provider llama-house raised SystemExit"
    assert SECRET not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


async def test_one_that_is_no_generator_fails_the_run_and_one_that_does_not_close_does_not(
    house: House,
) -> None:
    house.write(open_="model = House(model, ''); model.stream = lambda request: 5; return model")
    await house.enable()
    async with open_runtime(project_of(house)) as runtime:
        answer = await runtime.runner.run(ExpertRequest(ExpertKey("writer"), "Ann"))
    assert (answer.error or "").endswith("raised TypeError")
    broken = "model = House(model, ''); model.forget = lambda run: 1 / 0; model.aclose = sys.exit"
    house.write(open_=f"{broken}; return model")
    await house.enable()
    async with open_runtime(project_of(house)) as runtime:
        answer = await runtime.runner.run(ExpertRequest(ExpertKey("writer"), "Ann"))
    assert (answer.ending, answer.text) == ("completed", "llama-house says hello to Ann")


async def test_one_that_speaks_without_end_or_pause_is_given_up(house: House) -> None:
    house.write(stream="while True: yield Spoken('text', 'la' * 100_000)")
    await house.enable()
    async with open_runtime(project_of(house)) as runtime:
        answer = await runtime.runner.run(ExpertRequest(ExpertKey("writer"), "Ann"))
    assert "larger" in (answer.error or "")


async def test_words_that_no_disk_holds_are_made_fit(house: House) -> None:
    house.write(stream="text = 'a' + chr(0xD800) + 'b'")
    await house.enable()
    async with open_runtime(project_of(house)) as runtime:
        answer = await runtime.runner.run(ExpertRequest(ExpertKey("writer"), "Ann"))
    assert answer.text == "a\ufffdb"


async def test_a_hung_provider_is_given_up_by_the_runs_own_bound(house: House) -> None:
    house.write(stream="await asyncio.sleep(3600)")
    await house.enable()
    ran = await house.run("--timeout", "300", "--max-retries", "0")
    assert ran.code == 1
    said = ran.one("stopRunByError")["error"]["message"]
    assert "llama-house gave no complete answer within 0.3 s" in said


async def test_a_budget_in_usd_needs_a_price_that_the_configuration_states(
    tmp_path: Path,
) -> None:
    house = make(tmp_path / "a", TOML)
    house.write()
    await house.enable()
    ran = await house.run("--max-cost", "1")
    assert ran.code == ConfigError.exit_code
    assert "what llama-house costs is not known" in ran.stderr
    priced = '[models."llama-house"]\ncontextWindow = 100\nprice = { input = 100000, output = 0 }\n'
    house = make(tmp_path / "b", TOML + priced)
    house.write()
    await house.enable()
    ran = await house.run("--max-cost", "10")
    assert ran.code == 0
    ended = ran.one("completeRun")
    assert ended["costUsd"] == pytest.approx(1.0)
    ran = await house.program.run("config", "check", "--json")
    told = json.loads(ran.stdout)
    assert told["model"]["contextWindow"] == 100


async def test_config_check_tells_of_the_provider_and_of_what_has_no_effect_with_it(
    tmp_path: Path,
) -> None:
    setting = 'providerName = "plugin:house"\n[provider.setting]\nbaseUrl = "https://x.test"\n'
    tools = '\nproviderTools = ["webSearch"]\n'
    toml = TOML.replace('providerName = "plugin:house"\n', setting) + tools
    house = make(tmp_path, toml.replace("llama-house", "claude-sonnet-5-5"))
    ran = await house.program.run("config", "check")
    assert ran.code == 0
    assert "provider    plugin:house\n" in ran.stdout
    assert "claude-sonnet-5-5: window unknown; reasons: unknown; a million tokens: unknown" in (
        ran.stdout
    )
    assert "has no effect with the provider plugin:house" in ran.stdout
    assert '"webSearch" may be no tool of the provider plugin:house' in ran.stdout


@pytest.mark.parametrize("name", ["plugin:", "plugin:Big", "plugin:a/b", "plugin:a\\n", "Plugin:a"])
def test_a_name_that_no_provider_of_a_plugin_can_have_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text(TOML.replace("plugin:house", name))
    with pytest.raises(ConfigError, match=r"names no provider|is not available"):
        load_config(path)


def test_a_configuration_without_a_model_is_refused_once_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "perstack.toml"
    path.write_text(TOML.replace('model = "llama-house"\n', ""))
    with pytest.raises(ConfigError, match="plugin:house has no default model") as raised:
        apply_overrides(load_config(path), Overrides())
    assert raised.value.hint


async def test_the_model_by_itself_is_opened_by_its_plugin(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.write()
    await house.enable()
    monkeypatch.setenv("HOUSE_KEY", SECRET)
    async with create_provider(project_of(house)) as provider:
        answer = await provider.chat([{"role": "user", "content": "Ann"}])
    assert answer.content == "llama-house says hello to Ann"
    with pytest.raises(ProviderError, match="is not open"):
        await provider.chat([{"role": "user", "content": "Ann"}])


async def test_it_is_enabled_from_python_with_another_provider_typed_over_it(
    house: House,
) -> None:
    house.write()
    path = house.program.workspace / "perstack.toml"
    typed = Overrides(provider="ollama", model="any")
    async with coordinate(open_project(house.program.workspace, path, typed)) as team:
        assert (await team.plugins.enable("greeter")).status == "loaded"
    async with open_runtime(project_of(house)) as runtime:
        answer = await runtime.runner.run(ExpertRequest(ExpertKey("writer"), "Ann"))
    assert answer.text == "llama-house says hello to Ann"


async def test_another_model_that_a_service_names_is_opened_by_the_same_provider(
    house: House,
) -> None:
    house.write()
    await house.enable()
    async with open_runtime(project_of(house)) as runtime:
        request = ExpertRequest(ExpertKey("writer"), "Ann", model="bigger")
        answer = await runtime.runner.run(request)
    assert answer.text == "bigger says hello to Ann"
