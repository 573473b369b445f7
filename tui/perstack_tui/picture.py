"""The screen as a picture, without secrets."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from html import escape, unescape
from pathlib import Path
from typing import Final

from perstack.config.secrets import secret_values
from perstack.errors import UsageError
from perstack_tui.text import flat

MASK: Final = "█"
PICTURES: Final = Path("perstack", "pictures")
# Pieces this long of a secret are masked: wrapped and cropped ones are pieces only.
_PIECE: Final = 6
_MOST_NAMES: Final = 1000
_TEXT: Final = re.compile(r"(<text[^>]*>)([^<]*)(</text>)")
_SPACE: Final = "\xa0"


def without_secrets(svg: str, environ: Mapping[str, str]) -> str:
    """Return the picture with every piece of the environment's secrets masked."""
    pieces = {
        secret[at : at + _PIECE]
        for secret in secret_values(environ)
        for at in range(len(secret) - _PIECE + 1)
    }
    if not pieces:
        return svg

    def masked(found: re.Match[str]) -> str:
        before, text, after = found.groups()
        shown = _masked(unescape(text), pieces)
        return before + escape(shown, quote=False).replace(_SPACE, "&#160;") + after

    return _TEXT.sub(masked, svg)


def _masked(text: str, pieces: set[str]) -> str:
    plain = text.replace(_SPACE, " ")
    hidden = {
        at + more
        for at in range(len(plain) - _PIECE + 1)
        if plain[at : at + _PIECE] in pieces
        for more in range(_PIECE)
    }
    return "".join(MASK if at in hidden else sign for at, sign in enumerate(text))


def save_picture(svg: str, environ: Mapping[str, str], folder: Path, path: Path | None) -> Path:
    """Write the picture to `path`, taken from `folder`, or to a new name in its pictures.

    Those lie where snapshots of the files do not take them along. Return where it is.

    Raises:
        OSError: it cannot be written, or `path` is there already.
        UsageError: `path` cannot name a file.
    """
    text = without_secrets(svg, environ)
    if path is not None:
        return _write(_named(folder, path), text)
    pictures = folder / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    stem = time.strftime("cockpit-%Y%m%d-%H%M%S")
    for number in range(_MOST_NAMES):
        try:
            return _write(pictures / f"{stem}{f'-{number}' if number else ''}.svg", text)
        except FileExistsError:
            continue
    raise FileExistsError(17, "every name is taken")


def _named(folder: Path, path: Path) -> Path:
    try:
        wanted = folder / path.expanduser()
        return wanted if wanted.suffix else wanted.with_suffix(".svg")
    except (RuntimeError, ValueError):
        # A home that is nobody's, the root.
        raise UsageError(
            f"{flat(str(path))} cannot name a picture", hint="a file's name, as in here.svg"
        ) from None


def _write(path: Path, text: str) -> Path:
    if "\0" in str(path):
        raise UsageError("a file's name has no null character in it")
    with path.open("x", encoding="utf-8", errors="replace") as file:
        file.write(text)
    return path
