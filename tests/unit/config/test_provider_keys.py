"""Which vendors can be asked, by the names of variables alone."""

from __future__ import annotations

import typing

import pytest

from perstack.config.provider_keys import credentialed, has_credentials, variables_of
from perstack.domain.settings import ProviderName
from perstack.providers import google_token
from perstack.providers.anthropic import platform
from perstack.providers.openai import access

NAMES: tuple[ProviderName, ...] = typing.get_args(ProviderName)


def test_the_names_are_those_that_the_providers_read() -> None:
    assert variables_of("anthropic") == (platform.KEY,)
    assert variables_of("openai") == (access.OPENAI_KEY,)
    assert variables_of("google-vertex") == (google_token.VARIABLE,)


@pytest.mark.parametrize("name", NAMES)
def test_every_vendor_has_credentials_once_its_variables_are_set(name: ProviderName) -> None:
    assert has_credentials(name, dict.fromkeys(variables_of(name), "x"))
    if variables_of(name):
        assert not has_credentials(name, dict.fromkeys(variables_of(name), " "))


def test_half_of_what_bedrock_needs_is_not_enough() -> None:
    assert not has_credentials("amazon-bedrock", {"AWS_ACCESS_KEY_ID": "x"})


def test_without_any_variable_only_ollama_can_be_asked() -> None:
    assert credentialed({}) == ("ollama",)
