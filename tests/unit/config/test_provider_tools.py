"""What the provider itself is to offer an Expert."""

from __future__ import annotations

import pytest

from perstack.config.overrides import apply_overrides
from perstack.config.typed import Overrides
from perstack.config.vocabulary import PROVIDER_TOOLS, PROVIDERS
from perstack.domain.expert import (
    FileSearchOptions,
    ProviderSkill,
    ProviderToolOptions,
    WebFetchOptions,
    WebSearchOptions,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import ProviderName
from tests.unit.config.reading import read, refused_lines, warned

START = '[experts.a]\ninstruction = "x"\n'


def with_provider(name: str, text: str) -> str:
    return f'model = "m"\n[provider]\nproviderName = "{name}"\n{text}'


def test_tools_options_and_skills_of_the_provider_are_read() -> None:
    config = read(
        START
        + """
providerTools = ["webSearch", "webFetch", "codeExecution"]
providerSkills = [
  { type = "builtin", skillId = "pdf" },
  { type = "custom", name = "house-style", definition = "Write plainly." },
]
[experts.a.providerToolOptions]
webSearch = { maxUses = 3, allowedDomains = ["example.com", "*.example.org"] }
webFetch = { maxUses = 1 }
fileSearch = { vectorStoreIds = ["vs_1"], maxNumResults = 50 }
"""
    )
    expert = config.experts[ExpertKey("a")]
    assert expert.provider_tools == ("webSearch", "webFetch", "codeExecution")
    assert expert.provider_tool_options == ProviderToolOptions(
        web_search=WebSearchOptions(max_uses=3, allowed_domains=("example.com", "*.example.org")),
        web_fetch=WebFetchOptions(max_uses=1),
        file_search=FileSearchOptions(vector_store_ids=("vs_1",), max_num_results=50),
    )
    assert expert.provider_skills == (
        ProviderSkill(type="builtin", skill_id="pdf"),
        ProviderSkill(type="custom", name="house-style", definition="Write plainly."),
    )
    assert config.warnings == ()


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_tools_of_each_provider_are_known(name: ProviderName) -> None:
    tools = PROVIDER_TOOLS.get(name, ())
    config = read(with_provider(name, START + f"providerTools = {list(tools)}\n"))
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("name", "tool", "has"),
    [
        ("anthropic", "googleSearch", "webSearch, webFetch, codeExecution"),
        ("ollama", "webSearch", "none"),
        (
            "google",
            "enterpriseWebSearch",
            "googleSearch, codeExecution, urlContext, fileSearch, googleMaps",
        ),
    ],
)
def test_a_tool_that_the_provider_has_not_is_told(name: str, tool: str, has: str) -> None:
    (warning,) = read(with_provider(name, START + f'providerTools = ["{tool}"]\n')).warnings
    assert (warning.key, warning.line) == ("experts.a.providerTools", 6)
    assert warning.message == f'"{tool}" is no tool of the provider {name}'
    assert warning.hint == f"{name} has: {has}"


def test_with_another_provider_on_the_command_line_the_doubts_are_its_own() -> None:
    config = read(START + 'providerTools = ["webFetch", "webSearch"]\n')
    assert config.warnings == ()
    joined = apply_overrides(config, Overrides(provider="openai"))
    assert [str(one) for one in joined.warnings] == [
        'experts.a.providerTools: "webFetch" is no tool of the provider openai'
    ]
    again = apply_overrides(joined, Overrides(provider="anthropic"))
    assert again.warnings == ()


def test_provider_skills_are_for_anthropic() -> None:
    skills = 'providerSkills = [{ type = "builtin", skillId = "docx" }]\n'
    assert warned(with_provider("openai", START + skills)) == [
        "experts.a.providerSkills (line 6): have no effect with the provider openai"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("providerTools = 'x'", "providerTools (line 3): must be a list of strings such as"),
        ("providerTools = ['']", "providerTools (line 3): has an item of 0 characters"),
        ("providerSkills = 1", "providerSkills (line 3): must be a list of at most 255 tables"),
        ("providerSkills = ['pdf']", "providerSkills (line 3): must be a list of at most 255 "),
        (
            f"providerSkills = [{'{},' * 256}]",
            "providerSkills (line 3): must be a list of at most 255 tables",
        ),
        (
            "providerSkills = [{}]",
            "providerSkills.1.type (line 3): must be given: builtin or custom",
        ),
        (
            "providerSkills = [{ type = 'x' }]",
            'providerSkills.1.type (line 3): must be one of builtin, custom, not "x"',
        ),
        (
            "providerSkills = [{ type = 'builtin', skillId = 'odt' }]",
            'providerSkills.1.skillId (line 3): must be one of pdf, docx, pptx, xlsx, not "odt"',
        ),
        (
            "providerSkills = [{ type = 'builtin' }]",
            "providerSkills.1.skillId (line 3): must be given for a builtin skill",
        ),
        (
            "providerSkills = [{ type = 'custom', name = 'n' }]",
            "providerSkills.1.definition (line 3): must be given for a custom skill",
        ),
        (
            "providerSkills = [{ type = 'builtin', skillId = 'pdf', name = 'n' }]",
            "providerSkills.1.name (line 3): does not belong to a builtin skill; remove it",
        ),
        ("providerToolOptions = 1", "providerToolOptions (line 3): must be a table, not 1"),
        (
            "providerToolOptions.webSearch.maxUses = 0",
            "providerToolOptions.webSearch.maxUses (line 3): must be an integer from 1 to 1,000",
        ),
        (
            "providerToolOptions.webSearch.allowedDomains = ['xn--a']",
            'providerToolOptions.webSearch.allowedDomains (line 3): holds "xn--a", which is',
        ),
        (
            "providerToolOptions.fileSearch.maxNumResults = 51",
            "providerToolOptions.fileSearch.maxNumResults (line 3): must be an integer from 1 to ",
        ),
        (
            "minRuntimeVersion = 'latest'",
            'minRuntimeVersion (line 3): is "latest", which is not a version',
        ),
        ("minRuntimeVersion = 1.0", "minRuntimeVersion (line 3): must be a string, not 1.0"),
    ],
)
def test_a_wrong_one_is_refused(text: str, problem: str) -> None:
    (line,) = refused_lines(START + text)
    assert line.startswith(f"experts.a.{problem}")


@pytest.mark.parametrize("version", ["v1.0", "1.0", "v2", "1.2.3"])
def test_a_minimal_runtime_version_is_kept(version: str) -> None:
    config = read(START + f'minRuntimeVersion = "{version}"\n')
    assert config.experts[ExpertKey("a")].min_runtime_version == version
