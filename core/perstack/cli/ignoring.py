"""Keeping records and keys out of a git repository."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_IGNORED: Final = ("perstack/", ".env")
_GIT_WITHIN_S: Final = 5.0
# A folder's own settings name programs that git would start, and may send it to a server.
_GIT: Final = (
    "--no-pager",
    "--literal-pathspecs",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "safe.bareRepository=explicit"),
)
_GIT_ENV: Final[Mapping[str, str]] = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# The user's own settings say which folders git may work in.
_PASSED: Final = ("HOME", "PATH", "XDG_CONFIG_HOME")


def ignore_records(folder: Path, *, always: bool = False) -> tuple[str, ...]:
    """Add to `.gitignore` what is missing there; return the lines that were added.

    Outside of a git repository only `always`.

    Raises:
        StorageError: it cannot be written.
    """
    from perstack.storage.files import explained

    added = missing_lines(folder, always=always)
    if added:
        path = folder / ".gitignore"
        with explained("write", path):
            text = path.read_text("utf-8") if path.exists() else ""
            gap = "" if not text or text.endswith("\n") else "\n"
            with path.open("a", encoding="utf-8") as file:
                file.write(gap + "".join(f"{line}\n" for line in added))
    return added


def missing_lines(folder: Path, *, always: bool = False) -> tuple[str, ...]:
    """Return the lines that `ignore_records` would add.

    Raises:
        StorageError: what is there cannot be read.
    """
    from perstack.storage.files import explained

    if not always and not _in_repository(folder):
        return ()
    path = folder / ".gitignore"
    with explained("read", path):
        text = path.read_text("utf-8") if path.exists() else ""
    lines = [line.strip() for line in text.splitlines()]
    # The last line that fits counts, and a later one may take it back: `!.env`, `!*`.
    after = max((at for at, line in enumerate(lines) if line.startswith("!")), default=-1) + 1
    return tuple(line for line in _IGNORED if line not in lines[after:])


def is_tracked(
    path: Path, env: Mapping[str, str], *, within_s: float = _GIT_WITHIN_S
) -> bool | None:
    """Tell whether git has a file in its index: such a one is never ignored. Blocks.

    None: git is not there, does not answer within `within_s` seconds, or refuses the repository.
    """
    path = path.absolute()
    if not _in_repository(path.parent):
        return False
    if (git := shutil.which("git", path=env.get("PATH", ""))) is None:
        return None

    def ended(*asked: str) -> int | None:
        return _ended([git, *_GIT, "-C", str(path.parent), *asked], env, within_s)

    # What is no git at all ends with 1, too, as a stand-in does where none is installed.
    if ended("rev-parse", "--is-inside-work-tree") != 0:
        return None
    found = ended("ls-files", "--error-unmatch", "--", path.name)
    return found == 0 if found in (0, 1) else None


def _ended(command: Sequence[str], env: Mapping[str, str], within_s: float) -> int | None:
    """Return how git ended, None if it did not. What it says is not read: it may never stop."""
    try:
        return subprocess.run(
            command,
            env={name: env[name] for name in _PASSED if name in env} | _GIT_ENV,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=within_s,
            check=False,
        ).returncode
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def _in_repository(folder: Path) -> bool:
    return any((each / ".git").exists() for each in (folder, *folder.parents))
