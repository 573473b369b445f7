"""Plugins as lines for a reader, in which nothing acts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from perstack.domain.plugins import PluginInfo
from perstack.projection.cutting import one_line
from perstack.projection.log_header import moment
from perstack.projection.table_text import field, in_columns

NO_PLUGINS: Final = "No plugins."
_REASON_CHARACTERS: Final = 60
_HEAD: Final = ("NAME", "VERSION", "SOURCE", "STATUS", "REASON")


def plugin_rows(plugins: Sequence[PluginInfo]) -> Iterator[str]:
    """Yield a heading and a line a plugin; a sentence where there are none."""
    if not plugins:
        yield NO_PLUGINS
        return
    yield from in_columns([_HEAD, *map(_row, plugins)])


def plugin_lines(plugin: PluginInfo) -> Iterator[str]:
    """Yield what a plugin is and brings; what it lacks is left out."""
    yield field("Name", plugin.name)
    yield field("Version", plugin.version)
    yield field("Status", plugin.status)
    if plugin.reason:
        yield field("Reason", plugin.reason)
    if plugin.description:
        yield field("Description", plugin.description)
    yield field("Source", f"{plugin.source}, {plugin.location}")
    if plugin.installed_at is not None:
        yield field("Since", moment(plugin.installed_at))
    for label, names in (
        ("Agents", plugin.agents),
        ("Tools", plugin.tools),
        ("Hooks", plugin.hooks),
        ("Providers", plugin.providers),
    ):
        if names:
            yield field(label, ", ".join(names))


def _row(plugin: PluginInfo) -> tuple[str, ...]:
    why = one_line(plugin.reason, _REASON_CHARACTERS) if plugin.reason else "-"
    return plugin.name, plugin.version, plugin.source, plugin.status, why
