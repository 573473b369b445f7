"""`perstack init`: the files that a new project begins with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from perstack.cli import agent_options as a
from perstack.cli.ignoring import ignore_records

EXISTS: Final = "Project already initialized. Use --force to overwrite."

Where = Annotated[
    Path,
    typer.Option("-d", "--directory", "--path", metavar="DIR", help="The project's folder."),
]
Force = Annotated[bool, typer.Option("-f", "--force", help="Replace a perstack.toml.")]


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made. `ignored` are the lines that were added to `.gitignore`."""

    config: str
    plugins: str
    provider: str
    needs: tuple[str, ...]
    ignored: tuple[str, ...]


def init(directory: Where = Path(), force: Force = False, as_json: a.Json = False) -> None:
    """Make a folder a project: a perstack.toml with a small team, and a folder for plugins.

    Exit codes: 0; 1 there is a perstack.toml already; 5 something cannot be written.
    """
    from perstack.cli.printing import print_lines

    made = _make(directory.absolute(), force=force)
    print_lines([json.dumps(asdict(made), indent=2)] if as_json else _lines(made, directory))


def _make(folder: Path, *, force: bool) -> _Made:
    """Make what is missing.

    Raises:
        UsageError: there is a `perstack.toml`, and it is not to be replaced.
        StorageError: something cannot be written.
    """
    from perstack.config.find import CONFIG_NAME
    from perstack.config.process_env import process_environment
    from perstack.config.provider_keys import has_credentials, variables_of
    from perstack.config.starter import starter_provider, starter_toml
    from perstack.errors import ConflictError, UsageError
    from perstack.storage.files import explained
    from perstack.storage.new_file import new_file

    env = process_environment()
    provider, path = starter_provider(env), folder / CONFIG_NAME
    if path.exists() and not force:
        raise UsageError(EXISTS)
    with explained("make", folder / "plugins"):
        (folder / "plugins").mkdir(parents=True, exist_ok=True)
    try:
        with new_file(path, replaces=force, shared=True) as file:
            file.write(starter_toml(provider))
    except ConflictError as error:
        raise UsageError(EXISTS) from error
    needs = () if has_credentials(provider, env) else variables_of(provider)
    return _Made(str(path), str(folder / "plugins"), provider, needs, ignore_records(folder))


def _lines(made: _Made, directory: Path) -> Iterator[str]:
    from perstack.projection.inert import inert

    yield inert(f"Wrote {made.config}", newlines=False)
    yield inert(f"Made  {made.plugins}", newlines=False)
    if made.ignored:
        yield f"Added to .gitignore: {', '.join(made.ignored)}"
    yield ""
    yield "Next:"
    if directory != Path():
        yield inert(f"  cd {directory}", newlines=False)
    for name in made.needs:
        yield f"  export {name}=...      or write it into .env"
    yield '  perstack start assistant "What is in this folder?"'
    yield "  perstack                 watch whatever runs here"
