"""`perstack config`: how a configuration is understood, and the schema that editors take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import options as o

if TYPE_CHECKING:
    from perstack.cli.config_report import Checked
    from perstack.cli.known_tools import KnownTools
    from perstack.config.lockfile import Lock
    from perstack.config.report import ConfigWarning
    from perstack.config.untrusted import Demand
    from perstack.domain.ids import ExpertKey
    from perstack.errors import ConfigError
    from perstack.project import Project

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def config_app() -> typer.Typer:
    """Return the `config` commands."""
    app = typer.Typer(
        name="config",
        help="Check perstack.toml.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.command(name="check")(check)
    app.command(name="schema")(schema)
    return app


def check(config: o.Config = None, workspace: o.Workspace = o.HERE, as_json: Json = False) -> None:
    """Print how perstack.toml was understood, and every warning with its line and remedy.

    Starts nothing and asks no vendor. Exit codes: 0 it can be used, 1 it is refused.
    """
    from perstack.cli.config_report import as_json as json_of
    from perstack.cli.config_report import as_lines
    from perstack.errors import ConfigError, UsageError
    from perstack.projection.inert import inert

    if not workspace.is_dir():
        raise UsageError(f"{workspace} is not a folder")
    try:
        checked = _check(workspace.absolute(), config)
    except ConfigError as error:
        _refuse(error, as_json=as_json)
        raise
    if as_json:
        _print_json(json_of(checked))
        return
    for line in as_lines(checked):
        typer.echo(inert(line))


def schema() -> None:
    """Print the JSON Schema of perstack.toml, for editors that complete and check it."""
    from perstack.config.schema import shipped_schema

    typer.echo(shipped_schema(), nl=False)


def _check(workspace: Path, config: str | None) -> Checked:
    from perstack.cli.config_report import Checked
    from perstack.cli.known_tools import known_tools
    from perstack.config.find import locate
    from perstack.config.load import parse_source, read_source
    from perstack.config.typed import Overrides
    from perstack.project import project_of
    from perstack.storage.database.opener import place_of
    from perstack.wiring import database_target

    source = locate(workspace, config)
    data = read_source(source)
    loaded = parse_source(source, data, workspace=workspace)
    project = project_of(workspace, loaded, Overrides(), named=config is not None)
    used = project.config
    lock, about_lock = _lock_of(project)
    tools = {key: known_tools(expert, used.experts, lock) for key, expert in used.experts.items()}
    warnings = (
        *used.warnings,
        *_collisions(used.shown_source, data, tools),
        *about_lock,
        *(() if used.experts else (_no_experts(),)),
        *project.env.warnings,
    )
    return Checked(
        source=used.shown_source,
        text_hash=used.text_hash,
        settings=used.settings,
        env_paths=used.env_paths,
        experts=used.experts,
        tools=tools,
        demands=_demands(project),
        warnings=tuple(sorted(warnings, key=_place)),
        database=place_of(database_target(workspace)),
    )


def _no_experts() -> ConfigWarning:
    from perstack.config.report import ConfigWarning

    hint = 'write [experts.NAME] with instruction = """..."""'
    return ConfigWarning(None, "experts", "no Expert is defined", hint)


def _place(warning: ConfigWarning) -> tuple[bool, int]:
    """Order by line; what has none comes last."""
    return warning.line is None, warning.line or 0


def _demands(project: Project) -> dict[Demand, bool]:
    """Return what the project asks for, and whether the user has accepted it."""
    own = project.config.demands()
    asked = (*own, *project.env.demands)
    lacking = project.trust.lacking(asked, own=own)
    return {demand: demand not in lacking for demand in asked}


def _lock_of(project: Project) -> tuple[Lock | None, tuple[ConfigWarning, ...]]:
    """Return the lock file that a run would use, and what is wrong with one it would not."""
    from perstack.config.lockfile import INSTALL, LOCK_NAME, lock_path, read_lock
    from perstack.config.report import ConfigWarning
    from perstack.errors import ConfigError

    path = lock_path(project.config)
    try:
        lock = read_lock(path) if path else None
    except ConfigError as error:
        return None, (ConfigWarning(None, LOCK_NAME, error.message, error.hint),)
    if lock is None or not lock.is_of_tools:
        return None, ()
    if lock.text_hash != project.config.text_hash:
        fault = "was made from another state of the configuration and is not used"
        return None, (ConfigWarning(None, LOCK_NAME, fault, f"write it anew: {INSTALL}"),)
    return lock, ()


def _collisions(
    name: str, data: bytes, tools: dict[ExpertKey, KnownTools]
) -> tuple[ConfigWarning, ...]:
    from perstack.config.report import Report

    report = Report(name, data.decode("utf-8-sig").replace("\r\n", "\n"))
    for known in tools.values():
        for collision in known.collisions:
            report.warn(collision.key, collision.message, collision.hint)
    return report.warnings


def _refuse(error: ConfigError, *, as_json: bool) -> None:
    """End the program with all problems, not only the first ones; return if it has no list."""
    from perstack.cli.config_report import warning_json
    from perstack.cli.listeners import say
    from perstack.config.report import RefusedConfigError

    refused = error if isinstance(error, RefusedConfigError) else None
    problems = refused.problems if refused is not None else ()
    warnings = refused.warnings if refused is not None else ()
    first, _, _ = error.message.partition("\n")
    if as_json:
        told = {
            "problems": [warning_json(problem) for problem in problems],
            "warnings": [warning_json(warning) for warning in warnings],
        }
        _print_json({"ok": False, "error": first, "hint": error.hint, **told})
    elif problems:
        say(f"Error: {first}")
        for problem in problems:
            say(f"  - {problem.with_hint()}")
        for warning in warnings:
            say(f"Warning: {warning.with_hint()}")
        say(f"Hint: {error.hint}")
    else:
        return
    raise typer.Exit(error.exit_code)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True))
