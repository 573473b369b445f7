"""What a cockpit opens with, from the user's files; and keeping what it remembers of a folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perstack.config.secrets import redact, secret_values
from perstack.errors import ConfigError
from perstack_tui.palettes import SHIPPED, Palette, read_own, unknown_theme
from perstack_tui.places import Places, places_of
from perstack_tui.settings import Settings, auto_borders, read_settings
from perstack_tui.state.session import Session, redacted

LARGEST: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was found. `trouble` says in words which file could not be used."""

    theme: str
    settings: Settings
    places: Places
    own_palettes: Mapping[str, Palette]
    session: Session | None
    trouble: str | None = None


def recall(workspace: Path, theme: str | None, environ: Mapping[str, str]) -> Recalled:
    """Read the user's files for a cockpit on `workspace`; `theme` is what the user asked for.

    Settings that cannot be used are as if there were none: the cockpit says so once it is open.

    Raises:
        UsageError: there is no theme of that name.
    """
    places = places_of(workspace, environ)
    try:
        settings = read_settings(places.settings, environ)
    except ConfigError:
        settings = Settings(borders=auto_borders(environ))
    own, _ = read_own(places.themes)
    names = (*SHIPPED, *own)
    if theme is not None and theme not in names:
        raise unknown_theme(theme, names)
    if settings.theme not in names:
        settings = replace(settings, theme="dark")
    session, trouble = read_session(places.session)
    return Recalled(
        theme or _remembered(session, settings, names) or settings.theme,
        settings,
        places,
        own,
        session,
        trouble,
    )


def _remembered(session: Session | None, settings: Settings, names: tuple[str, ...]) -> str | None:
    """Return the theme chosen here, unless the settings name another one by now."""
    if session is None or session.theme not in names or session.theme_over != settings.theme:
        return None
    return session.theme


def read_session(file: Path) -> tuple[Session | None, str | None]:
    """Return what is remembered; None with a reason when it cannot be used."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"what was remembered of this folder cannot be read: {error.strerror}"
    try:
        return Session.model_validate_json(data), None
    except ValidationError:
        return None, f"what was remembered of this folder is damaged and left aside: {file}"


def write_session(session: Session, file: Path, environ: Mapping[str, str]) -> None:
    """Replace the file, which only its owner may read; nothing that looks secret is in it.

    Raises:
        OSError: it cannot be written.
    """
    known = secret_values(environ)
    text = redacted(session, partial(redact, secrets=known)).model_dump_json(exclude_defaults=True)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        with os.fdopen(os.open(aside, flags, 0o600), "w", encoding="utf-8") as opened:
            opened.write(text)
        aside.replace(file)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
