"""The reference servers of the MCP project, started with npx exactly as perstack.toml says.

They come from the npm registry, once; so these tests are long ones.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream
from pydantic import JsonValue

from perstack.domain.expert import AnyMcpSkill, McpHttpSkill, McpSseSkill, McpStdioSkill
from perstack.domain.forms import form_of
from perstack.domain.ids import ToolCallId
from perstack.domain.inputs import read_answer
from perstack.domain.messages import ImageInlinePart, ResourceLinkPart
from perstack.domain.server_events import SkillLog, SkillProgress
from perstack.errors import SkillError
from perstack.ports.skills import ElicitationAnswer, RunContext, SamplingAnswer, SkillSet
from perstack.skills.opener import Skills
from tests.fakes.skill_host import Answering
from tests.unit.skills.support import Notices, context_for, expert_with, none_survive, text, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("npx") is None, reason="npx is not installed"),
]

EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"
FILESYSTEM = "@modelcontextprotocol/server-filesystem@2026.8.31"
CALL = ToolCallId("call-1")
ANSWER: dict[str, JsonValue] = {
    "name": "Ana",
    "check": True,
    "email": "ana@example.com",
    "homepage": "https://example.com/ana",
    "birthdate": "1990-01-31",
    "integer": 7,
    "untitledSingleSelectEnum": "Joey",
    "untitledMultipleSelectEnum": ["Piano", "Bass"],
    "titledMultipleSelectEnum": ["fish-2"],
    "legacyTitledEnum": "pet-2",
}


@pytest.fixture
def context(tmp_path: Path) -> RunContext:
    return context_for(tmp_path)


@asynccontextmanager
async def serving(mode: str, folder: Path) -> AsyncGenerator[str]:
    """Run the everything server over HTTP on a free port; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await anyio.open_process(
        ["npx", "-y", EVERYTHING, mode],
        env=dict(os.environ) | {"PORT": str(port)},
        cwd=folder,
        stdout=None,
        start_new_session=True,
    )
    async with anyio.create_task_group() as group:
        ready = anyio.Event()

        async def read() -> None:
            assert process.stderr is not None
            async for piece in TextReceiveStream(process.stderr):
                if f"port {port}" in piece:
                    ready.set()

        group.start_soon(read)
        try:
            with anyio.fail_after(120):
                await ready.wait()
            yield f"http://127.0.0.1:{port}"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with anyio.CancelScope(shield=True):
                await process.wait()
            group.cancel_scope.cancel()
            await process.aclose()


async def check_everything(skills: SkillSet, workspace: Path) -> None:
    """Ask for each kind of content once, and let the server ask for its root."""
    assert text(await skills.call("echo", {"message": "hello"})) == "Echo: hello"
    assert "3" in text(await skills.call("get-sum", {"a": 1, "b": 2}))
    assert (await skills.call("get-sum", {"a": "one", "b": 2})).is_error
    image = await skills.call("get-tiny-image", {})
    [shown] = [part for part in image.parts if isinstance(part, ImageInlinePart)]
    assert shown.mime_type == "image/png"
    links = await skills.call("get-resource-links", {"count": 2})
    assert [part.uri for part in links.parts if isinstance(part, ResourceLinkPart)] == [
        "demo://resource/dynamic/blob/1",
        "demo://resource/dynamic/text/2",
    ]
    resource = text(await skills.call("get-resource-reference", {"resourceType": "Text"}))
    assert "Resource 1: This is a plaintext resource" in resource
    weather = await skills.call("get-structured-content", {"location": "Chicago"})
    assert set(json.loads(text(weather))) == {"temperature", "conditions", "humidity"}
    # A server at an address gets no roots, so it does not offer this.
    if "get-roots-list" in skills.tools:
        assert workspace.as_uri() in text(await skills.call("get-roots-list", {}))


async def check_requests(skills: SkillSet, host: Answering, notices: Notices) -> None:
    """Have the server ask the user with every kind of field that there is, and the model."""
    asked = await skills.call("trigger-elicitation-request", {}, tool_call_id=CALL)
    assert "User provided the requested information" in text(asked)
    raw = json.loads(text(asked).partition("Raw result:")[2])
    assert raw == {"action": "accept", "content": ANSWER}
    form = form_of(host.questions[0].answer_schema)
    assert form is not None
    assert read_answer(form, json.dumps(ANSWER)) == ANSWER
    sampled = await skills.call("trigger-sampling-request", {"prompt": "hi"}, tool_call_id=CALL)
    assert '"text": "hello from m-1"' in text(sampled)
    slow: dict[str, JsonValue] = {"duration": 0.2, "steps": 2}
    await skills.call("trigger-long-running-operation", slow, tool_call_id=CALL)
    told = [each for each in notices if isinstance(each, SkillProgress)]
    assert (told[-1].tool_call_id, told[-1].progress, told[-1].total) == (CALL, 2, 2)
    assert "Started" in text(await skills.call("toggle-simulated-logging", {}))
    await until(lambda: any(isinstance(each, SkillLog) for each in notices), within_s=30)
    assert "Stopped" in text(await skills.call("toggle-simulated-logging", {}))


async def check_opened(skill: AnyMcpSkill, context: RunContext) -> None:
    notices = Notices()
    host = Answering(
        ElicitationAnswer("accept", ANSWER), SamplingAnswer(text="hello from m-1", model="m-1")
    )
    async with Skills().open(expert_with(everything=skill), context, notices, host) as skills:
        await check_everything(skills, context.workspace)
        await check_requests(skills, host, notices)
        assert notices.of("everything")[:2] == ["skillStarting", "skillConnected"]
    assert notices.of("everything")[-1] == "skillDisconnected"
    assert notices.of("everything").count("skillStarting") == 1


async def test_the_everything_server_over_its_pipes(tmp_path: Path) -> None:
    env = {"ANTHROPIC_API_KEY": "sk-canary", "NEEDED": "needed-very-secret"}
    context = context_for(tmp_path, env=env)
    skill = McpStdioSkill(command="npx", package_name=EVERYTHING, required_env=("NEEDED",))
    await check_opened(skill, context)
    async with Skills().open(expert_with(everything=skill), context, Notices()) as skills:
        env = text(await skills.call("get-env", {}))
    assert '"NEEDED": "[NEEDED]"' in env
    assert "sk-canary" not in env
    await none_survive(context.run_id)


async def test_the_everything_server_over_streamable_http(
    context: RunContext, tmp_path: Path
) -> None:
    async with serving("streamableHttp", tmp_path) as url:
        await check_opened(McpHttpSkill(endpoint=f"{url}/mcp", allow_private=True), context)


async def test_the_everything_server_over_events(context: RunContext, tmp_path: Path) -> None:
    async with serving("sse", tmp_path) as url:
        await check_opened(McpSseSkill(endpoint=f"{url}/sse", allow_private=True), context)


async def test_the_filesystem_server_reads_and_writes_where_it_may(
    context: RunContext, tmp_path: Path
) -> None:
    (tmp_path / "note.txt").write_text("remember the milk")
    skill = McpStdioSkill(
        command="npx", args=("-y", FILESYSTEM, str(tmp_path)), omit=("move_file",)
    )
    async with Skills().open(expert_with(files=skill), context, Notices()) as skills:
        path = str(tmp_path / "note.txt")
        assert "move_file" not in skills.tools
        assert "remember the milk" in text(await skills.call("read_text_file", {"path": path}))
        done = await skills.call("write_file", {"path": path, "content": "milk is bought"})
        assert not done.is_error, text(done)
        refused = await skills.call("read_text_file", {"path": "/etc/hostname"})
        assert refused.is_error
    assert (tmp_path / "note.txt").read_text() == "milk is bought"
    await none_survive(context.run_id)


async def test_a_package_that_does_not_exist_is_named_with_what_npm_says(
    context: RunContext,
) -> None:
    skill = McpStdioSkill(command="npx", package_name="@modelcontextprotocol/no-such-server")
    with pytest.raises(SkillError, match="its command ended with exit code 1") as caught:
        async with Skills().open(expert_with(bad=skill), context, Notices()):
            pytest.fail("opened")
    assert "E404" in caught.value.message or "404" in caught.value.message
