"""Where the user's files are: settings and themes, and what a cockpit remembers of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

CONFIG_VARIABLE: Final = "PERSTACK_COCKPIT_CONFIG"


@dataclass(frozen=True, slots=True)
class Places:
    """`session` is of one workspace; the others are the user's everywhere."""

    settings: Path
    themes: Path
    session: Path


def places_of(workspace: Path, environ: Mapping[str, str]) -> Places:
    """Return where the files are; `PERSTACK_COCKPIT_CONFIG` names another file of settings."""
    from platformdirs import PlatformDirs

    folders = PlatformDirs("perstack", appauthor=False)
    named = environ.get(CONFIG_VARIABLE)
    config = Path(folders.user_config_path)
    settings = Path(named).expanduser().absolute() if named else config / "cockpit.toml"
    name = sha256(str(workspace.absolute()).encode(errors="surrogateescape")).hexdigest()[:16]
    session = Path(folders.user_state_path) / "cockpit" / f"{name}.json"
    return Places(settings, config / "themes", session)
