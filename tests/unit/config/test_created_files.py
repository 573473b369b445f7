"""The texts that `perstack create` writes: what is there stays, what is new can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.created_files import (
    settings_toml,
    tables_of,
    with_agents_section,
    with_variable,
)
from perstack.config.dotenv import parse_env
from perstack.config.load import parse_config
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import RuntimeName
from perstack.domain.settings import VendorName
from perstack.errors import ConfigError

ENV = Path(".env")


@pytest.mark.parametrize(
    ("vendor", "model"),
    [("anthropic", None), ("openai", "gpt-5.5"), ("ollama", 'odd "name"'), (None, None)],
)
@pytest.mark.parametrize("runtime", ["perstack", "claude-code"])
def test_the_settings_are_read_back_without_a_warning(
    vendor: VendorName | None, model: str | None, runtime: RuntimeName
) -> None:
    text = settings_toml(vendor, model, runtime)
    config = parse_config(Path("perstack.toml"), text.encode())
    assert config.warnings == ()
    assert config.experts == {}
    assert config.settings.runtime.name == runtime
    assert config.env_paths == (".env",)
    if vendor is not None:
        assert config.settings.provider.name == vendor
    if model is not None:
        assert config.settings.model == model


@given(
    st.sampled_from(["", "A=1", "A=1\n", "# note\nA='x # y'\n", 'A="b\\n"\n']),
    st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="'"), min_size=1),
)
def test_a_variable_is_read_back_and_the_others_stay(text: str, value: str) -> None:
    before = parse_env(ENV, text.encode())
    after = parse_env(ENV, with_variable(text, "NEW_KEY", value).encode())
    assert after == {**before, "NEW_KEY": value}


@pytest.mark.parametrize("value", ["", "a\nB=1", "a'b", "kéy", "a\x1b[2J", "\0"])
def test_what_could_be_no_key_is_refused_without_being_quoted(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_variable("", "NEW_KEY", value)
    assert not value or value not in caught.value.message


def test_notes_for_coding_agents_are_added_once_and_never_in_place_of_others() -> None:
    fresh = with_agents_section("")
    assert fresh.startswith("# Notes for coding agents\n")
    assert with_agents_section(fresh) == fresh
    theirs = "# Our rules\n\nNever push.\n"
    both = with_agents_section(theirs)
    assert both.startswith(theirs)
    stale = both.replace("Experts: small agents", "something old")
    assert with_agents_section(stale + "More.\n") == both + "More.\n"


def test_the_tables_of_some_experts_are_a_text_of_their_own() -> None:
    text = '# mine\nmodel = "m"\n[experts.a]\ninstruction = "A"\n[experts.b]\ninstruction = "B"\n'
    said = tables_of(text, [ExpertKey("b"), ExpertKey("coder")])
    assert parse_config(Path("x"), said.encode()).experts.keys() == {"b"}
