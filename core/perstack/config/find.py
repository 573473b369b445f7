"""Where the configuration file is. Light: front ends ask before they load anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NewType

from perstack.config.report import printable
from perstack.errors import ConfigError

CONFIG_NAME: Final = "perstack.toml"
LOCK_NAME: Final = "perstack.lock"

ConfigUrl = NewType("ConfigUrl", str)

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.*", re.DOTALL)


def find_config(start: Path) -> Path | None:
    """Return the nearest `perstack.toml` in `start` or a folder above it."""
    folder = start.absolute()
    for candidate in (folder, *folder.parents):
        path = candidate / CONFIG_NAME
        try:
            if path.is_file():
                return path
        except OSError:  # a folder above may be closed to us; one further up may not be
            continue
    return None


def locate_config(given: Path | None, *, start: Path) -> Path:
    """Return the `given` path, relative to `start`, or what `find_config` finds.

    Raises:
        ConfigError: there is no such file.
    """
    if given is not None:
        path = start / given
        if not _is_there(path):
            raise not_found(given)
        return path
    found = find_config(start)
    if found is None:
        raise ConfigError(
            f"{CONFIG_NAME} not found. Create one or specify --config path.",
            hint="perstack init or perstack create writes one; or add --config PATH",
        )
    return found


def not_found(path: Path) -> ConfigError:
    """Return the error for a file that was named and is not there."""
    return ConfigError(
        f'Given config path "{name_of(path)}" is not found',
        hint="check the spelling; the path is relative to the current folder",
    )


def name_of(path: Path) -> str:
    """Return the path as a message may show it."""
    return printable(str(path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return True  # reading it will say what is wrong


def locate(workspace: Path, given: str | Path | None) -> Path | ConfigUrl:
    """Return the configuration file that is meant, or the URL that was given.

    Raises:
        ConfigError: there is none.
    """
    if isinstance(given, str) and _URL.fullmatch(given):
        return ConfigUrl(given)
    # What is named is named from where one stands, whatever folder the Experts work in.
    start = workspace.absolute() if given is None else Path.cwd()
    return locate_config(None if given is None else Path(given), start=start)


def find(workspace: Path, given: str | Path | None) -> Path | ConfigUrl | None:
    """Return the configuration file that is meant, None when there is none to be found."""
    if given is not None:
        return locate(workspace, given)
    return find_config(workspace.absolute())
