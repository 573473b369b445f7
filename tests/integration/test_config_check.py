"""`perstack config check` and `perstack config schema`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perstack.cli.known_tools import known_tools
from perstack.config.load import load_config
from perstack.config.lockfile import Lock, LockedTool
from perstack.config.schema import schema_text
from perstack.domain.ids import ExpertKey
from tests.fakes.cli import ANTHROPIC_KEY, Program, Ran

pytestmark = pytest.mark.anyio

TEAM = """
maxSteps = 7
[budget]
maxTokens = 1000
maxCostUsd = 2.5
[consensus]
enabled = true
[experts.lead]
instruction = "Lead."
version = "1.2.3"
delegates = ["writer"]
[experts.lead.skills.ask]
type = "interactiveSkill"
[experts.lead.skills.ask.tools.askUser]
inputJsonSchema = '{"type": "object"}'
[experts.writer]
instruction = "Write."
[experts.writer.skills."@perstack/base"]
type = "baseSkill"
pick = ["readTextFile", "exec"]
requireApproval = ["exec"]
[experts.writer.skills.web]
type = "mcpStdioSkill"
command = "npx"
packageName = "exa-mcp-server"
requiredEnv = ["EXA_API_KEY"]
"""
LATE = """
[provider]
envPath = [".env"]
[experts.a]
instruction = "x"
qqq = 1
"""


async def check(tmp_path: Path, toml: str, *args: str, trusted: bool = True) -> Ran:
    return await Program.make(tmp_path, toml, trusted=trusted).run("config", "check", *args)


async def test_what_was_understood_is_printed(tmp_path: Path) -> None:
    ran = await check(tmp_path, TEAM)
    assert (ran.code, ran.stderr) == (0, "")
    rows = dict(line.split(None, 1) for line in ran.stdout.splitlines()[:11] if " " in line)
    assert rows["file"] == str(tmp_path / "perstack.toml")
    assert rows["sha256"] == load_config(tmp_path / "perstack.toml").text_hash
    assert rows["provider"] == "anthropic"
    assert rows["model"].startswith("claude-sonnet-5-5: window 1,000,000 tokens; reasons: yes;")
    assert rows["runtime"] == "perstack"
    assert rows["limits"].startswith("7 steps, 5 retries, 300,000 ms a generation, 128 runs")
    assert rows["budget"] == "1,000 tokens, $2.5"
    assert rows["consensus"] == (
        "on: high, medium risk waits, and what is deeper than 5; "
        "a reviewing Expert may approve up to low risk"
    )
    _, _, experts = ran.stdout.partition("\n\n")
    assert experts == (
        "lead 1.2.3\n"
        "  delegates writer\n"
        "  @perstack/base (built in)\n"
        "    all 17 base tools\n"
        "  ask (asks the user)\n"
        "    askUser\n"
        "\n"
        "writer 1.0.0\n"
        "  @perstack/base (built in)\n"
        "    readTextFile, exec\n"
        "    wait for approval: exec\n"
        "  web (npx -y exa-mcp-server)\n"
        "    its tools are known once it was asked, or from perstack.lock\n"
        "\n"
        "It asks for:\n"
        "  start npx exa-mcp-server with EXA_API_KEY\n"
        "\n"
        "No warnings.\n"
    )


async def test_the_database_is_told_without_its_password_and_one_that_cannot_be_is_refused(
    tmp_path: Path,
) -> None:
    program = Program.make(tmp_path, TEAM)
    ran = await program.run("config", "check")
    assert f"\ndatabase    {tmp_path / 'perstack' / 'perstack.db'}\n" in ran.stdout
    url = {"PERSTACK_DATABASE_URL": "postgresql://ana:hunter2@db.example/team"}
    ran = await program.run("config", "check", "--json", env=url)
    assert json.loads(ran.stdout)["database"] == "postgresql://ana:***@db.example/team"
    ran = await program.run("config", "check", env={"PERSTACK_DATABASE_URL": "hunter2"})
    assert (ran.code, "hunter2" in ran.stdout + ran.stderr) == (1, False)
    assert "write postgresql://USER@HOST/NAME" in ran.stderr


async def test_what_is_not_accepted_yet_is_said(tmp_path: Path) -> None:
    ran = await check(tmp_path, TEAM, trusted=False)
    assert "  start npx exa-mcp-server with EXA_API_KEY   (not accepted yet)\n" in ran.stdout
    named = await check(tmp_path, TEAM, "--config", str(tmp_path / "perstack.toml"), trusted=False)
    assert "not accepted" not in named.stdout


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ('runtime = "claude-code"', "claude-code: does nothing unasked"),
        (
            'runtime = "codex"\n[runtimes.codex]\ncommand = ["npx", "codex"]\nenv = ["A_KEY"]',
            "codex (npx codex): edits files unasked, is given A_KEY",
        ),
        (
            'runtime = "docker"\n[runtimes.docker]\nmemory = 4096\ncpus = 1.5',
            "docker: 4,096 MB, 1.5 cpus, 256 processes",
        ),
    ],
)
async def test_what_executes_the_experts_is_told(tmp_path: Path, top: str, said: str) -> None:
    own = '\n[experts.a]\ninstruction = "x"\nruntime = "cursor"\n'
    ran = await check(tmp_path, top + own)
    rows = [line for line in ran.stdout.splitlines() if line.split(None, 1)[:1] == ["runtime"]]
    assert [line.split(None, 1)[1] for line in rows] == [said, "cursor"]
    (expert,) = json.loads((await check(tmp_path, top + own, "--json")).stdout)["experts"]
    assert expert["runtime"] == "cursor"


async def test_every_warning_has_its_line_and_remedy_and_the_exit_code_is_0(tmp_path: Path) -> None:
    ran = await check(tmp_path, 'model = "gpt-4.1"\nreasoningBudget = "high"\n' + LATE)
    assert ran.code == 0
    _, _, told = ran.stdout.partition("warnings:\n")
    assert told.splitlines() == [
        "  model (line 1): gpt-4.1 is a model of openai, but the provider is anthropic",
        '      write model = "claude-sonnet-5-5"',
        "  reasoningBudget (line 2): gpt-4.1 cannot reason, so that it has no effect",
        '      write reasoningBudget = "none"',
        (
            "  provider.envPath (line 5): has no effect here: TOML puts keys below [provider] into "
            "that table"
        ),
        "      move envPath above the first [table] of the file",
        "  experts.a.qqq (line 8): unknown key",
        (
            "      known here: delegates, description, instruction, minRuntimeVersion, "
            "providerSkills, providerToolOptions, providerTools, runtime, skills, tags, version"
        ),
    ]


async def test_all_problems_are_listed_and_the_exit_code_is_1(tmp_path: Path) -> None:
    toml = "".join(f"[experts.e{number}]\n" for number in range(30))
    ran = await check(tmp_path, toml)
    assert (ran.code, ran.stdout) == (1, "")
    first, *rest, hint = ran.stderr.splitlines()
    assert first == f"Error: {tmp_path}/perstack.toml: Validation failed:"
    assert len(rest) == 30
    assert rest[29].startswith("  - experts.e29.instruction (line 30): is missing; write ")
    assert hint == "Hint: correct line 1 of perstack.toml and save it"


async def test_a_delegate_that_can_be_nobody_is_refused(tmp_path: Path) -> None:
    toml = '[experts.a]\ninstruction = "x"\ndelegates = ["no.body"]\n'
    ran = await check(tmp_path, toml)
    assert ran.code == 1
    assert "experts.a.delegates (line 3): delegate no.body of a not found" in ran.stderr


async def test_a_delegate_that_a_registry_may_have_is_no_mistake(tmp_path: Path) -> None:
    toml = '[experts.a]\ninstruction = "x"\ndelegates = ["@acme/helper", "aa"]\n'
    ran = await check(tmp_path, toml)
    assert ran.code == 0
    assert "helper" not in ran.stderr


async def test_json_holds_the_same(tmp_path: Path) -> None:
    ran = await check(tmp_path, TEAM + LATE, "--json")
    assert ran.code == 0
    told = json.loads(ran.stdout)
    assert told["ok"] is True
    assert told["file"] == str(tmp_path / "perstack.toml")
    assert told["model"]["name"] == "claude-sonnet-5-5"
    assert told["model"]["contextWindow"] == 1_000_000
    assert told["settings"]["budget"] == {
        "maxTokens": 1000,
        "maxCostUsd": 2.5,
        "maxDuration": None,
    }
    lead, writer, _ = told["experts"]
    assert (lead["key"], lead["delegates"], lead["delegateTools"]) == (
        "lead",
        ["writer"],
        ["writer"],
    )
    assert writer["skills"] == {
        "@perstack/base": {"type": "baseSkill", "tools": ["readTextFile", "exec"]},
        "web": {"type": "mcpStdioSkill", "tools": None},
    }
    assert told["asksFor"] == [
        {"kind": "command", "text": "start npx exa-mcp-server with EXA_API_KEY", "accepted": True}
    ]
    assert [(one["line"], one["key"]) for one in told["warnings"]] == [
        (29, "provider.envPath"),
        (32, "experts.a.qqq"),
    ]


async def test_json_of_a_refused_file_lists_its_problems(tmp_path: Path) -> None:
    ran = await check(tmp_path, "maxSteps = 0\n[experts.a]\n", "--json")
    assert (ran.code, ran.stderr) == (1, "")
    told = json.loads(ran.stdout)
    assert told["ok"] is False
    assert [(one["line"], one["key"]) for one in told["problems"]] == [
        (1, "maxSteps"),
        (2, "experts.a.instruction"),
    ]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("a = x", "is not valid TOML at line 1"),
        ("a = '\xff", "is not valid TOML"),
        ('[provider]\nproviderName = "ollama"\n', "the provider ollama has no default model"),
        ('envPath = ["."]\n', "is not a file"),
    ],
)
async def test_what_keeps_a_run_from_starting_is_refused(
    tmp_path: Path, toml: str, message: str
) -> None:
    ran = await check(tmp_path, toml)
    assert ran.code == 1
    assert message in ran.stderr
    as_json = await check(tmp_path, toml, "--json")
    assert as_json.code == 1
    assert message in json.loads(as_json.stdout)["error"]


async def test_no_secret_of_the_file_or_the_environment_is_printed(tmp_path: Path) -> None:
    toml = (
        '[notify]\nwebhook = "https://hooks.example/canary-5"\n'
        '[provider.setting]\nheaders = { Authorization = "Bearer canary-1" }\n[experts.a]\n'
        'instruction = "x"\n[experts.a.skills.web]\ntype = "mcpHttpSkill"\n'
        'endpoint = "https://mcp.example/x?key=canary-4"\nheaders = { X-Api-Key = "canary-2" }\n'
    )
    (tmp_path / ".env").write_text("EXA_API_KEY=canary-3\n")
    for extra in ((), ("--json",)):
        ran = await check(tmp_path, toml, *extra)
        assert ran.code == 0
        assert "canary" not in ran.stdout + ran.stderr
        assert ANTHROPIC_KEY not in ran.stdout + ran.stderr


async def test_control_characters_of_the_file_are_printed_as_escapes(tmp_path: Path) -> None:
    ran = await check(
        tmp_path, 'model = "\\u001b[31m"\nenvPath = ["\\u001b]0;x\\u0007"]\n"\\u001b" = 1\n'
    )
    assert ran.code == 0
    assert "\x1b" not in ran.stdout
    assert "\x07" not in ran.stdout


async def test_a_file_that_defines_nobody_is_told(tmp_path: Path) -> None:
    ran = await check(tmp_path, "maxSteps = 5\n")
    assert ran.code == 0
    assert "experts: no Expert is defined\n      write [experts.NAME]" in ran.stdout


async def test_an_env_files_fault_is_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HTTPS_PROXY=http://evil.example\n")
    ran = await check(tmp_path, "", trusted=False)
    assert ran.code == 0
    assert "HTTPS_PROXY is ignored" in ran.stdout


async def test_a_lock_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "perstack.lock").write_text("version = 3")
    ran = await check(tmp_path, TEAM)
    assert ran.code == 0
    assert "perstack.lock is no lock file" in ran.stdout
    (tmp_path / "perstack.lock").write_text('version = "1"\nconfigPath = "x"\ncontentHash = "0"\n')
    ran = await check(tmp_path, TEAM)
    assert "perstack.lock: was made from another state of the configuration" in ran.stdout
    assert "      write it anew: perstack install" in ran.stdout


async def test_a_lock_file_tells_the_tools_of_servers_and_their_collisions(tmp_path: Path) -> None:
    (tmp_path / "perstack.toml").write_text(TEAM)
    digest = load_config(tmp_path / "perstack.toml").text_hash
    tools = "".join(
        f'[[experts.writer.toolDefinitions]]\nskillName = "web"\nname = "{name}"\n'
        "inputSchema = {}\n"
        for name in ("search", "exec")
    )
    (tmp_path / "perstack.lock").write_text(
        f'version = "1"\ngeneratedAt = 1\nconfigPath = "perstack.toml"\ncontentHash = "{digest}"\n'
        f'[experts.writer]\nkey = "writer"\n{tools}'
    )
    ran = await check(tmp_path, TEAM)
    assert "  web (npx -y exa-mcp-server)\n    search, web__exec\n" in ran.stdout
    line = TEAM.split("\n").index("[experts.writer.skills.web]") + 1
    assert (
        f"  experts.writer.skills.web (line {line}): its tool exec is offered as web__exec: "
        "another tool has that name\n"
    ) in ran.stdout


async def test_delegates_and_questions_that_take_a_tools_name_are_told(tmp_path: Path) -> None:
    toml = """
[experts.lead]
instruction = "x"
delegates = ["todo"]
[experts.lead.skills.ask]
type = "interactiveSkill"
[experts.lead.skills.ask.tools.readTextFile]
inputJsonSchema = '{"type": "object"}'
[experts.todo]
instruction = "x"
"""
    ran = await check(tmp_path, toml)
    assert ran.code == 0
    _, _, told = ran.stdout.partition("2 warnings:\n")
    assert [line for line in told.splitlines() if line.startswith("  experts")] == [
        (
            "  experts.lead.delegates (line 4): the delegate todo is offered as delegate__todo: a "
            "tool has its name"
        ),
        (
            "  experts.lead.skills.ask (line 5): its tool is offered as ask__readTextFile: another "
            "tool has its name"
        ),
    ]


async def test_a_pinned_base_skill_is_known_from_the_lock_alone(tmp_path: Path) -> None:
    toml = (
        '[experts.a]\ninstruction = "x"\n[experts.a.skills."@perstack/base"]\n'
        'type = "mcpStdioSkill"\ncommand = "npx"\npackageName = "@perstack/base@1.0.0"\n'
    )
    (tmp_path / "perstack.toml").write_text(toml)
    experts = load_config(tmp_path / "perstack.toml").experts
    expert = experts[ExpertKey("a")]
    assert known_tools(expert, experts, None).by_skill == {"@perstack/base": None}
    tool = LockedTool("@perstack/base", "exec", "", {})
    known = known_tools(expert, experts, Lock("perstack.toml", None, {expert.key: (tool,)}))
    assert known.by_skill == {"@perstack/base": ("exec",)}
    assert known.collisions == ()


async def test_without_a_file_or_a_folder_the_next_step_is_told(tmp_path: Path) -> None:
    program = Program.make(tmp_path, "")
    (tmp_path / "perstack.toml").unlink()
    ran = await program.run("config", "check", "--workspace", str(tmp_path))
    assert ran.code == 1
    assert "perstack.toml not found. Create one or specify --config path." in ran.stderr
    ran = await program.run("config", "check", "--workspace", str(tmp_path / "nowhere"))
    assert ran.code == 1
    assert "is not a folder" in ran.stderr


async def test_the_schema_is_printed(tmp_path: Path) -> None:
    ran = await Program.make(tmp_path, "").run("config", "schema")
    assert ran.code == 0
    assert ran.stdout == schema_text()


async def test_a_refusal_tells_what_was_doubtful_besides(tmp_path: Path) -> None:
    """A key that is missing is there, misspelt; a provider is taken for the one it looks like."""
    toml = """
[provider]
providerName = "scripte"
[provider.setting]
scenario = "s.toml"
[experts.a]
instrution = "x"
"""
    for words in (("config", "check"), ("run", "a", "go")):
        ran = await Program.make(tmp_path, toml, trusted=False).run(*words)
        assert ran.code == 1
        assert 'write providerName = "scripted"' in ran.stderr
        assert "unknown key; did you mean instruction?" in ran.stderr
        assert "scenario" not in ran.stderr
    said = await check(tmp_path, toml, "--json", trusted=False)
    told = json.loads(said.stdout)
    assert [entry["key"] for entry in told["problems"]] == [
        "provider.providerName",
        "experts.a.instruction",
    ]
    assert [entry["key"] for entry in told["warnings"]] == ["experts.a.instrution"]
