"""Finding plugins and running their code."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final

from perstack.domain.plugins import PluginSource
from perstack.errors import ConflictError
from perstack.integrations.plugins.content import read_content
from perstack.integrations.plugins.importing import forget, import_entry
from perstack.integrations.plugins.manifests import read_manifest
from perstack.integrations.plugins.shapes import to_manifest
from perstack.ports.plugins import FoundPlugin, NoPluginError, PluginManifest

GROUP: Final = "perstack.plugins"
_MOST_FOLDERS: Final = 200

_LOG: Final = logging.getLogger(__name__)


class LocalPlugins:
    """Implements `ports.plugins.PluginLoader`: Python entry points, and folders.

    What lies in the `workspace` but not in this Python's own folders was not installed: it is only
    on the path because of where the program was started.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace.resolve()
        self._own = [Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)]

    def installed(self) -> Sequence[FoundPlugin]:
        """Return the plugins of installed packages; none of their code runs."""
        points = entry_points(group=GROUP)
        return [_installed(point) for point in points if self._is_installed(point)]

    def in_folder(self, folder: Path) -> Sequence[FoundPlugin]:
        """Return the plugins in the sub-directories; what is none is logged and left out."""
        try:
            inside = sorted(path for path in folder.iterdir() if _is_candidate(path))
        except OSError:
            return []
        if len(inside) > _MOST_FOLDERS:
            _LOG.warning("%s: only %d plugins are looked at", folder.name, _MOST_FOLDERS)
        found: list[FoundPlugin] = []
        for path in inside[:_MOST_FOLDERS]:
            try:
                found.append(self.at(path))
            except NoPluginError as error:
                _LOG.warning("the plugin folder %s was skipped: %s", path.name, error.message)
        return found

    def at(self, folder: Path, *, source: PluginSource = "folder") -> FoundPlugin:
        """Return the plugin that a directory is.

        Raises:
            NoPluginError: it has no manifest, or one that cannot be read.
        """
        content = read_content(folder)
        said = read_manifest(content)
        return FoundPlugin(
            name=said.name,
            version=said.version,
            source=source,
            location=str(folder),
            description=said.description,
            digest=content.digest,
            problem=said.problem,
        )

    def load(self, found: FoundPlugin) -> PluginManifest:
        """Run its code and return what it is.

        Raises:
            ConflictError: its content is no longer that of `found.digest`.
            UsageError: it gives something else than a manifest.
            Exception: whatever the plugin's code raises.
        """
        if found.source == "installed":
            return to_manifest(_entry_point(found).load(), found)
        content = read_content(Path(found.location))
        if content.digest != found.digest:
            raise ConflictError(f"the plugin {found.name} was changed while it was looked at")
        said = read_manifest(content)
        return to_manifest(import_entry(content, said.module, said.entry), found)

    def forget(self, found: FoundPlugin) -> None:
        """Let the modules of a folder's plugin go; those of installed packages stay."""
        if found.digest is not None:
            forget(found.digest)

    def _is_installed(self, point: EntryPoint) -> bool:
        if point.dist is None:
            return False
        root = Path(str(point.dist.locate_file(""))).resolve()
        own = any(root.is_relative_to(folder) for folder in self._own)
        if own or not root.is_relative_to(self._workspace):
            return True
        _LOG.warning("the plugin %s was skipped: it lies in the workspace", point.name)
        return False


def _installed(point: EntryPoint) -> FoundPlugin:
    package = point.dist
    return FoundPlugin(
        name=point.name,
        version=package.version if package else "0",
        source="installed",
        location=point.value,
        description=package.metadata["Summary"] if package else None,
    )


def _entry_point(found: FoundPlugin) -> EntryPoint:
    for point in entry_points(group=GROUP, name=found.name):
        if point.value == found.location:
            return point
    raise ConflictError(f"the plugin {found.name} is no longer installed")


def _is_candidate(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))
