"""The real programs of npm's registry, installed once into a cache folder of the machine.

    @pytest.fixture(scope="session")
    def claude() -> Path:
        return npm_program("claude")

Whoever cannot install them skips, and says why. Versions are exact: what they print is theirs to
change.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final[Mapping[str, str]] = {
    "claude": "@anthropic-ai/claude-code@2.1.197",
    "gemini": "@google/gemini-cli@0.61.0",
    "codex": "@openai/codex@0.169.0",
}
BOUND_S: Final = 240
# As the developer has it: tests have a home of their own, where npm knows no registry.
_ENV: Final = dict(os.environ)


def npm_program(name: str) -> Path:
    """Return the path of a program, which is installed now if it is not there yet.

    Skips the test where npm is missing or cannot install it.
    """
    found = _installed(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@functools.cache
def _installed(name: str) -> Path | str:
    npm = shutil.which("npm", path=_ENV.get("PATH"))
    if npm is None:
        return "npm is not installed"
    package = PACKAGES[name]
    cache = Path(tempfile.gettempdir()) / f"perstack-npm-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.is_symlink() or cache.stat().st_uid != os.getuid():
        return f"{cache} is somebody else's"
    folder = cache / package.replace("/", "+").replace("@", "_")
    if not folder.is_dir():
        making = Path(tempfile.mkdtemp(dir=cache))
        if (why := _install(npm, package, making)) is not None:
            shutil.rmtree(making, ignore_errors=True)
            return why
        try:
            making.rename(folder)
        except OSError:  # Another process was faster.
            shutil.rmtree(making, ignore_errors=True)
    program = folder / "node_modules" / ".bin" / name
    return program if program.exists() else f"{package} has no program {name}"


def _install(npm: str, package: str, folder: Path) -> str | None:
    """Install a package; return why that is not possible."""
    words = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), package]
    try:
        made = subprocess.run(
            words, capture_output=True, text=True, timeout=BOUND_S, check=False, env=_ENV
        )
    except subprocess.TimeoutExpired:
        return f"npm did not install {package} within {BOUND_S} s"
    return None if made.returncode == 0 else f"npm cannot install {package}: no registry answers"
