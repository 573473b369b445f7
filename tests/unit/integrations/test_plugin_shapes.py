"""Whatever a plugin is or gives, it is a manifest or a `UsageError`."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from perstack.errors import UsageError
from perstack.integrations.plugins.content import Content
from perstack.integrations.plugins.manifests import FolderManifest, read_manifest
from perstack.integrations.plugins.shapes import to_manifest
from perstack.ports.plugins import FoundPlugin, NoPluginError, PluginManifest

FOUND = FoundPlugin("greeter", "1", "folder", "/plugins/greeter", digest="0" * 64)
KEYS = ["name", "version", "agents", "tools", "hooks", "providers", "init", "type", "handler",
        "systemPrompt", "capabilities", "description", "inputSchema", "event"]  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(print),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(given=st.dictionaries(st.sampled_from(KEYS[:7]), ANYTHING, max_size=5) | ANYTHING)
def test_what_a_plugin_gives_is_a_manifest_or_is_refused_in_words(given: object) -> None:
    if callable(given):
        return
    try:
        made = to_manifest(given, FOUND)
    except UsageError as error:
        refused = error.message
    else:
        assert isinstance(made, PluginManifest)
        return
    assert refused


@given(
    name=st.sampled_from(["plugin.toml", "package.json"]),
    data=st.binary(max_size=60)
    | st.fixed_dictionaries({"n": st.text(max_size=20), "m": st.text(max_size=20)}).map(
        lambda made: f'name = "{made["n"]}"\nversion = "1"\nmodule = "{made["m"]}"\n'.encode(
            "utf-8", "replace"
        )
    ),
)
def test_any_file_is_a_folders_manifest_or_none(name: str, data: bytes) -> None:
    content = Content(Path("/plugins/greeter"), {name: data, "plugin.py": b""}, "0" * 64)
    try:
        made = read_manifest(content)
    except NoPluginError as error:
        refused = error.message
    else:
        assert isinstance(made, FolderManifest)
        assert "/" not in made.module
        return
    assert refused
