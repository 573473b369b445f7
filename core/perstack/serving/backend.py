"""One workspace as servers serve it: its services over the newest definitions that are valid."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perstack.config.find import CONFIG_NAME, find_config
from perstack.config.known_experts import KnownExperts
from perstack.config.load import parse_config
from perstack.config.typed import Overrides
from perstack.domain.settings import is_of_plugin
from perstack.engine.groups import unwrapped
from perstack.errors import PerstackError, StorageError, UsageError
from perstack.project import Project, open_project, project_of
from perstack.providers.breaker import Breakers
from perstack.wiring import open_tables

if TYPE_CHECKING:
    from perstack.coordination import Coordination
    from perstack.ports.history import History
    from perstack.runtime import Runtime
    from perstack.services.late_model import LateModel
    from perstack.wiring import Tables

LOOK_S: Final = 0.5
CLOSE_S: Final = 5.0
ANSWER_S: Final = 0.05
_LATE: Final = ("jsonschema", "perstack.coordination", "perstack.services.late_model")
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """What is served: a folder, the configuration that was named (else the one that is found)."""

    workspace: Path
    config: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    trust: bool = False

    def read(self) -> Project:
        """Return the project; without a configuration it has the built-in Experts. Blocks.

        Raises:
            ConfigError: the configuration cannot be used, or asks for more than was accepted.
            UsageError: the workspace is no folder.
        """
        folder = self.workspace.absolute()
        if not folder.is_dir():
            raise UsageError(
                f"there is no folder {str(self.workspace)!a}", hint="check --workspace"
            )
        if self.config is None and find_config(folder) is None:
            empty = parse_config(folder / CONFIG_NAME, b"")
            return project_of(folder, empty, self.overrides)
        project = open_project(folder, self.config, self.overrides, trust=self.trust)
        project.admit(project.config.experts)
        return project

    def seen(self) -> object:
        """Return what is another value once the configuration's file has changed. Blocks."""
        path = Path(self.config) if self.config is not None else find_config(self.workspace)
        if path is None:
            return None
        try:
            found = path.stat()
        except (OSError, ValueError):
            return None
        return path, found.st_ino, found.st_mtime_ns, found.st_size


@dataclass(frozen=True, slots=True)
class Served:
    """The services over one reading of the definitions."""

    runtime: Runtime
    coordination: Coordination
    model: LateModel | None

    @property
    def experts(self) -> KnownExperts:
        """The Experts that work can be handed to."""
        return KnownExperts(self.runtime.project.config.experts)

    async def be_able(self) -> None:
        """Open the model, so that a key that is not set is said before work begins.

        Where others execute the Experts, with models of their own, none is opened yet.

        Raises:
            ConfigError: the provider's key is not set, or its settings cannot be used.
        """
        from perstack.runtime import asks_at_once

        if self.model is not None and asks_at_once(self.runtime.project):
            await self.model.open()


class _Generation:
    """A reading of the definitions at work; it is closed once it is old and nobody uses it."""

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.over = anyio.Event()
        self.served: Served | None = None
        self.error: Exception | None = None
        self.users = 0
        self.retired = False

    def let_go(self) -> None:
        """End it if it is no longer needed."""
        if self.retired and self.users == 0:
            self.over.set()


class Backend:
    """Gives the services; each reading of `perstack.toml` opens them anew beside the old ones.

    A file that is broken while it serves changes nothing: `warning` says what is wrong with it.
    """

    def __init__(
        self, place: Place, seen: object, project: Project, tables: Tables, group: TaskGroup
    ) -> None:
        """`seen` is what `place` looked like before `project` was read."""
        self.tables = tables
        self.warning: str | None = None
        self._place = place
        self._project = project
        self._group = group
        self._breakers = Breakers()
        self._changing = anyio.Lock()
        self._seen: object = seen
        self._looked_at = anyio.current_time()
        self._current: _Generation | None = None
        self._prepared = False
        self._on_served: list[Callable[[Served], None]] = []

    def on_served(self, listener: Callable[[Served], None]) -> None:
        """Call `listener`, which must be quick, with the services of this and later readings."""
        self._on_served.append(listener)
        if self._current is not None and self._current.served is not None:
            listener(self._current.served)

    @cached_property
    def history(self) -> History:
        """The workspace's jobs."""
        from perstack.runtime import open_history

        return open_history(self.workspace)

    @property
    def project(self) -> Project:
        """The newest project that is valid."""
        return self._project

    @property
    def workspace(self) -> Path:
        """The folder that is served."""
        return self._project.workspace

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Served]:
        """Give the services; they stay open until the block ends, whatever is saved meanwhile.

        Raises:
            PerstackError: they cannot be opened.
        """
        generation = await self._newest()
        generation.users += 1
        try:
            await generation.ready.wait()
            if generation.served is None or generation.error is not None:
                raise generation.error or StorageError("the services could not be opened")
            yield generation.served
        finally:
            generation.users -= 1
            generation.let_go()

    def prepare(self) -> None:
        """Begin to load what the first call needs, and return; nothing is opened."""
        if not self._prepared:
            self._prepared = True
            self._group.start_soon(_load_soon, name="serve:load")

    async def _newest(self) -> _Generation:
        async with self._changing:
            await self._look()
            current = self._current
            if current is None or current.error is not None:
                current = self._current = _Generation()
                self._group.start_soon(self._serve, current, self._project, name="serve:services")
            return current

    async def _look(self) -> None:
        """Read the definitions again if their file has changed."""
        now = anyio.current_time()
        if now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        seen = await anyio.to_thread.run_sync(self._place.seen)
        # What was refused may be accepted by now, which changes nothing in the file itself.
        if seen == self._seen and self.warning is None:
            return
        try:
            project = await anyio.to_thread.run_sync(self._place.read)
        except PerstackError as error:
            self._seen = seen
            self._warn(f"{error.message}; the definitions before it stay")
            return
        # Not before: whoever is cancelled while reading has read nothing.
        self._seen, self._project, self.warning = seen, project, None
        if self._current is not None:
            self._current.retired = True
            self._current.let_go()
            self._current = None

    def _warn(self, text: str) -> None:
        if text != self.warning:
            _LOG.warning("%s", text)
        self.warning = text

    async def _serve(self, generation: _Generation, project: Project) -> None:
        try:
            await anyio.to_thread.run_sync(load_services)
            from perstack.coordination import open_coordination
            from perstack.program_log import hide_in_log
            from perstack.runtime import late_model, open_runtime

            hide_in_log(project.secrets)
            # A plugin's model is opened by the runtime, once its plugins were looked for.
            foreign = is_of_plugin(project.config.settings.provider.name)
            model = None if foreign else late_model(project, self._breakers)
            with unwrapped():
                async with (
                    open_runtime(
                        project,
                        history=self.history,
                        tables=self.tables,
                        breakers=self._breakers,
                        model=model,
                    ) as runtime,
                    open_coordination(runtime) as coordination,
                ):
                    generation.served = Served(runtime, coordination, model)
                    for listener in self._on_served:
                        listener(generation.served)
                    generation.ready.set()
                    await generation.over.wait()
        except Exception as error:  # noqa: BLE001  whoever asked for the services is told
            generation.error = error
            if generation.served is not None:
                _LOG.warning("closing the services failed", exc_info=error)
        finally:
            generation.ready.set()


def load_services() -> None:
    """Import what the services are made of: half a second that a server's start need not take.

    Blocks. May be called in any thread, again and at once.
    """
    for name in _LATE:
        import_module(name)


async def _load_soon() -> None:
    # Loading takes the interpreter from everything else: what is being answered goes first.
    await anyio.sleep(ANSWER_S)
    await anyio.to_thread.run_sync(load_services)


@asynccontextmanager
async def open_backend(place: Place) -> AsyncGenerator[Backend]:
    """Read the configuration and give the backend; nothing else is opened before it is needed.

    Raises:
        ConfigError, UsageError: as `Place.read`.
    """
    # Seen first: what is saved while it is read is read again.
    seen = await anyio.to_thread.run_sync(place.seen)
    project = await anyio.to_thread.run_sync(place.read)
    tables = open_tables(project.workspace)
    try:
        with unwrapped():
            async with anyio.create_task_group() as group:
                try:
                    yield Backend(place, seen, project, tables, group)
                finally:
                    group.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await tables.aclose()
