"""Plugins: real folders, real packages, a real database; nothing runs that nobody agreed to."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.config.trust import Acceptances
from perstack.domain.coordination import CoordinationSettings, PluginSettings
from perstack.domain.expert import Expert
from perstack.domain.hooks import HookContext
from perstack.errors import ConflictError, DeniedError, NotFoundError, UsageError
from perstack.integrations.plugins.loader import LocalPlugins
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.hooks import HookService
from perstack.services.loaded_plugins import LoadedPlugins
from perstack.services.plugins import PluginService
from perstack.storage.database.opener import open_stores
from tests.fakes.consensus import SetClock

pytestmark = pytest.mark.anyio

MANIFEST = 'name = "greeter"\nversion = "1.2.0"\ndescription = "Says hello."\n'
CODE = """
from .words import HELLO

def greet(args):
    return f"{HELLO}, {args['name']}"

async def after(context, memory, config):
    context.data["greeted"] = True

plugin = {
    "agents": [{"type": "poet", "name": "Poet", "description": "Rhymes.",
                "systemPrompt": "Rhyme.", "capabilities": ["rhyme"]}],
    "tools": [{"name": "greet", "description": "Greets.", "handler": greet, "requireApproval": True,
               "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}],
    "hooks": [{"event": "workflow", "handler": after}],
    "providers": {"house": lambda model, env: None},
}
"""


class NoMemory:
    """Memory that keeps nothing."""

    async def store(
        self,
        key: str,
        content: str,
        *,
        namespace: str,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> None:
        return

    async def search(self, query: str, *, namespace: str, limit: int) -> Sequence[str]:
        return ()


class Registry:
    """Types of agents; `coder` was there before."""

    def __init__(self) -> None:
        self.types: dict[str, Expert | None] = {"coder": None}

    def find(self, agent_type: str) -> str | None:
        return agent_type if agent_type in self.types else None

    def register(self, expert: Expert) -> bool:
        self.types[expert.key] = expert
        return True

    def unregister(self, agent_type: str) -> bool:
        return self.types.pop(agent_type, None) is not None


@dataclass
class Place:
    """A workspace whose plugins a user looks at; each `service` is another process."""

    workspace: Path
    state: Path
    handles: list[Handle[Stores]]
    registry: Registry = field(default_factory=lambda: Registry())

    def service(
        self,
        env: Mapping[str, str] | None = None,
        *,
        state: Path | None = None,
        bound_s: float = 30.0,
        enabled: bool = True,
    ) -> tuple[PluginService, HookService]:
        clock, settings = SetClock(), CoordinationSettings()
        stores = Handle(
            lambda: open_stores(self.workspace / "perstack" / "x.db", clock=clock, ids=Uuids())
        )
        self.handles.append(stores)
        hooks = HookService(NoMemory(), settings=settings, clock=clock)
        loader = LocalPlugins(self.workspace)
        loaded = LoadedPlugins(
            loader, hooks, env=env or {}, registry=self.registry, bound_s=bound_s
        )
        service = PluginService(
            stores,
            loader,
            loaded,
            settings=PluginSettings(enabled=enabled),
            workspace=self.workspace,
            consents=Acceptances(state or self.state),
            clock=clock,
        )
        return service, hooks

    def write(
        self, code: str, *, manifest: str = MANIFEST, folder: str = "plugins/greeter"
    ) -> Path:
        path = self.workspace / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "plugin.toml").write_text(manifest)
        (path / "plugin.py").write_text(code)
        (path / "words.py").write_text("HELLO = 'Hello'\n")
        return path


@pytest.fixture
async def place(tmp_path: Path) -> AsyncGenerator[Place]:
    workspace = tmp_path / "work"
    workspace.mkdir()
    made = Place(workspace, tmp_path / "state", [])
    yield made
    for handle in made.handles:
        await handle.aclose()


def proof(path: Path) -> str:
    """Code that leaves a mark when it runs."""
    return f"import pathlib\npathlib.Path({str(path)!r}).write_text('ran')\n"


async def test_a_workspaces_plugin_never_runs_unasked(place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    place.write(proof(mark) + CODE)
    service, _ = place.service()
    [found] = await service.discover()
    assert (found.name, found.version, found.status) == ("greeter", "1.2.0", "unasked")
    assert found.digest is not None
    assert not mark.exists()
    assert (service.agents, service.tools, service.providers) == ({}, [], {})


async def test_an_enabled_plugin_contributes_and_is_loaded_by_later_processes(
    place: Place,
) -> None:
    folder = place.write(CODE)
    service, _ = place.service()
    await service.discover()
    enabled = await service.enable("greeter")
    assert (enabled.status, enabled.enabled) == ("loaded", True)
    await service.aclose()

    service, hooks = place.service()
    [again] = await service.discover()
    assert again.status == "loaded"
    assert (again.agents, again.tools) == (("poet",), ("greet",))
    assert (again.hooks, again.providers) == (("workflow",), ("house",))
    [poet] = service.agents.values()
    assert place.registry.types["poet"] == poet
    assert (poet.instruction, poet.tags) == ("Rhyme.", ("rhyme",))
    [offered] = service.tools
    assert (offered.plugin, offered.gated) == ("greeter", True)
    assert await offered.tool.call({"name": "Ana"}) == "Hello, Ana"
    assert (await hooks.execute(HookContext("workflow"))).data == {"greeted": True}
    assert not (folder / "__pycache__").exists()


async def test_looking_at_plugins_runs_none_of_them(place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    place.write(proof(mark) + CODE)
    service, _ = place.service()
    await service.enable("greeter")
    await service.aclose()
    mark.unlink()
    other, _ = place.service()
    [found] = await other.discover(load=False)
    assert (found.status, found.enabled) == ("enabled", True)
    assert not mark.exists()
    assert (await other.disable("greeter")).status == "disabled"
    assert not mark.exists()


async def test_unloading_takes_back_all_that_a_plugin_brought(place: Place) -> None:
    place.write(CODE)
    service, hooks = place.service()
    await service.discover()
    await service.enable("greeter")
    assert await service.unload("greeter")
    assert not await service.unload("greeter")
    assert (service.agents, service.tools, service.providers) == ({}, [], {})
    assert hooks.hooks("workflow") == ()
    assert list(place.registry.types) == ["coder"]
    assert not [name for name in sys.modules if name.startswith("perstack_plugin_")]


async def test_a_plugin_whose_content_changed_asks_again(place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = place.write(CODE)
    service, _ = place.service()
    await service.discover()
    await service.enable("greeter")
    (folder / "words.py").write_text(proof(mark) + "HELLO = 'Hi'\n")
    [changed] = await service.discover()
    assert (changed.status, service.agents) == ("changed", {})
    assert not mark.exists()
    with pytest.raises(ConflictError, match="was changed"):
        await service.enable("greeter", digest="0" * 64)
    enabled = await service.enable("greeter", digest=changed.digest)
    assert enabled.status == "loaded"
    assert mark.exists()


async def test_a_database_that_came_with_the_workspace_enables_nothing(
    place: Place, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    place.write(proof(mark) + CODE)
    author, _ = place.service(state=tmp_path / "authors-state")
    await author.discover()
    await author.enable("greeter")
    await author.aclose()
    mark.unlink()
    victim, _ = place.service()
    [found] = await victim.discover()
    assert (found.status, found.reason) == ("unasked", "it was enabled here, but not by you")
    assert not mark.exists()


async def test_a_run_can_neither_enable_nor_disable_a_plugin(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.write(CODE)
    service, _ = place.service()
    await service.discover()
    monkeypatch.setenv("PERSTACK_RUN_ID", "r1")
    for attempt in (
        service.enable("greeter"),
        service.disable("greeter"),
        service.install(folder),
        service.load(folder),
        service.remove("greeter"),
    ):
        with pytest.raises(DeniedError, match="a run cannot change plugins"):
            await attempt


async def test_a_disabled_plugin_stays_so_and_a_removed_one_is_forgotten(place: Place) -> None:
    place.write(CODE)
    service, _ = place.service()
    await service.discover()
    await service.enable("greeter")
    assert (await service.disable("greeter")).status == "disabled"
    other, _ = place.service()
    assert [one.status for one in await other.discover()] == ["disabled"]
    await other.remove("greeter")
    assert [one.status for one in await other.discover()] == ["unasked"]


async def test_of_a_removed_plugin_the_users_consent_is_forgotten_too(
    place: Place, tmp_path: Path
) -> None:
    folder = place.write(CODE)
    service, _ = place.service()
    await service.discover()
    await service.enable("greeter")
    await service.remove("greeter")
    # The author of the workspace brings a database along in which it is enabled.
    author, _ = place.service(state=tmp_path / "authors-state")
    await author.discover()
    await author.enable("greeter")
    await author.aclose()
    victim, _ = place.service()
    (found,) = await victim.discover()
    assert (found.status, found.reason) == ("unasked", "it was enabled here, but not by you")
    assert str(folder) not in (place.state / "trust.json").read_text()


async def test_a_plugin_elsewhere_is_installed_and_found_again(
    place: Place, tmp_path: Path
) -> None:
    folder = place.write(CODE, folder="../elsewhere/greeter")
    service, _ = place.service()
    assert (await service.install(folder)).status == "loaded"
    await service.aclose()
    other, _ = place.service()
    assert [one.status for one in await other.discover()] == ["loaded"]
    await other.remove("greeter")
    assert await other.discover() == []
    assert folder.exists()


async def test_a_place_elsewhere_that_only_the_workspaces_database_names_is_not_looked_at(
    place: Place, tmp_path: Path
) -> None:
    author, _ = place.service(state=tmp_path / "authors-state")
    await author.install(place.write(CODE, folder="../elsewhere/greeter"))
    await author.aclose()
    victim, _ = place.service()
    assert await victim.discover() == []


async def test_a_program_loads_a_plugin_for_itself_alone(place: Place) -> None:
    folder = place.write(CODE)
    service, _ = place.service()
    assert (await service.load(folder)).status == "loaded"
    assert [one.status for one in await service.discover()] == ["loaded"]
    other, _ = place.service()
    assert [one.status for one in await other.discover()] == ["unasked"]


HANGS = """
import threading
def hang(config):
    threading.Event().wait(3)
plugin = {'init': hang}
"""
FAILURES = {
    "raise RuntimeError('token-abcdefgh')": "RuntimeError: ",
    "import nowhere_at_all": "No module named 'nowhere_at_all'",
    "raise SystemExit(3)": "SystemExit",
    "def (": "SyntaxError",
    "x = 1": "has no attribute 'plugin'",
    "plugin = 5": "the manifest is a int, not a mapping",
    "plugin = {'agnets': []}": "the manifest has no 'agnets'",
    "plugin = {'agents': {}}": "agents is a dict, not a list",
    "plugin = {'agents': [{'type': 'poet'}]}": "the systemPrompt of poet must be a text",
    "plugin = {'agents': [{'type': 'a b', 'systemPrompt': 'x'}]}": "is no Expert's name",
    "plugin = {'agents': [{'type': 'coder', 'systemPrompt': 'x'}]}": "coder is there already",
    "plugin = {'agents': [{'type': 'a', 'systemPrompt': 'x'}] * 2}": "two of the agent 'a'",
    "plugin = {'tools': [{'name': 'x', 'description': 'x'}]}": "handler of x is a NoneType",
    "plugin = {'tools': [{'name': 'x y', 'description': 'x', 'handler': print}]}": "needs a name",
    "plugin = {'tools': [{'name': 'x', 'description': 'x', 'handler': print,"
    " 'inputSchema': {'type': 'object', 'required': 3}}]}": "the inputSchema of x: 3",
    "plugin = {'hooks': [{'event': 'lunch', 'handler': print}]}": "no hook event 'lunch'",
    "plugin = {'providers': {'x': 1}}": "the provider x is a int, not a function",
    "plugin = {'name': 'other'}": "its folder says 'greeter'",
    "def boom(config):\n    raise ValueError('no')\nplugin = {'init': boom}": "ValueError: no",
    HANGS: "it took longer than 0.5 s",
    "import threading\nthreading.Event().wait(3)": "it took longer than 0.5 s",
}


@pytest.mark.parametrize("code", FAILURES)
async def test_a_plugin_that_fails_is_not_loaded_and_says_why(place: Place, code: str) -> None:
    place.write(code)
    place.write(
        "plugin = lambda: {'version': '9'}",
        manifest='name = "sound"\nversion = "1"\n',
        folder="plugins/sound",
    )
    service, _ = place.service({"API_TOKEN": "token-abcdefgh"}, bound_s=0.5)
    await service.discover()
    failed = await service.enable("greeter")
    assert failed.status == "failed"
    assert FAILURES[code] in (failed.reason or "")
    assert "token-abcdefgh" not in (failed.reason or "")
    assert service.agents == {}
    assert (await service.enable("sound")).status == "loaded"


async def test_init_is_given_the_configuration_with_its_variables_and_cleanup_is_called(
    place: Place, tmp_path: Path
) -> None:
    mark = tmp_path / "log"
    place.write(
        "import pathlib\n"
        f"log = pathlib.Path({str(mark)!r})\n"
        "async def init(config):\n    log.write_text(repr(config))\n"
        "def cleanup():\n    log.write_text('clean')\n    raise KeyError('x')\n"
        "plugin = {'init': init, 'cleanup': cleanup}\n"
    )
    service, _ = place.service({"KEY": "s3cret"})
    await service.discover()
    config: dict[str, JsonValue] = {"key": "${KEY}", "list": ["${NO}", 1]}
    await service.enable("greeter", config=config)
    assert mark.read_text() == "{'key': 's3cret', 'list': ['', 1]}"
    assert b"s3cret" not in (place.workspace / "perstack" / "x.db").read_bytes()
    await service.aclose()
    assert mark.read_text() == "clean"


async def test_a_failing_tool_tells_the_model_without_secrets(place: Place) -> None:
    place.write(
        "def bad(args):\n    raise OSError('key token-abcdefgh')\n"
        "async def many(args):\n    return {'a': ['é', 1]}\n"
        "plugin = {'tools': [{'name': 'bad', 'description': 'x', 'handler': bad},\n"
        " {'name': 'many', 'description': 'x', 'handler': many}]}\n"
    )
    service, _ = place.service({"API_TOKEN": "token-abcdefgh"})
    await service.discover()
    await service.enable("greeter")
    bad, many = service.tools
    with pytest.raises(ValueError, match="OSError: key") as raised:
        await bad.tool.call({})
    assert "token-abcdefgh" not in str(raised.value)
    assert await many.tool.call({}) == '{"a": ["é", 1]}'


async def test_agentstack_row_135_a_folder_without_a_usable_manifest_is_skipped(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    plugins = place.workspace / "plugins"
    for name, file, text in (
        ("empty", "README", "x"),
        ("json", "package.json", "{not json"),
        ("list", "package.json", "[]"),
        ("toml", "plugin.toml", "name = "),
        ("odd", "plugin.toml", 'name = "Odd Name"\nversion = "1"'),
        ("deep", "package.json", "[" * 100_000),
    ):
        (plugins / name).mkdir(parents=True)
        (plugins / name / file).write_text(text)
    place.write(CODE, manifest='name = "deep-one"\nversion = "1"\n', folder="plugins/deeper")
    plugins.joinpath("deeper", *("d" * 40)).mkdir(parents=True)
    (plugins / "linked").mkdir()
    (plugins / "linked" / "plugin.toml").symlink_to("/etc/hostname")
    (plugins / "a-file").write_text("x")
    place.write(CODE)
    service, _ = place.service()
    assert [one.name for one in await service.discover()] == ["greeter"]
    assert caplog.text.count("was skipped") == 8


async def test_upstreams_package_json_is_a_manifest_for_python_but_not_for_javascript(
    place: Place,
) -> None:
    for name, main in (("py", "lib/start.py"), ("js", "index.js")):
        folder = place.workspace / "plugins" / name
        (folder / "lib").mkdir(parents=True)
        (folder / "lib" / "start.py").write_text("plugin = {}\n")
        package = {"name": name, "version": "2.0.0", "main": main, "license": "MIT"}
        (folder / "package.json").write_text(json.dumps(package))
    service, _ = place.service()
    javascript, _ = await service.discover()
    assert (javascript.status, javascript.name) == ("failed", "js")
    assert "runs no JavaScript" in (javascript.reason or "")
    assert (await service.enable("py")).status == "loaded"


async def test_a_second_plugin_of_a_name_is_skipped_and_not_installed(place: Place) -> None:
    place.write(CODE)
    place.write(CODE, folder="plugins/zzz")
    service, _ = place.service()
    assert len(await service.discover()) == 1
    with pytest.raises(ConflictError, match="there is a plugin greeter already"):
        await service.install(place.workspace / "plugins" / "zzz")


async def test_what_is_not_there_is_not_found(place: Place) -> None:
    service, _ = place.service()
    await service.discover()
    with pytest.raises(NotFoundError, match="Plugin not found: nope"):
        await service.enable("nope")
    assert service.find("nope") is None
    with pytest.raises(UsageError, match="has neither plugin"):
        await service.install(place.workspace)


async def test_nothing_is_looked_for_when_plugins_are_off(place: Place) -> None:
    place.write(CODE)
    service, _ = place.service(enabled=False)
    assert await service.discover() == ()


def install(site: Path, code: str) -> None:
    """Put a package with an entry point where Python looks for packages."""
    package = site / "house_plugin-3.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Name: house-plugin\nVersion: 3.1\nSummary: A house.\n")
    (package / "entry_points.txt").write_text("[perstack.plugins]\nhouse = house_plugin:make\n")
    (site / "house_plugin.py").write_text(code)


async def test_an_installed_package_is_on_until_it_is_disabled(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    install(
        site,
        "from perstack.domain.ids import ExpertKey\n"
        "from perstack.domain.expert import Expert\n"
        "from perstack.ports.plugins import PluginManifest\n"
        "def make():\n"
        "    mason = ExpertKey('mason')\n"
        "    agent = Expert(key=mason, name='Mason', instruction='Build.', skills={})\n"
        "    return PluginManifest(name='house', version='3.1', agents=(agent,))\n",
    )
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    service, _ = place.service()
    [house] = await service.discover()
    assert (house.status, house.version, house.description) == ("loaded", "3.1", "A house.")
    assert list(service.agents) == ["mason"]
    await service.disable("house")
    assert service.agents == {}
    other, _ = place.service()
    assert [one.status for one in await other.discover()] == ["disabled"]
    with pytest.raises(UsageError, match="is an installed package"):
        await other.remove("house")
    assert (await other.enable("house")).status == "loaded"


async def test_a_package_that_lies_in_the_workspace_was_not_installed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    install(place.workspace, proof(mark) + "make = {}\n")
    monkeypatch.setattr(sys, "path", [str(place.workspace), *sys.path])
    service, _ = place.service()
    assert await service.discover() == []
    assert not mark.exists()
