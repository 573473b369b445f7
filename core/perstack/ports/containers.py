"""What services ask of containers: that a job is driven in one, over the same workspace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId
from perstack.domain.settings import Settings
from perstack.errors import ProgramError

# Where a container has what it is given, and the files that Experts work on.
GIVEN: Final = "/perstack"
SCENARIO: Final = f"{GIVEN}/scenario.toml"
WORKSPACE: Final = "/workspace"


@dataclass(frozen=True, slots=True)
class ContainedJob:
    """A job that a container is to drive.

    `order` (JSON, without any key) is what the program in it is given to read. `experts` are those
    that can take part in the job; of `env`, the project's whole environment, a container gets what
    they and the provider need. `folder` is the folder that the job works in where that is not the
    workspace. `scenario` is a scripted model's file.
    """

    job_id: JobId
    order: str
    experts: Mapping[ExpertKey, Expert]
    settings: Settings
    workspace: Path
    env: Mapping[str, str] = field(repr=False)
    folder: Path | None = None
    scenario: Path | None = None


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a container ended: its exit code, None if unknown, and its last words on stderr."""

    code: int | None
    said: str = ""


class Container(Protocol):
    """A container that drives a job."""

    async def ended(self) -> ContainerEnd:
        """Return how it ended, once it has, and once all that it wrote was heard."""
        ...

    async def interrupt(self) -> None:
        """Ask what runs in it to stop (SIGINT); bounded, and never raises."""
        ...

    async def kill(self) -> None:
        """End it at once; bounded, and never raises."""
        ...


class Containers(Protocol):
    """Where containers come from."""

    async def clear_away(self) -> frozenset[JobId]:
        """End containers whose process is dead; return the jobs that nobody drives now.

        Bounded in time, and never raises: what could not be ended is let be.
        """
        ...

    def open(
        self, job: ContainedJob, heard: Callable[[str], None]
    ) -> AbstractAsyncContextManager[Container]:
        """Build what is needed and start the job's container; `heard` gets lines of its stdout.

        Once the context is left, nothing of it is there any more but the images; that is shielded
        from cancellation and bounded in time.

        Raises:
            ConfigError: something that the job needs cannot be given to a container.
            ProgramError: there is no engine, or it could not build or start the container.
        """
        ...


class _NoContainers:
    async def clear_away(self) -> frozenset[JobId]:
        return frozenset()

    def open(
        self, job: ContainedJob, heard: Callable[[str], None]
    ) -> AbstractAsyncContextManager[Container]:
        del job, heard
        raise ProgramError('Runtime "docker" is not available here')


NO_CONTAINERS: Final[Containers] = _NoContainers()
