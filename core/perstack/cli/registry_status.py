"""`perstack status KEY STATUS`: say whether a version of an Expert may still be run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perstack.cli import registry_asking as r

if TYPE_CHECKING:
    from perstack.domain.registry import RegistryKey, Status


def change_status(
    key: str | None,
    value: str | None,
    workspace: Path,
    config: str | None,
    *,
    trust: bool,
    as_json: bool,
) -> None:
    """Change the status of a version, and print it; what is not given is asked at a terminal.

    Raises:
        UsageError: it is not clear what is meant, and there is no terminal.
        RegistryError: the registry refuses, or cannot be reached.
    """
    from perstack.cli.prompting import cancellable, is_terminal
    from perstack.services.publishing import checked_status, exact_version

    if key is not None and (value is not None or not is_terminal()):
        meant, status = exact_version(key), checked_status(value)
        asking = r.Asking.of(workspace, config, trust=trust)
        asking.needs_key()
    else:
        with cancellable():
            asking, meant, status = _chosen(key, workspace, config, trust)
    changed = asking.ask(lambda registry: registry.set_status(meant, status))
    if as_json:
        r.print_json(r.json_of(changed))
    else:
        r.print_shown(f"Updated {changed.key}", f"  Status: {changed.status}")


def _chosen(
    key: str | None, workspace: Path, config: str | None, trust: bool
) -> tuple[r.Asking, RegistryKey, Status]:
    from perstack.cli.registry_picking import (
        make_sure,
        need_terminal,
        pick_status,
        pick_version,
    )

    need_terminal("perstack status NAME@1.2.3 deprecated")
    asking = r.Asking.of(workspace, config, trust=trust)
    asking.needs_key()
    meant, _ = pick_version(asking, key)
    now = asking.ask(lambda registry: registry.find(meant))
    status = pick_status(meant, now.status)
    make_sure(f"Make {meant} {status}?")
    return asking, meant, status
