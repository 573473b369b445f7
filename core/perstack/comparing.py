"""Comparing over a project: which model of which provider a contestant asks, and its runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from anyio import to_thread

from perstack.config.model_table import vendor_of
from perstack.config.read_provider import provider_named
from perstack.config.secrets import redact
from perstack.config.typed import Overrides
from perstack.domain.comparisons import Contestant
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import is_program
from perstack.domain.settings import ProviderName, ProviderSettings
from perstack.engine.control import StopControl
from perstack.engine.plan import JobOutcome, Listener
from perstack.errors import ConfigError
from perstack.fetching import carried
from perstack.ports.comparisons import ComparisonStore
from perstack.ports.system import RandomIds, SystemClock
from perstack.project import Project, project_of
from perstack.providers.breaker import Breakers
from perstack.runtime import Runtime, open_runtime
from perstack.services.comparing import Comparing, ContestWish
from perstack.services.runs import check_new

# Those whose models are their own; of the others nobody knows what they serve under a name.
_MAKERS: Final = frozenset({"anthropic", "openai", "google", "deepseek"})


def open_comparisons(workspace: Path) -> ComparisonStore:
    """Return the comparisons of a workspace; nothing is made before one begins."""
    from perstack.storage.comparisons import FileComparisons

    return FileComparisons(workspace, clock=SystemClock())


def comparing_of(
    project: Project, typed: Overrides, *, named: bool, store: ComparisonStore | None = None
) -> Comparing:
    """Return what compares in a project's workspace.

    `typed` holds for each contestant, but for its runtime and its model; `named` says that the user
    named the configuration file.
    """
    return Comparing(
        store or open_comparisons(project.workspace),
        ProjectEntrants(project, typed, named=named),
        project.workspace,
        clock=SystemClock(),
        ids=RandomIds(),
        redact=partial(redact, secrets=project.secrets),
    )


def wish_of(
    project: Project,
    typed: Overrides,
    expert: str,
    query: str,
    contestants: Sequence[Contestant],
    *,
    at_once: int,
    named: bool,
) -> ContestWish:
    """Return what to compare, once it is known that the user accepted all of it. Blocks.

    Raises:
        UsageError: the query is blank or too long.
        UnknownExpertError: there is no such Expert.
        UntrustedError: a contestant would do what was not accepted yet.
        StorageError: a file cannot be read.
    """
    key = ExpertKey(expert)
    check_new(project.experts, key, query)
    entrants = ProjectEntrants(project, typed, named=named)
    for contestant in contestants:
        try:
            made = entrants.project_for(contestant)
        except ConfigError:
            continue  # its row will say so
        made.admit(made.experts)
    return ContestWish(key, query, tuple(contestants), project.snapshots, at_once)


@dataclass(frozen=True, slots=True)
class _Entrant:
    """Implements `services.comparing.Entrant`."""

    runtime: Runtime
    options: tuple[str, ...]

    @property
    def model(self) -> str | None:
        """The model that it asks, None where a program chooses one."""
        settings = self.runtime.project.config.settings
        name = settings.runtime.name
        chooses = is_program(name) and settings.model_of(name) != settings.model
        return None if chooses else settings.model

    async def run(
        self, expert: ExpertKey, query: str, *, listener: Listener, control: StopControl
    ) -> JobOutcome:
        """Run a job until it stops."""
        plan = self.runtime.project.plan()
        return await self.runtime.runs.start(
            plan, expert, query, listener=listener, control=control
        )


class ProjectEntrants:
    """Implements `services.comparing.Entrants`: each contestant is the project in its folder.

    Definitions, environment and consent are the project's own, whose file is not copied for them.
    """

    def __init__(self, project: Project, typed: Overrides, *, named: bool) -> None:
        self._project = project
        self._typed = typed
        self._named = named
        self._breakers = Breakers()

    @asynccontextmanager
    async def open(self, contestant: Contestant, folder: Path) -> AsyncGenerator[_Entrant]:
        """Open one in its folder.

        Raises:
            PerstackError: it cannot be: a key is missing, say.
        """
        project = await to_thread.run_sync(self.project_for, contestant)
        options = await to_thread.run_sync(self._options, contestant)
        moved = replace(project, workspace=folder)
        async with open_runtime(moved, breakers=self._breakers) as runtime:
            yield _Entrant(runtime, options)

    def project_for(self, contestant: Contestant) -> Project:
        """Return the project with a contestant's runtime and model. Blocks on the disk.

        Raises:
            ConfigError: it cannot be used so.
        """
        own = self._project
        typed = self._typed_for(contestant)
        made = project_of(own.workspace, own.file, typed, named=self._named)
        return carried(made, own)

    def _typed_for(self, contestant: Contestant) -> Overrides:
        provider, model = asked_of(contestant, self._project.config.settings.provider)
        typed = replace(
            self._typed,
            runtime=contestant.runtime,
            provider=provider or self._typed.provider,
            model=model or self._typed.model,
        )
        if provider not in (None, "scripted"):
            typed = replace(typed, scenario=None, pace=None)
        return typed

    def _options(self, contestant: Contestant) -> tuple[str, ...]:
        """Return what goes on with its job: nothing of the project's own lies in its folder."""
        config = self._project.config
        paths = (self._project.workspace / path for path in config.env_paths)
        typed = replace(
            self._typed_for(contestant), env_paths=tuple(str(one) for one in paths if one.is_file())
        )
        if config.url is None and not config.path.is_file():
            return (*typed.as_arguments(),)
        # A URL may hold a password, and this is stored.
        source = config.shown_source if config.url is not None else str(config.path.absolute())
        return ("--config", source, *typed.as_arguments())


def asked_of(
    contestant: Contestant, current: ProviderSettings
) -> tuple[ProviderName | None, str | None]:
    """Return the provider and the model that a contestant names; None: as they are anyway.

    PROVIDER/MODEL says both. A model alone is asked of the `current` provider, unless that is a
    vendor at its own address and the table of models knows the model as another vendor's.
    """
    model = contestant.model
    if model is None or is_program(contestant.runtime):
        return None, model
    before, slash, behind = model.partition("/")
    if slash and behind and (named := provider_named(before)) is not None:
        return named, behind
    maker = vendor_of(model)
    if current.name in _MAKERS and current.base_url is None and maker in _MAKERS:
        return provider_named(maker), model
    return None, model
