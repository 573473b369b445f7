"""Starts the containers of a job, hears what they say, and leaves nothing of them behind."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from perstack.config.process_env import process_environment
from perstack.domain.ids import JobId
from perstack.errors import ConfigError, ProgramError, StorageError
from perstack.ports.containers import GIVEN, SCENARIO, ContainedJob, ContainerEnd
from perstack.runtimes.docker import proxy
from perstack.runtimes.docker.commands import run
from perstack.runtimes.docker.compose import Layout, check_folder, check_place, compose_file
from perstack.runtimes.docker.domains import allowed_domains, commands_of
from perstack.runtimes.docker.engine import Engine, find_engine, open_engine
from perstack.runtimes.docker.handing import handed_over
from perstack.runtimes.docker.images import HOME, built
from perstack.runtimes.docker.indexes import Indexes, build_arguments, find_indexes
from perstack.runtimes.docker.news import tell_access, tell_container
from perstack.runtimes.docker.stale import clear_away, labels_of
from perstack.runtimes.docker.variables import variables_for
from perstack.runtimes.temporary import own_folder

_UP_WITHIN_S: Final = 120.0
_DOWN_WITHIN_S: Final = 30.0
_ASKS_WITHIN_S: Final = 15.0
# A job may take days; what bounds it are its own limits.
_DRIVES_WITHIN_S: Final = 30 * 24 * 3_600.0
_ORDER: Final = f"{GIVEN}/order.json"
_DATABASE: Final = "PERSTACK_DATABASE_URL"


class DockerContainers:
    """Implements `ports.containers.Containers`."""

    async def clear_away(self) -> frozenset[JobId]:
        """End containers whose process is dead; return the jobs that nobody drives now."""
        found = await find_engine(process_environment())
        return await clear_away(found) if isinstance(found, Engine) else frozenset()

    @asynccontextmanager
    async def open(
        self, job: ContainedJob, heard: Callable[[str], None]
    ) -> AsyncGenerator[JobContainer]:
        """Build what is needed and start the job's container; see the port.

        Raises:
            ConfigError: something that the job needs cannot be given to a container.
            ProgramError: there is no engine, or it could not build or start the container.
        """
        around = process_environment()
        await anyio.to_thread.run_sync(_check, job, around)
        values = variables_for(job.experts.values(), job.settings, job.env)
        engine = await open_engine(around)
        await clear_away(engine)
        async with _own_folder() as folder:
            with _written():
                prepared = _prepared(engine, job, folder, around, tuple(sorted(values)))
                layouts = [await prepared]
            engine = replace(engine, env={**engine.env, **values})
            async with _up(engine, layouts[0], folder, heard) as container:
                yield container


@contextmanager
def _written() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"what the container is given cannot be written: {error.strerror}",
            hint="is the disk full, and the workspace yours?",
        ) from error


@asynccontextmanager
async def _own_folder() -> AsyncGenerator[Path]:
    async with AsyncExitStack() as stack:
        with _written():
            folder = await stack.enter_async_context(own_folder("docker"))
        yield folder


async def _prepared(
    engine: Engine,
    job: ContainedJob,
    folder: Path,
    around: Mapping[str, str],
    variables: tuple[str, ...],
) -> Layout:
    """Make the images and write all files."""
    settings = job.settings.runtime.docker
    commands = commands_of(job.experts.values())
    indexes = await find_indexes(commands, around)
    domains = allowed_domains(job.experts.values(), job.settings, job.env, indexes.hosts)
    arguments = await anyio.to_thread.run_sync(build_arguments, around)
    images = await built(engine, settings, commands=commands, arguments=arguments, folder=folder)
    project = f"perstack-{secrets.token_hex(6)}"
    layout = Layout(
        project=project,
        labels=labels_of(project, job.job_id),
        images=images,
        settings=settings,
        workspace=job.workspace.resolve(),
        user=await anyio.to_thread.run_sync(handed_over, job.workspace),
        variables=variables,
        mounts={},
        lists={},
        folders=(job.folder,) if job.folder else (),
        podman=engine.is_podman,
    )
    given = partial(_given, folder, job, indexes)
    mounts = await anyio.to_thread.run_sync(given)
    write = partial(_write, folder, replace(layout, mounts=mounts), domains)
    return await anyio.to_thread.run_sync(write)


class JobContainer:
    """Implements `ports.containers.Container`."""

    def __init__(self, engine: Engine, layout: Layout, heard: Callable[[str], None]) -> None:
        self._engine = engine
        self._layout = layout
        self._heard = heard

    async def ended(self) -> ContainerEnd:
        """Return how it ended, once all that it wrote was heard."""
        name = self._layout.container
        words = ("logs", "--follow", name)
        said = await self._engine.run(
            *words, within_s=_DRIVES_WITHIN_S, heard=self._heard, complained=_log_words
        )
        code = await self._engine.run("wait", name, within_s=_ASKS_WITHIN_S)
        last = code.out.strip()
        tail = said.tail if said.err else ""
        return ContainerEnd(int(last) if last.isdecimal() else None, tail)

    async def interrupt(self) -> None:
        """Ask what runs in it to stop."""
        await self._signal("INT")

    async def kill(self) -> None:
        """End it at once."""
        await self._signal("KILL")

    async def _signal(self, name: str) -> None:
        words = ("kill", "--signal", name, self._layout.container)
        ran = await self._engine.run(*words, within_s=_ASKS_WITHIN_S)
        if not ran.well:
            tell_container("error", f"{name} could not be sent: {ran.tail}")

    async def follow_proxy(self) -> None:
        """Log what the proxy lets pass and what not, until cancelled."""
        words = ("logs", "--follow", self._layout.proxy)
        await self._engine.run(
            *words, within_s=_DRIVES_WITHIN_S, heard=_log_access, complained=_log_access
        )


@asynccontextmanager
async def _up(
    engine: Engine, layout: Layout, folder: Path, heard: Callable[[str], None]
) -> AsyncGenerator[JobContainer]:
    """Start the project; once the context is left, nothing of it is there."""
    compose = (*engine.compose, "-f", str(folder / "docker-compose.yml"), "-p", layout.project)
    tell_container("starting", layout.container)
    try:
        started = await run(
            (*compose, "up", "--detach", "--no-build"), engine.env, within_s=_UP_WITHIN_S
        )
        container = JobContainer(engine, layout, heard)
        if not started.well:
            said = (await engine.run("logs", layout.proxy, within_s=_ASKS_WITHIN_S)).tail
            raise ProgramError(
                f"the container could not be started: {started.tail}",
                hint=f"the proxy says: {said}",
            )
        async with anyio.create_task_group() as group:
            group.start_soon(container.follow_proxy, name="docker: proxy")
            yield container
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            down = (*compose, "down", "--volumes", "--remove-orphans", "--timeout", "2")
            ended = await run(down, engine.env, within_s=_DOWN_WITHIN_S)
            tell_container("stopped", layout.container)
            if not ended.well:
                tell_container("error", f"compose down failed: {ended.tail}")
                await engine.run("rm", "--force", layout.container, layout.proxy)


def _check(job: ContainedJob, around: Mapping[str, str]) -> None:
    """Blocks on the disk."""
    check_place(job.workspace.resolve())
    if job.folder is not None:
        check_place(job.folder.resolve())
        check_folder(job.folder, around)
    if around.get(_DATABASE):
        raise ConfigError(
            "a container keeps its tables in the workspace, not in another database",
            hint=f"unset {_DATABASE}, or run it with --runtime perstack",
        )


def _given(folder: Path, job: ContainedJob, indexes: Indexes) -> dict[str, Path]:
    """Write what the job's container is given; return it by the places that it has there."""
    given = {_ORDER: _file(folder / "order.json", job.order.encode())}
    if job.scenario is not None:
        given[SCENARIO] = _file(folder / "scenario.toml", _read(job.scenario))
    if indexes.npmrc is not None:
        given[f"{HOME}/.npmrc"] = _file(folder / "npmrc", indexes.npmrc.encode())
    if indexes.uv_toml is not None:
        given["/etc/uv/uv.toml"] = _file(folder / "uv.toml", indexes.uv_toml.encode())
    return given


def _write(folder: Path, layout: Layout, domains: tuple[str, ...]) -> Layout:
    """Write the lists of allowed names and the compose file; return the layout with the lists."""
    lists = {
        name: _file(folder / "proxy" / name, text.encode())
        for name, text in proxy.lists(domains).items()
    }
    layout = replace(layout, lists=lists)
    _file(folder / "docker-compose.yml", compose_file(layout).encode())
    return layout


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o644)  # the folder is closed; whoever the container runs as reads it
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the scenario {path} cannot be read: {error.strerror}") from error


def _log_words(line: str) -> None:
    tell_container("running", line)


def _log_access(line: str) -> None:
    if (said := proxy.decision(line)) is not None:
        tell_access(said)
