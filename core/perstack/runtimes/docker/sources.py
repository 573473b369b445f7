"""What of this installation goes into an image: its own modules, and its libraries by version."""

from __future__ import annotations

import hashlib
import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import perstack

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Nobody looks at a screen in a container.
_LEFT_OUT: Final = frozenset({"textual"})
_NOT_COPIED: Final = ("__pycache__", "*.pyc")


def pinned_requirements() -> tuple[str, ...]:
    """Return what the runtime needs, each library with the version that is installed here."""
    found: dict[str, str] = {}
    todo = ["perstack"]
    while todo:
        name = todo.pop()
        try:
            at = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform
        key = _plain(name)
        if key in found or key in _LEFT_OUT:
            continue
        found[key] = at.version
        for line in at.requires or ():
            needed = _NAME.match(line)
            if needed is not None and "extra ==" not in line:
                todo.append(needed[0])
    return tuple(f"{name}=={found[name]}" for name in sorted(found) if name != "perstack")


def copy_sources(folder: Path) -> None:
    """Copy our own modules to `folder`/perstack. Blocks on the disk."""
    ignore = shutil.ignore_patterns(*_NOT_COPIED)
    shutil.copytree(_root(), folder / "perstack", ignore=ignore)


def digest_of_sources() -> str:
    """Return a digest of our own modules. Blocks on the disk."""
    digest = hashlib.sha256()
    root = _root()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _root() -> Path:
    return Path(perstack.__file__).parent


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
