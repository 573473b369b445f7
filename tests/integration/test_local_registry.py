"""The cockpit's own registry and runtime against a real registry on this machine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

from perstack.config.registry_place import URL_VARIABLE, RegistryPlace
from perstack.config.typed import Overrides
from perstack.config.untrusted import UntrustedError
from perstack.domain.ids import ExpertKey, JobId
from perstack.domain.registry import Definition, PublishRequest, Status, parse_key
from perstack.errors import (
    ConfigError,
    ConflictError,
    RegistryError,
    RegistryMissingError,
    RegistryUnreachableError,
    UsageError,
)
from perstack.integrations.registry_client import HttpRegistry
from perstack.ports.frontend import CockpitRequest, Setup
from perstack_tui.local.gateway import open_local_gateway
from perstack_tui.ports.gateway import (
    DefinitionsUpdate,
    Gateway,
    LocalJobsUpdate,
    Trouble,
    Update,
)
from perstack_tui.ports.registry import UntrustedExpertsError
from tests.fakes.consensus import until
from tests.fakes.no_registry import NO_REGISTRY
from tests.fakes.registry_server import RegistryServer, registry_server
from tests.fakes.registry_wire import Fault, answer, drip, endless, refusal, registry_wire, reset

pytestmark = pytest.mark.anyio

PLAY = '[[turns]]\ntext = "Your move."\n'
TEAM = """# the team, by ana
[experts.lead] # leads
instruction = "Lead."
delegates = [
    "hand", # at hand
]

[experts.hand]
instruction = "Do it."
"""
GAME = "tic-tac-toe"


def _npx(package: str) -> dict[str, JsonValue]:
    return {"type": "mcpStdioSkill", "command": "npx", "packageName": package}


class Author:
    """Publishes to the registry, as somebody else would."""

    def __init__(self, server: RegistryServer) -> None:
        self._place = RegistryPlace(server.url, server.key(None))

    @asynccontextmanager
    async def _registry(self) -> AsyncGenerator[HttpRegistry]:
        registry = HttpRegistry(self._place)
        try:
            yield registry
        finally:
            await registry.aclose()

    async def publish(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        delegates: tuple[str, ...] = (),
        skills: dict[str, dict[str, JsonValue]] | None = None,
    ) -> None:
        made = Definition(
            name=name,
            version=version,
            description=f"Plays {name}",
            instruction="Play.\nTo win.",
            skills={"@perstack/base": _npx("@perstack/base")} | (skills or {}),
            delegates=delegates,
        )
        async with self._registry() as registry:
            await registry.publish(PublishRequest.model_validate(made.model_dump()))

    async def set_status(self, key: str, status: Status) -> None:
        async with self._registry() as registry:
            await registry.set_status(parse_key(key), status)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path / "registry") as server:
        monkeypatch.setenv(URL_VARIABLE, server.url)
        yield server


@pytest.fixture
def author(server: RegistryServer) -> Author:
    return Author(server)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing in it but what the scripted model says."""
    made = tmp_path / "project"
    made.mkdir()
    (made / "play.toml").write_text(PLAY)
    return made


class Cockpit:
    """A gateway and everything it told."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.told: list[Update] = []
        self._news = anyio.Event()

    def take(self, update: Update) -> None:
        self.told.append(update)
        self._news.set()
        self._news = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        with anyio.fail_after(20):
            while not condition():
                await self._news.wait()

    @property
    def definitions(self) -> DefinitionsUpdate:
        return [update for update in self.told if isinstance(update, DefinitionsUpdate)][-1]

    @property
    def warnings(self) -> list[str]:
        found = [update for update in self.told if isinstance(update, Trouble)]
        return [update.message for update in found if update.is_warning]

    async def ended(self, job_id: JobId) -> None:
        def is_over() -> bool:
            told = [one.job_ids for one in self.told if isinstance(one, LocalJobsUpdate)]
            return bool(told) and job_id not in told[-1]

        await self.until(is_over)


@asynccontextmanager
async def cockpit(folder: Path, *, yes: bool = False) -> AsyncGenerator[Cockpit]:
    config = folder / "perstack.toml"
    typed = Overrides(provider="scripted", scenario="play.toml")
    setup = Setup(config if config.exists() else None, typed, yes=yes)
    gateway = await open_local_gateway(CockpitRequest(workspace=folder, runtime=setup))
    opened = Cockpit(gateway)

    async def consume() -> None:
        async with aclosing(gateway.updates()) as updates:
            async for update in updates:
                opened.take(update)

    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await opened.until(lambda: any(isinstance(u, DefinitionsUpdate) for u in opened.told))
        try:
            yield opened
        finally:
            await gateway.aclose()
            group.cancel_scope.cancel()


async def test_the_registry_is_searched_and_read(author: Author, folder: Path) -> None:
    for name in (GAME, "chess"):
        await author.publish(name)
    await author.publish(GAME, "1.1.0", delegates=("chess",))
    async with cockpit(folder) as opened:
        catalog = opened.gateway.registry
        shown = await catalog.search("")
        assert ([one.key for one in shown.experts], shown.total) == (
            ["chess@1.0.0", "tic-tac-toe@1.1.0"],
            2,
        )
        assert [one.name for one in (await catalog.search("tac")).experts] == [GAME]
        assert (await catalog.search("", take=1, skip=1)).experts[0].name == GAME
        card = await catalog.read(f"{GAME}@1.0.0")
        assert card.expert.instruction == "Play.\nTo win."
        assert [each.version for each in card.versions.versions] == ["1.1.0", "1.0.0"]
        assert (await catalog.read(GAME)).expert.delegates == ("chess",)
        with pytest.raises(RegistryMissingError):
            await catalog.read("nobody")
        with pytest.raises(UsageError):
            await catalog.read("../../etc/passwd")


async def test_nobody_there_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, NO_REGISTRY)
    async with cockpit(folder) as opened:
        with pytest.raises(RegistryUnreachableError):
            await opened.gateway.registry.search("")
        with pytest.raises(RegistryError, match=GAME):
            await opened.gateway.start(ExpertKey(GAME), "Let's play!")


async def test_one_runs_in_an_empty_folder_once_its_card_was_accepted(
    author: Author, server: RegistryServer, folder: Path
) -> None:
    # Only what is started opens its skills: the scripted model delegates to nobody.
    await author.publish("rules", skills={"web": _npx("@acme/w")})
    await author.publish(GAME, delegates=("rules",))
    key = ExpertKey(GAME)
    async with cockpit(folder) as opened:
        assert opened.definitions.path is None
        assert opened.definitions.builtins
        with pytest.raises(UntrustedExpertsError) as refused:
            await opened.gateway.start(key, "Let's play!")
        demands = refused.value.demands
        assert [demand.kind for demand in demands] == ["expert", "expert"]
        card = "\n".join(line for lines in refused.value.cards.values() for line in lines)
        for said in ("npx @acme/w", "To win.", "rules", "acme", server.url, "sha256-"):
            assert said in card
        assert sorted(refused.value.cards) == sorted(demands)
        await opened.gateway.accept(demands)
        await opened.ended(await opened.gateway.start(key, "Let's play!"))
        assert not opened.warnings
        await author.set_status(f"{GAME}@1.0.0", "deprecated")
        await opened.ended(await opened.gateway.start(key, "Again"))
        await opened.until(lambda: bool(opened.warnings))
        assert "deprecated" in opened.warnings[0]
        server.stop()
        job_id = await opened.gateway.start(key, "Once more")
        await opened.ended(job_id)
        await opened.until(lambda: any("cannot be reached" in one for one in opened.warnings))
        await opened.gateway.follow_up(job_id, "And again")
        await opened.ended(job_id)
    assert not (folder / "perstack.toml").exists()
    assert not (folder / "perstack.lock").exists()


async def test_yes_accepts_as_the_cockpit_opens_and_the_lock_says_so(
    author: Author, folder: Path
) -> None:
    await author.publish("hand2")
    (folder / "perstack.toml").write_text(TEAM.replace('"hand",', '"hand2",'))
    async with cockpit(folder, yes=True) as opened:
        await opened.ended(await opened.gateway.start(ExpertKey("lead"), "Lead on"))
    lock = (folder / "perstack.lock").read_text()
    assert "hand2@1.0.0" in lock
    assert 'accepted = "yes"' in lock


async def test_of_two_that_are_asked_for_only_what_was_accepted_is(
    author: Author, folder: Path
) -> None:
    (folder / "perstack.toml").write_text(TEAM)
    for name in ("one", "two"):
        await author.publish(name)
    async with cockpit(folder) as opened:
        refused: list[UntrustedError] = []
        for name in ("one", "two"):
            with pytest.raises(UntrustedError) as error:
                await opened.gateway.start(ExpertKey(name), "Go")
            refused.append(error.value)
        await opened.gateway.accept(refused[0].demands)
        await opened.ended(await opened.gateway.start(ExpertKey("one"), "Go"))
        with pytest.raises(UntrustedError):
            await opened.gateway.start(ExpertKey("two"), "Go")
    lock = (folder / "perstack.lock").read_text()
    assert lock.count('accepted = "asked"') == 1


async def test_a_found_file_that_names_a_registry_is_judged_before_that_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URL_VARIABLE)
    elsewhere = 'perstackApiBaseUrl = "https://registry.invalid"\n'
    (folder / "perstack.toml").write_text(elsewhere + TEAM)
    async with cockpit(folder) as opened:
        for ask in (
            lambda: opened.gateway.registry.search(""),
            lambda: opened.gateway.registry.read(GAME),
            lambda: opened.gateway.start(ExpertKey(GAME), "Let's play!"),
        ):
            with pytest.raises(UntrustedError, match=r"registry\.invalid"):
                await ask()


async def test_what_a_found_file_asks_for_besides_keeps_nobody_from_looking(
    author: Author, folder: Path
) -> None:
    await author.publish(GAME)
    (folder / "perstack.toml").write_text(f'{TEAM}[notify]\ncommand = ["touch", "told"]\n')
    async with cockpit(folder) as opened:
        assert [one.name for one in (await opened.gateway.registry.search("")).experts] == [GAME]
        assert (await opened.gateway.registry.read(GAME)).expert.name == GAME
        with pytest.raises(UntrustedError, match="touch told"):
            await opened.gateway.start(ExpertKey(GAME), "Let's play!")


async def test_an_env_file_that_names_a_registry_is_judged_before_any_is_asked(
    folder: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(URL_VARIABLE)
    (folder / ".env").write_text(f"{URL_VARIABLE}={server.url}\n")
    # Beside a key of the shell it needs a word, also on this machine.
    monkeypatch.setenv("PERSTACK_API_KEY", server.key(None))
    async with cockpit(folder) as opened:
        with pytest.raises(UntrustedError, match=f"set {URL_VARIABLE}=") as caught:
            await opened.gateway.start(ExpertKey(GAME), "Let's play!")
        with pytest.raises(UntrustedError, match=f"set {URL_VARIABLE}="):
            await opened.gateway.registry.search("")
        await opened.gateway.accept(caught.value.demands)
        assert (await opened.gateway.registry.search("")).url == server.url


@pytest.mark.parametrize("break_", ["\n", "\r\n"])
async def test_a_delegate_is_added_with_everything_else_as_it_was(
    folder: Path, break_: str
) -> None:
    path = folder / "perstack.toml"
    text = TEAM.replace("\n", break_)
    path.write_bytes(text.encode())
    path.chmod(0o640)
    async with cockpit(folder) as opened:
        catalog = opened.gateway.registry
        draft = await catalog.draft(ExpertKey("lead"), f"{GAME}@1.0.0")
        assert path.read_bytes() == text.encode()
        await catalog.save(draft)
        added = f'    "hand", # at hand{break_}    "{GAME}@1.0.0",{break_}]'
        assert path.read_bytes().decode() == text.replace(f'    "hand", # at hand{break_}]', added)
        assert path.stat().st_mode & 0o777 == 0o640
        assert [one.name for one in folder.iterdir() if one.suffix == ".tmp"] == []
        with pytest.raises(ConflictError, match="meanwhile"):
            await catalog.save(draft)
        with pytest.raises(ConfigError, match="already"):
            await catalog.draft(ExpertKey("lead"), f"{GAME}@1.0.0")
        with pytest.raises(ConfigError, match="would both be the tool"):
            await catalog.draft(ExpertKey("lead"), "@acme/hand")
        await catalog.save(draft.undone)
        assert path.read_bytes() == text.encode()
        assert path.stat().st_mode & 0o777 == 0o640
        with pytest.raises(ConflictError, match="meanwhile"):
            await catalog.save(draft.undone)


async def test_in_a_folder_without_a_file_nothing_can_be_added(folder: Path) -> None:
    async with cockpit(folder) as opened:
        with pytest.raises(ConfigError):
            await opened.gateway.registry.draft(ExpertKey("lead"), GAME)


@pytest.mark.parametrize(
    "fault", [answer({"data": {}}, cut=3), answer({"data": 1}), endless(), reset(), refusal(500)]
)
async def test_what_a_registry_answers_wrongly_is_one_error_and_starts_nothing(
    fault: Fault, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_wire(fault) as wire:
        monkeypatch.setenv(URL_VARIABLE, wire.url)
        async with cockpit(folder) as opened:
            with pytest.raises(RegistryError):
                await opened.gateway.registry.search("")
            with pytest.raises(RegistryError):
                await opened.gateway.registry.read(GAME)
            with pytest.raises(RegistryError):
                await opened.gateway.start(ExpertKey(GAME), "Let's play!")
            assert not [one for one in opened.told if isinstance(one, LocalJobsUpdate)]


async def test_whoever_gives_up_waiting_for_a_slow_registry_has_started_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registry_wire(drip()) as wire:
        monkeypatch.setenv(URL_VARIABLE, wire.url)
        async with cockpit(folder) as opened:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    group.start_soon(opened.gateway.start, ExpertKey(GAME), "Let's play!")
                    await until(lambda: bool(wire.asked))
                    group.cancel_scope.cancel()
            assert not [one for one in opened.told if isinstance(one, LocalJobsUpdate)]
    assert not [*folder.glob("perstack/jobs/*")]
