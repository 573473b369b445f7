"""Keys reach neither the disk nor what is printed, wherever they come from and go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import ANTHROPIC_KEY, Program, Ran, by_expert, calls, finishes
from tests.fakes.model_server import Answer, model_server
from tests.fakes.model_wire import Call, Refusal

pytestmark = pytest.mark.anyio

MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
SKILL_KEY: Final = "canary-skill-0123456789"
FILE_TOKEN: Final = "canary-file-0123456789"
HEADER: Final = "canary-header-0123456789"
PASSWORD: Final = "canary-password-0123456789"
WEBHOOK: Final = "canary-webhook-0123456789"
SKILL_HEADER: Final = "canary-mcp-header-0123456789"
SKILL_QUERY: Final = "canary-mcp-query-0123456789"
SLACK: Final = "canary-slack-0123456789"
GITHUB: Final = "canary-github-0123456789"
CANARIES: Final = (
    *(ANTHROPIC_KEY, SKILL_KEY, FILE_TOKEN, HEADER, PASSWORD, WEBHOOK),
    *(SKILL_HEADER, SKILL_QUERY, SLACK, GITHUB),
)

TOML: Final = f"""
[provider.setting]
headers = {{ "x-proxy-token" = "{HEADER}" }}

[consensus]
enabled = true
reviewerStrategy = "human"

[notify]
webhook = "https://127.0.0.1:9/{WEBHOOK}"

[slack]
webhookUrl = "https://127.0.0.1:9/{SLACK}"

[github]
token = "{GITHUB}"

[experts."solo"]
instruction = "You are solo."
[experts."solo".skills."server"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["{MCP_SERVER}", "--fault", "secret_stderr"]
requiredEnv = ["API_KEY"]
[experts."solo".skills."@perstack/base"]
type = "baseSkill"
requireApproval = ["todo"]
"""
REMOTE: Final = f"""
[experts."idle"]
instruction = "You are idle."
[experts."idle".skills."web"]
type = "mcpHttpSkill"
endpoint = "https://127.0.0.1:9/mcp?token={SKILL_QUERY}"
allowPrivate = true
headers = {{ "X-Team" = "{SKILL_HEADER}" }}
"""


async def run(tmp_path: Path, *said: Answer) -> tuple[Ran, Program, list[str]]:
    """Run with a canary in every place that a key is kept; return what the vendor was sent too."""
    async with model_server(decide=by_expert({"solo": said})) as server:
        program = Program.make(
            tmp_path / "workspace",
            TOML + REMOTE,
            base_url=server.url,
            env={
                "API_KEY": SKILL_KEY,
                "DATABASE_URL": f"postgres://ana:{PASSWORD}@db/main",
            },
        )
        (program.workspace / ".env").write_text(f"DEPLOY_TOKEN={FILE_TOKEN}\n")
        options = ("--no-wait", "--max-retries", "0")
        ran = await program.run("run", "solo", "go", *options)
        return ran, program, [str(seen.body) for seen in server.requests]


def check_no_canary(program: Program, *texts: str) -> None:
    found = [
        f"{canary} in {path}"
        for path in (program.workspace / "perstack").rglob("*")
        if path.is_file()
        for canary in CANARIES
        if canary.encode() in path.read_bytes()
    ]
    found += [canary for canary in CANARIES for text in texts if canary in text]
    assert found == []


async def test_what_tools_read_and_servers_say_is_without_keys(tmp_path: Path) -> None:
    reading = calls(
        Call("readTextFile", {"path": ".env"}),
        Call("exec", {"command": "sh", "args": ["-c", "env; cat .env"], "cwd": "."}),
    )
    ran, program, sent = await run(tmp_path, reading, *finishes("Done."))
    assert ran.code == 0, ran.stderr
    assert len(ran.one("resolveToolResults")["toolResults"]) == 2
    assert "[redacted]" in ran.stdout
    check_no_canary(program, ran.stdout, ran.stderr, *sent)
    for words in (("log", "--json", "--take", "0"), ("export", ran.job_id), ("config", "check")):
        told = await program.run(*words)
        assert told.code == 0, told.stderr
        check_no_canary(program, told.stdout, told.stderr)


@pytest.mark.long
async def test_a_job_that_goes_on_with_its_own_definitions_has_its_skills_keys_from_the_file(
    tmp_path: Path,
) -> None:
    async with model_server(
        decide=by_expert({"solo": [*finishes("One."), *finishes("Two.")]})
    ) as server:
        program = Program.make(
            tmp_path / "workspace", TOML + REMOTE, base_url=server.url, env={"API_KEY": SKILL_KEY}
        )
        first = await program.run("run", "solo", "go")
        again = ("run", "solo", "on", "--continue-job", first.job_id, "--own-definitions")
        second = await program.run(*again)
        (program.workspace / "perstack.toml").write_text(TOML)
        third = await program.run(*again)
    assert (first.code, second.code, third.code) == (0, 0, 1), second.stderr
    assert "skill web of Expert idle" in third.stderr
    assert "put the skill back into perstack.toml" in third.stderr
    check_no_canary(program, *(ran.stdout + ran.stderr for ran in (first, second, third)))


async def test_a_gate_shows_no_keys(tmp_path: Path) -> None:
    ran, program, _ = await run(tmp_path, calls(Call("todo", {"newTodos": ["write"]})))
    assert ran.code == 3, ran.stderr
    shown = await program.run("consensus", "list", "--json")
    assert "write" in shown.stdout
    check_no_canary(program, ran.stdout, ran.stderr, shown.stdout)


@pytest.mark.parametrize(
    "status", [401, *(pytest.param(status, marks=pytest.mark.long) for status in (400, 500))]
)
async def test_a_vendor_that_echoes_keys_is_quoted_without_them(
    tmp_path: Path, status: int
) -> None:
    echo = f"bad key {ANTHROPIC_KEY} and header {HEADER} and {FILE_TOKEN}"
    ran, program, _ = await run(tmp_path, Refusal(status, echo))
    assert ran.code == 1
    assert "bad key" in ran.stderr
    check_no_canary(program, ran.stdout, ran.stderr)
