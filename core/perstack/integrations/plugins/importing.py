"""Running a plugin's modules from the bytes that were hashed, not from files that may have changed.

A folder becomes a package of its own name, whose modules see each other by relative imports
(`from . import other`). Nothing is written into the folder, no byte code either.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from threading import Lock
from types import CodeType, ModuleType
from typing import Final

from perstack.integrations.plugins.content import Content

PREFIX: Final = "perstack_plugin_"


class _ContentLoader(InspectLoader):
    """Loads one module from memory."""

    def __init__(self, source: bytes, origin: str, *, package: bool) -> None:
        self._source = source
        self._origin = origin
        self._package = package

    def is_package(self, fullname: str) -> bool:
        return self._package

    def get_source(self, fullname: str) -> str:
        return self._source.decode("utf-8", "replace")

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self._origin, "exec", dont_inherit=True)


class _ContentFinder(MetaPathFinder):
    """Finds the modules of the plugins that are loaded, and of nothing else."""

    def __init__(self) -> None:
        self.packages: dict[str, Content] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        package, _, rest = fullname.partition(".")
        content = self.packages.get(package)
        if content is None:
            return None
        base = rest.replace(".", "/")
        inside = f"{base}/" if base else ""
        file = f"{base}.py"
        if f"{inside}__init__.py" not in content.files and file in content.files:
            return _spec(fullname, content, file, package=False)
        # A folder without an __init__.py is a package all the same.
        if any(name.startswith(inside) for name in content.files):
            return _spec(fullname, content, f"{inside}__init__.py", package=True)
        return None


def _spec(fullname: str, content: Content, file: str, *, package: bool) -> ModuleSpec | None:
    origin = str(content.folder / file)
    loader = _ContentLoader(content.files.get(file, b""), origin, package=package)
    spec = spec_from_loader(fullname, loader, origin=origin, is_package=package)
    if spec is not None:
        # So that `__file__` says where the plugin's data lie.
        spec.has_location = True
    return spec


_FINDER: Final = _ContentFinder()
_LOCK: Final = Lock()


def package_name(content_digest: str) -> str:
    """Return the name of the package that a folder with this content becomes."""
    return f"{PREFIX}{content_digest[:16]}"


def import_entry(content: Content, module: str, entry: str) -> object:
    """Run a module of the plugin, afresh, and return what it has under the name `entry`.

    Raises:
        Exception: whatever the module raises; `AttributeError` if it has no `entry`.
    """
    package = package_name(content.digest)
    with _LOCK:
        _drop(package)
        _FINDER.packages[package] = content
        if _FINDER not in sys.meta_path:
            sys.meta_path.append(_FINDER)
    try:
        return getattr(importlib.import_module(f"{package}.{module}"), entry)
    except BaseException:
        forget(content.digest)
        raise


def forget(content_digest: str) -> None:
    """Let a plugin's modules go."""
    package = package_name(content_digest)
    with _LOCK:
        _FINDER.packages.pop(package, None)
        _drop(package)


def _drop(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
