"""What the commands over the shared tables have in common: options, and the way to the services.

Who only looks or writes rows needs no model: none is opened, and no key is asked for.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli.agent_options import Place

if TYPE_CHECKING:
    from pydantic import BaseModel, JsonValue

    from perstack.coordination import Coordination
    from perstack.domain.ids import SessionId
    from perstack.project import Project
    from perstack.wiring import ProjectFacts, Tables

T = TypeVar("T")

Limit = Annotated[int, typer.Option("-l", "--limit", metavar="N", help="At most so many.")]
Offset = Annotated[int, typer.Option("-o", "--offset", metavar="N", help="Leave out the first N.")]
Metadata = Annotated[
    str | None,
    typer.Option(
        "--metadata", metavar="JSON", help="A JSON object kept beside it; @FILE reads it."
    ),
]


def noun(name: str, about: str, commands: Iterable[Callable[..., None]]) -> typer.Typer:
    """Return the commands of a noun; each is named as its function."""
    app = typer.Typer(name=name, help=about, no_args_is_help=True, rich_markup_mode=None)
    for command in commands:
        app.command(name=command.__name__.rstrip("_").replace("_", "-"))(command)
    return app


def nothing_there(place: Place) -> bool:
    """Tell whether nothing was ever written in the workspace: looking makes no database.

    Raises:
        UsageError: there is no such folder.
    """
    from perstack.wiring import has_database

    place.check()
    return not has_database(place.workspace)


def refuse_empty(place: Place, message: str) -> None:
    """Raise where nothing was ever written.

    Raises:
        NotFoundError: nothing was.
        UsageError: there is no such folder.
    """
    from perstack.errors import NotFoundError

    if nothing_there(place):
        raise NotFoundError(message, hint="nothing was ever kept in this folder; check --workspace")


def project_of(place: Place, *, writes: bool) -> Project:
    """Return the project; without a configuration it has the built-in Experts.

    What `writes` goes by the configuration's rules, such as consensus, so a mistake in it ends it.
    Who only looks is warned.

    Raises:
        ConfigError: the configuration cannot be used.
        UsageError: there is no such folder.
    """
    from perstack.config.find import CONFIG_NAME, find_config
    from perstack.config.load import parse_config
    from perstack.config.typed import Overrides
    from perstack.project import project_of as of

    place.check()
    is_there = place.config is not None or find_config(place.workspace) is not None
    found = (place.project() if writes else place.usable_project()) if is_there else None
    if found is not None:
        return found
    folder = place.workspace.absolute()
    return of(folder, parse_config(folder / CONFIG_NAME, b""), Overrides())


def with_tables(place: Place, ask: Callable[[Tables, ProjectFacts | None], Awaitable[T]]) -> T:
    """Return what `ask` does with the workspace's tables; no configuration is read.

    Raises:
        UsageError: there is no such folder.
    """
    return with_facts(place, None, ask)


def with_facts(
    place: Place,
    project: Project | None,
    ask: Callable[[Tables, ProjectFacts | None], Awaitable[T]],
) -> T:
    """As `with_tables`, with what the services need to know of the project."""
    import anyio

    from perstack.cli.looking import say_what_is_logged
    from perstack.engine.groups import unwrapped
    from perstack.wiring import open_tables

    place.check()

    async def run() -> T:
        tables = open_tables(place.workspace.absolute())
        try:
            with unwrapped():
                return await ask(tables, None if project is None else project.facts)
        finally:
            with anyio.move_on_after(3, shield=True):
                await tables.aclose()

    say_what_is_logged()
    return anyio.run(run)


def with_services(
    place: Place, ask: Callable[[Coordination], Awaitable[T]], *, writes: bool, runs: bool = False
) -> T:
    """Return what `ask` does with all services. With `runs` the model is opened beforehand.

    Raises:
        ConfigError: as `project_of`; with `runs`, also where the model cannot be opened.
    """
    import anyio

    from perstack.cli.looking import say_what_is_logged

    project = project_of(place, writes=writes)

    async def run() -> T:
        async with opened(project, runs=runs) as made:
            return await ask(made)

    say_what_is_logged()
    return anyio.run(run)


@asynccontextmanager
async def opened(project: Project, *, runs: bool) -> AsyncGenerator[Coordination]:
    """Open all services of a project, with its model or without one.

    Raises:
        ConfigError: with `runs`, the model cannot be opened.
    """
    from perstack.coordination import open_coordination
    from perstack.engine.groups import unwrapped
    from perstack.runtime import late_model, open_runtime

    model = None if runs else late_model(project)
    with unwrapped():
        async with (
            open_runtime(project, model=model) as runtime,
            open_coordination(runtime) as made,
        ):
            yield made


def json_object(given: str | None, what: str) -> dict[str, JsonValue] | None:
    """Return the JSON object that was typed, or is in the file that `@FILE` names.

    Raises:
        UsageError: it is none.
    """
    from typing import cast

    from perstack.cli.agent_work import text_of
    from perstack.errors import UsageError

    if given is None:
        return None
    try:
        read = cast("JsonValue", json.loads(text_of(given, "File")))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is no JSON", hint=f"""{what} '{{"name": "value"}}'""") from error
    if not isinstance(read, dict):
        raise UsageError(f"{what} is no JSON object", hint=f"""{what} '{{"name": "value"}}'""")
    return read


def where(place: Place) -> str:
    """Return what a command that is printed needs in order to mean the same place."""
    import shlex

    words = [] if str(place.workspace) == "." else ["--workspace", str(place.workspace)]
    words += [] if place.config is None else ["--config", place.config]
    return f" {shlex.join(words)}" if words else ""


def session_of(session: str | None) -> SessionId | None:
    """Return the session that was named."""
    from perstack.domain.ids import SessionId

    return SessionId(session) if session else None


def json_of_many(name: str, found: Sequence[BaseModel]) -> JsonValue:
    """Return a list as the doors give it: how many, and under `name` each."""
    return {"count": len(found), name: [json_of_one(one) for one in found]}


def json_of_one(view: BaseModel) -> JsonValue:
    """Return a view as JSON, without what it lacks."""
    return view.model_dump(mode="json", by_alias=True, exclude_none=True)


def show(as_json: bool, value: Callable[[], JsonValue], lines: Callable[[], Iterable[str]]) -> None:
    """Print what came back as one JSON document, or as lines."""
    from perstack.cli.printing import print_lines

    if as_json:
        print_json(value())
    else:
        print_lines(lines())


def print_json(value: JsonValue) -> None:
    """Print one JSON document; in ASCII, so that nothing in it can act on a terminal."""
    from perstack.cli.printing import print_lines

    print_lines([json.dumps(value, ensure_ascii=True, indent=2)])
