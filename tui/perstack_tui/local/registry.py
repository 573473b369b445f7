"""The registry of the project's Experts, and adding one of it to `perstack.toml`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from anyio import to_thread

from perstack.config.load import LoadedConfig, parse_config, read_config
from perstack.config.untrusted import Demand, UntrustedError
from perstack.config_file import save_config
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import ExpertQuery, parse_key
from perstack.errors import ConfigError, ConflictError
from perstack.fetching import open_registry
from perstack.ports.registry import Registry
from perstack.project import Project
from perstack.projection.expert_card import definition_lines
from perstack_tui.ports.registry import Card, Draft, Shown, UntrustedExpertsError


class LocalCatalog:
    """`project` gives the project as its file stands now."""

    def __init__(self, project: Callable[[], Awaitable[Project]]) -> None:
        self._project = project

    async def search(self, words: str, *, take: int = 50, skip: int = 0) -> Shown:
        """Return Experts whose name or description holds `words`, by name."""
        query = ExpertQuery(filter=words.strip() or None, take=take, skip=skip)
        async with self._open() as registry:
            page = await registry.search(query)
            return Shown(registry.url, page.experts, page.total)

    async def read(self, key: str) -> Card:
        """Return an Expert with its versions."""
        wanted = parse_key(key)
        async with self._open() as registry:
            expert = await registry.find(wanted)
            return Card(registry.url, expert, await registry.versions(wanted))

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Registry]:
        """Open the registry, once the file may say where it is; to look, nothing else is needed."""
        async with open_registry(await self._project()) as registry:
            yield registry

    async def draft(self, expert: ExpertKey, delegate: str) -> Draft:
        """Return what adding `delegate` to one of the project's own Experts would change."""
        project = await self._project()
        return await to_thread.run_sync(partial(_draft, project.config, expert, delegate))

    async def save(self, draft: Draft) -> None:
        """Write what was drafted, whole or not at all."""
        await to_thread.run_sync(_save, draft)


def _draft(config: LoadedConfig, expert: ExpertKey, delegate: str) -> Draft:
    from perstack.config.toml_edit import add_delegate

    if config.url is not None:
        raise ConfigError(
            "the configuration is read from a URL, where nothing can be written",
            hint="add the delegate where the file is kept",
        )
    before = _text_of(config.path)
    after = add_delegate(before, expert, delegate)
    # What could not be used is said before anybody is asked to confirm it.
    parse_config(config.path, after.encode())
    return Draft(config.path, expert, delegate, before, after)


def _save(draft: Draft) -> None:
    if _text_of(draft.path) != draft.before:
        raise ConflictError(f"{draft.path.name} was saved by somebody else meanwhile")
    save_config(draft.after, draft.path)


def _text_of(path: Path) -> str:
    """Return a configuration's text with its own line breaks and byte order mark."""
    data = read_config(path)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not UTF-8 text") from error


def with_cards(project: Project, error: UntrustedError) -> UntrustedExpertsError:
    """Return the error with all that the Experts are that it asks for."""
    cards: Mapping[Demand, tuple[str, ...]] = {
        demand: tuple(definition_lines(expert))
        for expert in project.fetched.values()
        for demand in project.config.demands([expert])
        if demand.kind == "expert"
    }
    # What was asked for first, then what it delegates to.
    order = {demand: at for at, demand in enumerate(cards)}
    demands = tuple(sorted(error.demands, key=lambda demand: order.get(demand, -1)))
    return UntrustedExpertsError(project.config.path, demands, cards)
