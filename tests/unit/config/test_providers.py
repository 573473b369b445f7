"""`[provider]`: each vendor's settings, and where their keys may go."""

from __future__ import annotations

import pytest

from perstack.config.vocabulary import PROVIDER_SETTINGS, PROVIDERS
from perstack.domain.settings import ProviderName, ProviderSettings
from tests.unit.config.reading import read, refused_lines, warned

VALUES = {
    "baseUrl": '"https://gateway.example/v1"',
    "headers": '{ X-Team = "docs" }',
    "allowPrivate": "true",
    "organization": '"o"',
    "project": '"p"',
    "name": '"n"',
    "api": '"chat"',
    "resourceName": '"my-resource"',
    "apiVersion": '"2026-10-01-preview"',
    "useDeploymentBasedUrls": "true",
    "region": '"eu-west-1"',
    "location": '"europe-west4"',
    "scenario": '"s.toml"',
    "pace": "2",
}
READ = {
    "baseUrl": ("base_url", "https://gateway.example/v1"),
    "headers": ("headers", {"X-Team": "docs"}),
    "allowPrivate": ("allow_private", True),
    "organization": ("organization", "o"),
    "project": ("project", "p"),
    "name": ("client_name", "n"),
    "api": ("api", "chat"),
    "resourceName": ("resource_name", "my-resource"),
    "apiVersion": ("api_version", "2026-10-01-preview"),
    "useDeploymentBasedUrls": ("use_deployment_based_urls", True),
    "region": ("region", "eu-west-1"),
    "location": ("location", "europe-west4"),
    "scenario": ("scenario", "s.toml"),
    "pace": ("pace", 2.0),
}


def provider(name: str, settings: str, *, model: str = "m") -> str:
    return f'model = "{model}"\n[provider]\nproviderName = "{name}"\n[provider.setting]\n{settings}'


def lines(keys: tuple[str, ...]) -> str:
    return "".join(f"{key} = {VALUES[key]}\n" for key in keys)


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_provider_has_its_own_settings(name: ProviderName) -> None:
    own = PROVIDER_SETTINGS[name]
    config = read(provider(name, lines(own)))
    expected = ProviderSettings(name=name).model_copy(update=dict(READ[key] for key in own))
    assert config.settings.provider == expected
    assert config.warnings == ()


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_setting_of_another_provider_has_no_effect_and_is_told(name: ProviderName) -> None:
    own = PROVIDER_SETTINGS[name]
    foreign = tuple(key for key in VALUES if key not in own)
    config = read(provider(name, lines(foreign)))
    assert config.settings.provider == ProviderSettings(name=name)
    assert {str(one).partition(" (")[0] for one in config.warnings} == {
        f"provider.setting.{key}" for key in foreign
    }
    for warning in config.warnings:
        assert warning.message == f"has no effect with the provider {name}"
        assert warning.hint == f"{name} has: {', '.join(own)}"


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("anthropic", "claude-sonnet-5-5"),
        ("openai", "gpt-5.5"),
        ("google", "gemini-3.8-flash"),
        ("deepseek", "deepseek-v4-flash"),
        ("scripted", "scripted"),
        ("ollama", ""),
        ("azure-openai", ""),
        ("amazon-bedrock", ""),
        ("google-vertex", ""),
    ],
)
def test_a_default_model_is_there_where_a_source_names_one(name: str, model: str) -> None:
    config = read(f'[provider]\nproviderName = "{name}"\n')
    assert (config.settings.model, config.warnings) == (model, ())


@pytest.mark.parametrize(
    ("name", "setting", "problem"),
    [
        ("azure-openai", 'resourceName = "evil.example/"', 'resourceName (line 5): is "evil.'),
        ("amazon-bedrock", 'region = "us.evil.example"', 'region (line 5): is "us.evil.example", '),
        (
            "google-vertex",
            'location = "x@evil"',
            'location (line 5): is "x@evil", which is not part',
        ),
        ("openai", 'baseUrl = "https://x.example/?a=b"', "baseUrl (line 5): must not hold a query"),
        ("ollama", 'baseUrl = "http://x.example/#a"', "baseUrl (line 5): must not hold a query or"),
        (
            "google-vertex",
            'project = "../x"',
            'project (line 5): is "../x", which is not a project',
        ),
        (
            "azure-openai",
            'apiVersion = "1&x=y"',
            'apiVersion (line 5): is "1&x=y", which is not a version',
        ),
        (
            "openai",
            'api = "completions"',
            "api (line 5): must be one of auto, chat, responses, not",
        ),
    ],
)
def test_what_becomes_part_of_an_address_cannot_name_another(
    name: str, setting: str, problem: str
) -> None:
    (line,) = refused_lines(provider(name, setting))
    assert line.startswith(f"provider.setting.{problem}")


PRIVATE = [
    "https://10.0.0.1",
    "https://192.168.1.5:8443/v1",
    "https://169.254.169.254/latest",
    "https://100.64.0.1",
    "https://[fd00::1]",
    "https://[fe80::1]",
    "https://[::ffff:10.0.0.1]",
    "https://0.0.0.0",
    "http://172.16.0.9:8000",
    "https://gpu-box",
    "https://gpu.local",
    "http://metadata.internal",
    "https://router.lan.",
]


@pytest.mark.parametrize("url", PRIVATE)
@pytest.mark.parametrize("name", ["anthropic", "openai", "google", "azure-openai", "deepseek"])
def test_a_private_address_needs_allow_private(name: str, url: str) -> None:
    (line,) = refused_lines(provider(name, f'baseUrl = "{url}"'))
    assert line == (
        "provider.setting.baseUrl (line 5): leads into a private network; if that is meant, write "
        "allowPrivate = true beside"
    )
    allowed = read(provider(name, f'baseUrl = "{url}"\nallowPrivate = true'))
    assert allowed.settings.provider.base_url == url
    assert allowed.redirects_key


def test_allow_private_opens_no_way_to_send_a_key_in_the_clear_over_the_internet() -> None:
    (line,) = refused_lines(
        provider("openai", 'baseUrl = "http://example.com"\nallowPrivate = true')
    )
    assert "baseUrl (line 5): must be https, or http on a loopback address" in line


@pytest.mark.parametrize(
    "url",
    ["http://localhost:11434", "http://10.0.0.7:11434", "http://gpu", "https://ollama.example"],
)
def test_ollama_may_be_at_any_host(url: str) -> None:
    config = read(provider("ollama", f'baseUrl = "{url}"'))
    assert config.settings.provider.base_url == url
    assert config.warnings == ()


@pytest.mark.parametrize("url", ["ftp://localhost", "localhost:11434", "http://a@b", "http://"])
def test_ollamas_address_is_an_http_url_all_the_same(url: str) -> None:
    (line,) = refused_lines(provider("ollama", f'baseUrl = "{url}"'))
    assert line.endswith("; write a URL such as http://localhost:11434")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("Authorization", True),
        ("x-api-key", True),
        ("X-Auth-Token", True),
        ("Cookie", True),
        ("X-Team", False),
        ("X-Monkey", False),
    ],
)
def test_a_header_that_looks_like_a_secret_is_told_without_its_value(
    header: str, *, told: bool
) -> None:
    found = warned(provider("openai", f'headers = {{ "{header}" = "canary-value" }}'))
    assert len(found) == told
    assert all("looks like a secret" in one and "canary" not in one for one in found)


@pytest.mark.parametrize(
    ("model", "successor"),
    [
        ("gemini-2.5-pro", "gemini-3.8-flash"),
        ("gemini-2.0-flash-lite", "gemini-3.8-flash"),
    ],
)
def test_retired_models_of_google_are_told(model: str, successor: str) -> None:
    (warning,) = read(provider("google", "", model=model)).warnings
    assert warning.message.startswith(f"{model} is being retired")
    assert warning.hint == f'write model = "{successor}"'


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ollama", "gpt-oss:20b"),
        ("azure-openai", "gpt-4o"),
        ("amazon-bedrock", "anthropic.claude-opus-4-1-20250805-v1:0"),
        ("google-vertex", "claude-opus-5-5"),
    ],
)
def test_a_platforms_names_are_its_own(name: str, model: str) -> None:
    found = read(provider(name, "", model=model) + 'reasoning = "x"').warnings
    assert [warning.key for warning in found if warning.key == "model"] == []


def test_reasoning_with_a_model_that_cannot_is_told() -> None:
    text = 'reasoningBudget = "medium"\n' + provider("openai", "", model="gpt-4.1")
    told = [one for one in read(text).warnings if one.key == "reasoningBudget"]
    assert [(one.line, one.message, one.hint) for one in told] == [
        (
            1,
            "gpt-4.1 cannot reason, so that it has no effect",
            'write reasoningBudget = "none"',
        )
    ]
    for budget in ('"none"', "0"):
        quiet = read(text.replace('"medium"', budget)).warnings
        assert [one for one in quiet if one.key == "reasoningBudget"] == []


def test_behind_an_address_of_ones_own_a_name_says_nothing() -> None:
    text = provider("openai", 'baseUrl = "http://localhost:1"\n', model="gpt-4.1")
    assert warned(text) == []
    (warning,) = warned(text + '[models."gpt-4.1"]\nthinks = false\n')
    assert warning == "reasoningBudget: gpt-4.1 cannot reason, so that it has no effect"


def test_a_user_who_says_that_a_model_reasons_is_believed() -> None:
    text = provider("openai", "", model="gpt-4.1") + '\n[models."gpt-4.1"]\nthinks = true\n'
    assert [one for one in read(text).warnings if one.key == "reasoningBudget"] == []
