"""What the commands of the registry share: where it is, asking it, printing what it says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import completing as c

if TYPE_CHECKING:
    from pydantic import BaseModel

    from perstack.config.registry_place import RegistryPlace
    from perstack.errors import PerstackError
    from perstack.ports.registry import Registry
    from perstack.project import Project

T = TypeVar("T")

Key = Annotated[
    str,
    typer.Argument(metavar="KEY", help="NAME, NAME@1.2.3 or NAME@tag.", autocompletion=c.published),
]
VersionedKey = Annotated[
    str | None,
    typer.Argument(
        metavar="[KEY]",
        help="NAME@1.2.3; at a terminal it is asked for.",
        autocompletion=c.published,
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Accept the registry that this perstack.toml names.")
]


@dataclass(frozen=True, slots=True)
class Asking:
    """A registry to ask, and the project that names it; one without a file is empty."""

    place: RegistryPlace
    project: Project

    @classmethod
    def of(
        cls, workspace: Path, config: str | None, *, trust: bool = False, or_empty: bool = True
    ) -> Asking:
        """Return the registry of a folder, which needs no configuration unless `or_empty` is False.

        Blocks on the disk.

        Raises:
            ConfigError: the configuration or the registry's address cannot be used.
            UntrustedError: a found file or an env file says which registry, and is not accepted.
        """
        from perstack.fetching import place_of_registry
        from perstack.project import open_project

        check_folder(workspace)
        project = open_project(workspace, config, or_empty=or_empty)
        if trust:
            project = _accepted(project, config)
        return cls(place_of_registry(project), project)

    def needs_key(self) -> None:
        """Refuse to change anything without a key: the registry would.

        Raises:
            UsageError: there is none.
        """
        from perstack.errors import UsageError

        if self.place.key is None:
            raise UsageError(
                f"the registry at {self.place.url} wants to know who you are",
                hint="perstack login, or set PERSTACK_API_KEY",
            )

    def ask(self, question: Callable[[Registry], Awaitable[T]]) -> T:
        """Return what `question` is answered by the registry.

        Raises:
            RegistryError: it cannot be reached, refuses, or answers with what cannot be used.
        """
        return asked(self.place, question)


def asked(place: RegistryPlace, question: Callable[[Registry], Awaitable[T]]) -> T:
    """Return what `question` is answered by the registry at `place`.

    Raises:
        RegistryError: it cannot be reached, refuses, or answers with what cannot be used.
    """
    import anyio

    from perstack.cli.looking import say_what_is_logged
    from perstack.cli.patience import said_if_late
    from perstack.engine.groups import unwrapped
    from perstack.errors import PerstackError
    from perstack.fetching import CLOSE_S
    from perstack.integrations.registry_client import HttpRegistry

    async def asking() -> T:
        registry = HttpRegistry(place)
        try:
            async with said_if_late(f"Asking the registry at {place.url} …"):
                return await question(registry)
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await registry.aclose()

    say_what_is_logged()
    try:
        with unwrapped():
            return anyio.run(asking)
    except PerstackError as error:
        _veil(error, place.key)
        raise


def check_folder(workspace: Path) -> None:
    """Refuse a workspace that is none.

    Raises:
        UsageError: there is no such folder.
    """
    from perstack.errors import UsageError

    if not workspace.is_dir():
        raise UsageError(f"there is no folder {str(workspace)!a}", hint="check --workspace")


def json_of(view: BaseModel) -> dict[str, object]:
    """Return a view as JSON has it, without what the registry did not say."""
    return view.model_dump(mode="json", by_alias=True, exclude_none=True)


def print_json(shown: object) -> None:
    """Print JSON in ASCII, so that nothing in it can act on a terminal."""
    import json

    from perstack.cli.printing import print_lines

    print_lines([json.dumps(shown, ensure_ascii=True, indent=2)])


def print_shown(*lines: str) -> None:
    """Print lines for a reader, each on one line and inert."""
    from perstack.cli.printing import print_lines
    from perstack.projection.inert import inert

    print_lines(inert(line, newlines=False) for line in lines)


# ---------------------------------------------------------------- internals


def _accepted(project: Project, config: str | None) -> Project:
    """Return the project with the registry accepted that it names, and nothing else of it."""
    from perstack.fetching import demands_of_place
    from perstack.project import accept, open_project

    accept(project, demands_of_place(project))
    return open_project(project.workspace, config, or_empty=True)


def _veil(error: PerstackError, key: str | None) -> None:
    """Take the key out of what the registry said, which may have repeated it."""
    from perstack.config.secrets import redact

    secrets = [key] if key else []
    error.message = redact(error.message, secrets)
    error.hint = redact(error.hint, secrets) if error.hint else None
    error.args = (error.message,)
