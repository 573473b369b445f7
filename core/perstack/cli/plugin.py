"""`perstack plugin`: which plugins there are, and which of them may run.

Code of the workspace runs only once its user enabled it, with the content that was enabled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perstack.cli import agent_options as a
from perstack.cli import options as o
from perstack.cli import services as s

if TYPE_CHECKING:
    from perstack.domain.plugins import PluginInfo
    from perstack.services.plugins import PluginService
    from perstack.wiring import ProjectFacts, Tables

T = TypeVar("T")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name.")]
Folder = Annotated[
    Path, typer.Argument(metavar="PATH", help="Its folder; packages are installed with pip.")
]
Options = Annotated[
    str | None,
    typer.Option("--options", metavar="JSON", help="What its init is given; @FILE reads it."),
]
Digest = Annotated[
    str | None,
    typer.Option(
        "--digest", metavar="HASH", help="Only if that is still its content: plugin list."
    ),
]


def plugin_app() -> typer.Typer:
    """Return the `plugin` commands."""
    app = s.noun(
        "plugin",
        "Plugins: code that brings agents, tools, hooks and providers.",
        (list_, install, remove, enable, disable),
    )
    app.command(name="add", help="As install.")(install)
    return app


def list_(
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """List the plugins that are there. None of their code runs."""
    from perstack.projection.plugin_text import plugin_rows

    async def ask(plugins: PluginService) -> list[PluginInfo]:
        return list(await plugins.discover(load=False))

    place = a.Place(workspace, config, trust)
    nothing = s.nothing_there(place) and not _may_be(place)
    found = [] if nothing else _with_plugins(place, ask, writes=False)
    s.show(as_json, lambda: s.json_of_many("plugins", found), lambda: plugin_rows(found))


def install(
    folder: Folder,
    options: Options = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Agree to the plugin in a folder as it is now, and load it, now and later.

    Exit codes: 0 loaded, 1 it is no plugin or could not be loaded, 4 its name is taken.
    """
    given = s.json_object(options, "--options")

    async def ask(plugins: PluginService) -> PluginInfo:
        return await plugins.install(folder.absolute(), config=given)

    _show_loaded(as_json, _with_plugins(a.Place(workspace, config, trust), ask, writes=True))


def enable(
    name: Name,
    digest: Digest = None,
    options: Options = None,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Agree to a plugin that is there, as it is now, and load it.

    Exit codes: 0 loaded, 1 it could not be loaded, 4 there is none, or it was changed.
    """
    given = s.json_object(options, "--options")

    async def ask(plugins: PluginService) -> PluginInfo:
        return await plugins.enable(name, digest=digest, config=given)

    _show_loaded(as_json, _with_plugins(a.Place(workspace, config, trust), ask, writes=True))


def disable(
    name: Name,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Stop a plugin wherever this workspace is opened from now on."""

    async def ask(plugins: PluginService) -> PluginInfo:
        return await plugins.disable(name)

    _show(as_json, _with_plugins(a.Place(workspace, config, trust), ask, writes=False))


def remove(
    name: Name,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: o.TrustOption = False,
    as_json: a.Json = False,
) -> None:
    """Stop a plugin and forget that anybody agreed to it; its files stay where they are."""

    async def ask(plugins: PluginService) -> None:
        await plugins.remove(name)

    _with_plugins(a.Place(workspace, config, trust), ask, writes=False)
    said = "Plugin removed"
    s.show(as_json, lambda: {"success": True, "message": said}, lambda: [f"{said}."])


def _may_be(place: a.Place) -> bool:
    """Tell whether there can be any plugin: looking makes no database."""
    from perstack.wiring import has_plugins

    return has_plugins(place.workspace.absolute(), s.project_of(place, writes=False).facts)


def _show_loaded(as_json: bool, plugin: PluginInfo) -> None:
    _show(as_json, plugin)
    if plugin.status != "loaded":
        raise typer.Exit(1)


def _show(as_json: bool, plugin: PluginInfo) -> None:
    from perstack.projection.plugin_text import plugin_lines

    s.show(as_json, lambda: s.json_of_one(plugin), lambda: plugin_lines(plugin))


def _with_plugins(
    place: a.Place, ask: Callable[[PluginService], Awaitable[T]], *, writes: bool
) -> T:
    from perstack.agent_wiring import open_plugins

    project = s.project_of(place, writes=writes)

    async def over(tables: Tables, _: ProjectFacts | None) -> T:
        async with AsyncExitStack() as stack:
            return await ask(await open_plugins(stack, tables, project))

    return s.with_facts(place, project, over)
