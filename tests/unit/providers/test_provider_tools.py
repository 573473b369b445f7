"""Tools and skills that providers run themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.expert import (
    Expert,
    FileSearchOptions,
    ProviderSkill,
    ProviderToolOptions,
    WebFetchOptions,
    WebSearchOptions,
)
from perstack.domain.ids import ExpertKey
from perstack.domain.settings import ProviderName, ProviderSettings, Settings
from perstack.errors import ConfigError, ProviderError
from perstack.ports.model import ProviderTools
from perstack.providers.anthropic import tools as claude
from perstack.providers.anthropic.skills import check_skills, skill_file
from perstack.providers.factory import open_model
from perstack.providers.openai import tools as openai
from tests.fakes.vendors import ENV

BOUNDS = ProviderToolOptions(
    web_search=WebSearchOptions(max_uses=3, allowed_domains=("example.com",)),
    web_fetch=WebFetchOptions(max_uses=2),
    file_search=FileSearchOptions(vector_store_ids=("vs_1",), max_num_results=5),
)


def asked(*names: str, options: ProviderToolOptions | None = BOUNDS) -> ProviderTools:
    return ProviderTools(names, options)


def test_claudes_tools_come_with_their_bounds() -> None:
    names = asked("webSearch", "webFetch", "codeExecution", "webSearch")
    assert claude.server_tools(names, "claude-sonnet-5-5", claude.EVERYTHING) == [
        {
            "type": "web_search_20260318",
            "name": "web_search",
            "max_uses": 3,
            "allowed_domains": ["example.com"],
        },
        {"type": "web_fetch_20260318", "name": "web_fetch", "max_uses": 2},
        {"type": "code_execution_20260521", "name": "code_execution"},
    ]


def test_older_claude_and_clouds_get_the_older_tools() -> None:
    names = asked("webSearch", "webFetch", "codeExecution", options=None)
    kinds = [
        tool["type"] for tool in claude.server_tools(names, "claude-haiku-4-5", claude.EVERYTHING)
    ]
    assert kinds == ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825"]
    cloud = claude.ToolSet("Vertex AI", ("webSearch",), basic=True)
    (tool,) = claude.server_tools(asked("webSearch", options=None), "claude-sonnet-5-5", cloud)
    assert tool == {"type": "web_search_20250305", "name": "web_search"}


def test_the_type_strings_are_those_of_the_pinned_sdk() -> None:
    import anthropic.types as types

    for name in (
        "WebSearchTool20260318Param",
        "WebSearchTool20250305Param",
        "WebFetchTool20260318Param",
        "WebFetchTool20250910Param",
        "CodeExecutionTool20260521Param",
        "CodeExecutionTool20250825Param",
    ):
        assert hasattr(types, name)


def test_skills_bring_code_execution() -> None:
    skills = (ProviderSkill(type="builtin", skill_id="pdf"),)
    tools = claude.server_tools(
        ProviderTools(skills=skills), "claude-sonnet-5-5", claude.EVERYTHING
    )
    assert [tool["name"] for tool in tools] == ["code_execution"]


def test_a_skill_that_says_nothing_is_refused_with_what_to_do() -> None:
    skill = ProviderSkill(type="custom", name="mine")
    with pytest.raises(ProviderError, match="mine") as caught:
        check_skills((skill,), claude.EVERYTHING)
    assert "definition" in (caught.value.hint or "")
    assert not caught.value.retryable


def test_skills_are_refused_where_there_are_none() -> None:
    skill = ProviderSkill(type="builtin", skill_id="pdf")
    with pytest.raises(ProviderError, match="Vertex AI offers no provider skills"):
        check_skills((skill,), claude.ToolSet("Vertex AI"))


@pytest.mark.parametrize(
    ("name", "definition", "folder", "begins"),
    [
        (
            "My Skill!",
            "# Write well\nBe brief.",
            "my-skill",
            '---\nname: my-skill\ndescription: "Write',
        ),
        ("x", "---\nname: given-name\ndescription: d\n---\nText", "given-name", "---\nname: given"),
        ("\u00e9\u00e9", "", "skill", "---\nname: skill\n"),
        ("x", 'A "quoted" <tag>\nmore', "x", '---\nname: x\ndescription: "A quoted tag"\n'),
    ],
)
def test_a_skills_file_begins_with_its_name_and_what_it_is_for(
    name: str, definition: str, folder: str, begins: str
) -> None:
    found, text = skill_file(name, definition)
    assert found == folder
    assert text.startswith(begins)
    assert definition in text


def test_openais_tools_come_with_their_bounds() -> None:
    names = asked("webSearch", "fileSearch", "codeInterpreter", "imageGeneration")
    assert openai.server_tools(names, openai.OPENAI_TOOLS) == [
        {"type": "web_search", "filters": {"allowed_domains": ["example.com"]}},
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 5},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "image_generation"},
    ]
    assert openai.max_calls(names) == 3
    (tool,) = openai.server_tools(asked("webSearchPreview", options=None), openai.AZURE_TOOLS)
    assert tool == {"type": "web_search_preview"}


def test_a_file_search_without_stores_is_refused() -> None:
    with pytest.raises(ProviderError, match="fileSearch") as caught:
        openai.server_tools(asked("fileSearch", options=None), openai.OPENAI_TOOLS)
    assert "vectorStoreIds" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "model", "tool"),
    [
        ("anthropic", "claude-sonnet-5-5", "googleSearch"),
        ("openai", "gpt-5.5", "webFetch"),
        ("google", "gemini-2.5-flash", "googleSearch"),
        ("google-vertex", "gemini-2.5-flash", "enterpriseWebSearch"),
        ("google-vertex", "claude-sonnet-5-5", "webFetch"),
        ("ollama", "gpt-oss:20b", "webSearch"),
        ("deepseek", "deepseek-chat", "webSearch"),
        ("azure-openai", "gpt-5", "fileSearch"),
        ("amazon-bedrock", "anthropic.claude-sonnet-5-5", "webSearch"),
        ("anthropic", "claude-sonnet-5-5", "\x1b[2J"),
    ],
)
def test_a_tool_that_is_not_offered_is_refused_when_the_model_is_opened(
    name: ProviderName, model: str, tool: str
) -> None:
    expert = Expert(
        key=ExpertKey("seeker"), name="seeker", instruction="x", skills={}, provider_tools=(tool,)
    )
    settings = Settings(model=model, provider=ProviderSettings(name=name, resource_name="blue"))
    env = {**ENV}
    assert open_model(settings, env=env, base_dir=Path())
    with pytest.raises(ConfigError, match="seeker") as caught:
        open_model(settings, env=env, base_dir=Path(), experts=[expert])
    assert caught.value.message.isprintable()
    assert ascii(tool) in caught.value.message
    assert caught.value.hint
