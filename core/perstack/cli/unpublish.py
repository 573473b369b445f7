"""`perstack unpublish`: take a version of an Expert out of the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perstack.cli import options as o
from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryKey

Force = Annotated[
    bool, typer.Option("--force", help="Really: nobody can fetch it by name any more.")
]


def unpublish(
    key: r.VersionedKey = None,
    force: Force = False,
    workspace: o.Workspace = o.HERE,
    config: o.Config = None,
    trust: r.Trust = False,
) -> None:
    """Remove a version for good; to warn people off it, deprecate it instead (status).

    Without KEY it is chosen at a terminal.

    Exit codes: 0, also where it is cancelled; 1 it cannot be done, or the registry refuses.
    """
    from perstack.cli.prompting import cancellable

    if key is None:
        with cancellable():
            asking, meant = _chosen(workspace, config, trust)
    else:
        meant = _meant(key, force=force)
        asking = r.Asking.of(workspace, config, trust=trust)
        asking.needs_key()
    asking.ask(lambda registry: registry.unpublish(meant))
    r.print_shown(f"Unpublished {meant}")


def _meant(key: str, *, force: bool) -> RegistryKey:
    """Return the version that is named.

    Raises:
        UsageError: none is, or `--force` was not given.
    """
    from perstack.errors import UsageError
    from perstack.services.publishing import exact_version

    meant = exact_version(key)
    if not force:
        raise UsageError(
            f"nobody could fetch {meant} any more: add --force if that is meant",
            hint=f"to warn them only: perstack status {meant} deprecated",
        )
    return meant


def _chosen(
    workspace: o.Workspace, config: str | None, trust: bool
) -> tuple[r.Asking, RegistryKey]:
    from perstack.cli.registry_picking import make_sure, need_terminal, pick_version

    need_terminal("perstack unpublish NAME@1.2.3 --force")
    asking = r.Asking.of(workspace, config, trust=trust)
    asking.needs_key()
    meant, _ = pick_version(asking, None)
    make_sure(f"Remove {meant} for good?")
    return asking, meant
