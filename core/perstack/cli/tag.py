"""`perstack tag`: say which tags lead to a version of an Expert in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import options as o
from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryKey

Tags = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TAG]...", help="All tags that it gets; they leave other versions."),
]
NoTags = Annotated[bool, typer.Option("--none", help="Take all its tags away.")]


def tag(
    key: r.VersionedKey = None,
    tags: Tags = None,
    none: NoTags = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
) -> None:
    """Set the tags of a version, such as stable, so that NAME@stable is that version.

    The tag latest moves by itself. Without tags they are asked for at a terminal.

    Exit codes: 0, also where it is cancelled; 1 it cannot be done, or the registry refuses.
    """
    from perstack.cli.prompting import cancellable, is_terminal
    from perstack.services.publishing import exact_version

    if key is not None and (tags or none or not is_terminal()):
        meant, wanted = exact_version(key), _wanted(tags or [], none=none)
        asking = r.Asking.of(workspace, config, trust=trust)
        asking.needs_key()
    else:
        with cancellable():
            asking, meant, wanted = _chosen(key, workspace, config, trust)
    changed = asking.ask(lambda registry: registry.set_tags(meant, wanted))
    r.print_shown(f"Updated {changed.key}", f"  Tags: {', '.join(changed.tags) or 'none'}")


def _wanted(tags: list[str], *, none: bool) -> tuple[str, ...]:
    """Return the tags that were asked for.

    Raises:
        UsageError: there are none, or both some and none.
    """
    from perstack.errors import UsageError
    from perstack.services.publishing import checked_tags

    if not none:
        return checked_tags(tags)
    if tags:
        raise UsageError("--none and tags do not fit together", hint="leave one of them out")
    return ()


def _chosen(
    key: str | None, workspace: o.Workspace, config: str | None, trust: bool
) -> tuple[r.Asking, RegistryKey, tuple[str, ...]]:
    from perstack.cli.registry_picking import make_sure, need_terminal, pick_tags, pick_version

    need_terminal("perstack tag NAME@1.2.3 TAG...")
    asking = r.Asking.of(workspace, config, trust=trust)
    asking.needs_key()
    meant, versions = pick_version(asking, key)
    wanted = pick_tags(meant, versions)
    make_sure(f"Tag {meant} with {', '.join(wanted)}?")
    return asking, meant, wanted
