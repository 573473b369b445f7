"""Resources, prompts and completions over MCP, by the official client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from mcp import MCPError
from mcp.types import (
    PromptReference,
    ResourceTemplateReference,
    TextContent,
    TextResourceContents,
)

from perstack.core_types import CORE_TYPE_NAMES
from perstack.serving.mcp import resources
from tests.fakes.mcp_door import McpDoor, door

pytestmark = pytest.mark.anyio

TOML: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts."@acme/lead"]
description = "Leads."
instruction = "You lead. SECRET-INSTRUCTION"
[experts."@acme/lead".skills.remote]
type = "mcpSseSkill"
endpoint = "https://example.com/sse"
headers = { X-Key = "SECRET-HEADER" }
lazyInit = true
"""
SCENARIO: Final = '[[turns]]\ntext = "Done."\n'
CHECKPOINT: Final = "perstack://jobs/{jobId}/checkpoints/{checkpointId}"


async def read(it: McpDoor, uri: str) -> Any:
    (content,) = (await it.client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return json.loads(content.text)


async def completed(it: McpDoor, uri: str, name: str, value: str, **given: str) -> list[str]:
    reference = ResourceTemplateReference(type="ref/resource", uri=uri)
    result = await it.client.complete(
        reference, {"name": name, "value": value}, context_arguments=given or None
    )
    return result.completion.values


async def a_job(it: McpDoor) -> str:
    done = await it.call("expert_run", {"expert": "coder", "query": "go"})
    assert done["text"] == "Done."
    return done["jobId"]


async def test_a_job_and_its_checkpoints_are_read_and_completed(tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    async with door(tmp_path, TOML) as it:
        job_id = await a_job(it)
        assert (await read(it, f"perstack://jobs/{job_id}"))["text"] == "Done."
        assert [job["id"] for job in (await read(it, "perstack://jobs"))["jobs"]] == [job_id]
        assert await completed(it, "perstack://jobs/{jobId}", "jobId", job_id[:3]) == [job_id]
        found = await completed(it, CHECKPOINT, "checkpointId", "", jobId=job_id)
        assert found
        shown = await read(it, f"perstack://jobs/{job_id}/checkpoints/{found[0]}")
        assert shown["id"] == found[0]
        assert "Done." in json.dumps(shown["messages"])


async def test_experts_are_listed_without_what_their_skills_are_reached_with(
    tmp_path: Path,
) -> None:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    async with door(tmp_path, TOML) as it:
        listed = (await it.client.list_resources()).resources
        uri = "perstack://experts/%40acme%2Flead"
        assert uri in {resource.uri for resource in listed}
        one, every = await read(it, uri), await read(it, "perstack://experts")
        assert (one["key"], set(one["skills"])) == ("@acme/lead", {"remote", "@perstack/base"})
        assert len(every["experts"]) == 1 + len(CORE_TYPE_NAMES)
        assert "SECRET" not in json.dumps([one, every])
        keys = await completed(it, "perstack://experts/{key}", "key", "@ac")
        assert keys == ["@acme/lead"]


@pytest.mark.parametrize(
    "uri",
    [
        "perstack://jobs/nothere",
        "perstack://jobs/..%2F..%2Fetc",
        "perstack://experts/nobody",
        "perstack://else",
        "file:///etc/passwd",
        "perstack://jobs/a/b/c/d",
    ],
)
async def test_what_is_not_there_is_an_error_of_the_protocol(tmp_path: Path, uri: str) -> None:
    async with door(tmp_path) as it:
        with pytest.raises(MCPError) as raised:
            await it.client.read_resource(uri)
        assert "Traceback" not in raised.value.message


async def test_lists_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PAGE", 5)
    async with door(tmp_path) as it:
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await it.client.list_resources(cursor=cursor)
            seen += [resource.uri for resource in page.resources]
            assert len(page.resources) <= 5
            if (cursor := page.next_cursor) is None:
                break
        assert len(seen) == len(set(seen)) == 2 + len(CORE_TYPE_NAMES)
        with pytest.raises(MCPError):
            await it.client.list_resources(cursor="nonsense")


async def test_a_resource_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "LARGEST", 100)
    async with door(tmp_path) as it:
        with pytest.raises(MCPError, match="larger"):
            await it.client.read_resource("perstack://experts")


async def test_each_core_type_has_a_prompt_that_takes_a_task(tmp_path: Path) -> None:
    async with door(tmp_path) as it:
        prompts = (await it.client.list_prompts()).prompts
        assert [prompt.name for prompt in prompts] == list(CORE_TYPE_NAMES)
        made = await it.client.get_prompt("coder", {"task": "Mend the gate."})
        (message,) = made.messages
        assert isinstance(message.content, TextContent)
        assert message.content.text.endswith("Mend the gate.")
        for name, arguments in (("coder", {}), ("nobody", {"task": "x"}), ("coder", {"a": "b"})):
            with pytest.raises(MCPError):
                await it.client.get_prompt(name, arguments)
        reference = PromptReference(type="ref/prompt", name="coder")
        result = await it.client.complete(reference, {"name": "task", "value": "M"})
        assert result.completion.values == []
