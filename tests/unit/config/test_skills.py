from __future__ import annotations

import json

import pytest

from perstack.config.commands import server_command
from perstack.domain.expert import (
    BASE_SKILL,
    MEMORY_SKILL,
    BaseSkill,
    InteractiveSkill,
    InteractiveTool,
    McpStdioSkill,
    MemorySkill,
    SkillSpec,
)
from perstack.domain.ids import ExpertKey
from tests.unit.config.reading import WRITER, read, refused_lines, warned

BASE = WRITER + '[experts.writer.skills."@perstack/base"]\ntype = "mcpStdioSkill"\n'
STDIO = WRITER + '[experts.writer.skills.web]\ntype = "mcpStdioSkill"\n'
ASK = WRITER + '[experts.writer.skills.ask]\ntype = "interactiveSkill"\n'
TOOL = ASK + "[experts.writer.skills.ask.tools.askUser]\n"
TYPES = "mcpStdioSkill, mcpSseSkill, mcpHttpSkill, interactiveSkill"
SCHEMA = '{"type":"object","properties":{"q":{"type":"string"}}}'


def skills_of(text: str) -> dict[str, SkillSpec]:
    return read(text).experts[ExpertKey("writer")].skills


def test_the_base_skill_is_there_without_being_named_and_comes_first() -> None:
    skills = skills_of(STDIO + 'command = "npx"\npackageName = "exa-mcp-server"\n')
    assert list(skills) == [BASE_SKILL, "web"]
    assert skills[BASE_SKILL] == BaseSkill()


def test_the_base_skill_as_upstream_writes_it_becomes_ours() -> None:
    text = BASE + (
        'command = "npx"\npackageName = "@perstack/base"\npick = ["exec"]\nomit = ["todo"]\n'
        'rule = "Be careful"\nrequireApproval = ["exec"]\nlazyInit = false\n'
    )
    assert skills_of(text) == {
        BASE_SKILL: BaseSkill(
            pick=("exec",), omit=("todo",), rule="Be careful", require_approval=("exec",)
        )
    }
    assert warned(text) == []


@pytest.mark.parametrize(
    ("rest", "package", "args"),
    [
        ('packageName = "@perstack/base@0.0.34"', "@perstack/base@0.0.34", ()),
        (
            'args = ["-y", "@perstack/base@latest", "x"]',
            None,
            ("-y", "@perstack/base@latest", "x"),
        ),
    ],
)
def test_a_base_skill_pinned_to_a_version_is_that_server(
    rest: str, package: str | None, args: tuple[str, ...]
) -> None:
    text = BASE + f'command = "npx"\n{rest}\nomit = ["exec"]\nrequireApproval = ["deleteFile"]\n'
    assert skills_of(text) == {
        BASE_SKILL: McpStdioSkill(
            command="npx",
            package_name=package,
            args=args,
            omit=("exec",),
            require_approval=("deleteFile",),
        )
    }
    assert warned(text) == []


def test_a_foreign_base_skill_is_replaced_with_a_warning() -> None:
    (warning,) = warned(BASE + 'command = "npx"\npackageName = "@other/base@1.0.0"\n')
    assert "packageName (line 6): the built-in base skill is used instead" in warning
    (warning,) = warned(BASE + 'command = "sh"\nargs = ["-c", "x"]\n')
    assert "args (line 6): the built-in base skill is used instead" in warning


def test_required_env_of_the_base_skill_is_warned_of() -> None:
    (warning,) = warned(BASE + 'requiredEnv = ["A"]\n')
    assert warning.endswith("has no effect on the built-in base skill")


def test_a_stdio_skill_is_read_whole() -> None:
    skill = skills_of(
        STDIO + 'command = "uvx"\nargs = ["--from", "x", ""]\ndescription = "d"\nrule = "r"\n'
        'pick = ["p"]\nomit = ["o"]\nrequiredEnv = ["EXA_API_KEY"]\nrequireApproval = ["send"]\n'
    )["web"]
    assert skill == McpStdioSkill(
        description="d",
        rule="r",
        pick=("p",),
        omit=("o",),
        command="uvx",
        args=("--from", "x", ""),
        required_env=("EXA_API_KEY",),
        require_approval=("send",),
    )


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ('command = "npx"', "packageName (line 3): Skill web has no packageName or args"),
        (
            'command = "npx"\nargs = []',
            "packageName (line 3): Skill web has no packageName or args",
        ),
        (
            'command = "npx"\npackageName = ""',
            "packageName (line 6): Skill web has no packageName or args",
        ),
        (
            'command = "npx"\npackageName = "a"\nargs = ["b"]',
            "args (line 7): Skill web has both packageName and args",
        ),
        ('args = ["b"]', "command (line 3): must be given, such as npx, uvx or a path"),
        ('command = ""\nargs = ["b"]', "command (line 5): must have 1 to 2,048 characters; it "),
        ('command = "a\\u0000"\nargs = ["b"]', "command (line 5): must not hold NUL characters"),
        (
            'command = "a"\nargs = ["b"]\nrequiredEnv = ["A B"]',
            'requiredEnv (line 7): holds "A B", which is not the name of a variable',
        ),
        (
            'command = "a"\nargs = ["b"]\nrule = "' + "r" * 2_049 + '"',
            "rule (line 7): must have 0 to 2,048 characters; it has 2,049",
        ),
        (
            f'command = "a"\nargs = ["b"]\npick = {["x"] * 256}',
            "pick (line 7): may have at most 255 items; it has 256",
        ),
        (
            f'command = "a"\nargs = ["b"]\nomit = ["{"x" * 256}"]',
            "omit (line 7): has an item of 256 characters: ",
        ),
        (
            'command = "a"\nargs = ["b"]\nrequireApproval = "send"',
            'requireApproval (line 7): must be a list of strings such as ["a", "b"], not "send"',
        ),
        (
            'command = "a"\nargs = ["b"]\nrequireAproval = ["send"]',
            "requireAproval (line 7): unknown key; did you mean requireApproval?",
        ),
        (
            'command = "a"\nargs = ["b"]\nlazyInit = "no"',
            'lazyInit (line 7): must be true or false, not "no"',
        ),
    ],
)
def test_a_wrong_stdio_skill_is_refused(rest: str, problem: str) -> None:
    (line,) = refused_lines(STDIO + rest)
    assert line.startswith(f"experts.writer.skills.web.{problem}")


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("", f"type (line 3): must be given: {TYPES}"),
        ('type = "mcp"', f'type (line 4): must be one of {TYPES}, not "mcp"'),
        ("type = 1", f"type (line 4): must be one of {TYPES}, not 1"),
    ],
)
def test_a_skill_of_no_usable_type_is_refused(kind: str, problem: str) -> None:
    lines = refused_lines(WRITER + "[experts.writer.skills.web]\n" + kind)
    assert lines == [f"experts.writer.skills.web.{problem}"]


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("skills.web = 1", "skills.web (line 3): must be a table, not 1"),
        (
            f'skills.{"s" * 256}.type = "interactiveSkill"',
            f'skills."{"s" * 79}…" (line 3): a skill\'s name has 1 to 255 characters',
        ),
    ],
)
def test_a_wrong_skill_entry_is_refused(rest: str, problem: str) -> None:
    assert refused_lines(WRITER + rest)[0] == f"experts.writer.{problem}"


def test_more_than_255_skills_are_refused() -> None:
    text = "".join(
        f'[experts.writer.skills.s{number}]\ntype = "mcpStdioSkill"\ncommand = "c"\nargs = ["a"]\n'
        for number in range(256)
    )
    assert refused_lines(WRITER + text) == [
        "experts.writer.skills (line 3): may have 255 skills; it has 256"
    ]


def test_allowed_domains_are_said_to_limit_nothing_here() -> None:
    text = STDIO + 'command = "a"\nargs = ["b"]\nlazyInit = true\nallowedDomains = ["*.x.org"]\n'
    (warning,) = warned(text)
    assert warning.endswith(
        "limits skills in Perstack's docker runtime only; here it has no effect"
    )
    skill = skills_of(text)["web"]
    assert isinstance(skill, McpStdioSkill)
    assert (skill.lazy_init, skill.allowed_domains) == (True, ("*.x.org",))


@pytest.mark.parametrize(
    "domain",
    ["xn--80ak6aa92e.com", "a.xn--p1ai", "x.org.", "*", "*x.org", "a.*.org", "a b", "-a.b"],
)
def test_domains_that_deceive_are_refused(domain: str) -> None:
    (line,) = refused_lines(STDIO + f'command = "a"\nargs = ["b"]\nallowedDomains = ["{domain}"]\n')
    assert f'allowedDomains (line 7): holds "{domain}", which is not a domain; ' in line


def test_an_interactive_skill_is_read_whole() -> None:
    text = (
        WRITER
        + f"""
[experts.writer.skills.ask]
type = "interactiveSkill"
description = "d"
rule = "r"
[experts.writer.skills.ask.tools.askUser]
name = "askUser"
description = "Ask"
inputJsonSchema = '''{SCHEMA}'''
"""
    )
    assert skills_of(text)["ask"] == InteractiveSkill(
        description="d",
        rule="r",
        tools={"askUser": InteractiveTool(description="Ask", input_schema=json.loads(SCHEMA))},
    )
    assert warned(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ASK, "tools (line 3): must be given: one table for each question"),
        (ASK + "tools = {}", "tools (line 5): must have 1 to 255 tools"),
        (ASK + "tools = 1", "tools (line 5): must be a table, not 1"),
        (
            TOOL,
            (
                "tools.askUser.inputJsonSchema (line 5): must be given: the answer's JSON Schema "
                "as a string of JSON"
            ),
        ),
        (
            TOOL + "inputJsonSchema = {}",
            "tools.askUser.inputJsonSchema (line 6): must be a string, not a table",
        ),
        (
            TOOL + 'inputJsonSchema = "{"',
            "tools.askUser.inputJsonSchema (line 6): is not JSON: Expecting property name",
        ),
        (
            TOOL + "inputJsonSchema = '" + "[" * 20_000 + "'",
            "tools.askUser.inputJsonSchema (line 6): is not JSON: maximum recursion depth",
        ),
        (
            TOOL + "inputJsonSchema = '" + '{"a":' * 51 + "1" + "}" * 51 + "'",
            "tools.askUser.inputJsonSchema (line 6): is not JSON: nested deeper than 50",
        ),
        (
            TOOL + """inputJsonSchema = '{"type":"object","x":NaN}'""",
            "tools.askUser.inputJsonSchema (line 6): is not JSON: NaN is not allowed",
        ),
        (
            TOOL + """inputJsonSchema = '{"type":"object","x":"\\ud800"}'""",
            "tools.askUser.inputJsonSchema (line 6): is not JSON: 'utf-8' codec can't encode",
        ),
        (
            TOOL + """inputJsonSchema = '{"type":"string"}'""",
            "tools.askUser.inputJsonSchema (line 6): must be a JSON Schema of an object, with",
        ),
        (
            TOOL + "inputJsonSchema = '[]'",
            "tools.askUser.inputJsonSchema (line 6): must be a JSON Schema of an object, with",
        ),
        (
            TOOL + "inputJsonSchema = '" + " " * 20_481 + "'",
            "tools.askUser.inputJsonSchema (line 6): must have 0 to 20,480 characters; it has ",
        ),
        (
            ASK + "tools." + "t" * 256 + f".inputJsonSchema = '{SCHEMA}'",
            f'tools."{"t" * 79}…" (line 5): a tool\'s name has 1 to 255 characters',
        ),
    ],
)
def test_a_wrong_interactive_skill_is_refused(text: str, problem: str) -> None:
    (line,) = refused_lines(text)
    assert line.startswith(f"experts.writer.skills.ask.{problem}")


@pytest.mark.parametrize(
    ("skill", "command"),
    [
        (McpStdioSkill(command="npx", package_name="p"), ("npx", ["-y", "p"])),
        (McpStdioSkill(command="npx", args=("-y", "p")), ("npx", ["-y", "p"])),
        (McpStdioSkill(command="npx", args=("--yes", "p")), ("npx", ["--yes", "p"])),
        (McpStdioSkill(command="uvx", package_name="p"), ("uvx", ["p"])),
        (McpStdioSkill(command="python", args=("s.py", "-v")), ("python", ["s.py", "-v"])),
    ],
)
def test_npx_is_told_not_to_ask(skill: McpStdioSkill, command: tuple[str, list[str]]) -> None:
    assert server_command(skill) == command


MEMORY = WRITER + '[experts.writer.skills."@perstack/memory"]\n'
AT_MEMORY = 'experts.writer.skills."@perstack/memory"'


def test_memory_is_a_skill_that_is_there_once_it_is_named() -> None:
    assert MEMORY_SKILL not in skills_of(WRITER)
    assert skills_of(MEMORY)[MEMORY_SKILL] == MemorySkill()
    text = MEMORY + (
        'type = "memorySkill"\ndescription = "d"\nrule = "r"\npick = ["getMemory"]\n'
        'omit = ["deleteMemory"]\nrequireApproval = ["storeMemory"]\nnamespace = "team"\n'
    )
    assert skills_of(text)[MEMORY_SKILL] == MemorySkill(
        description="d",
        rule="r",
        pick=("getMemory",),
        omit=("deleteMemory",),
        require_approval=("storeMemory",),
        namespace="team",
    )
    assert read(text).demands() == ()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('type = "baseSkill"', f'{AT_MEMORY}.type (line 4): must be one of memorySkill, not "base'),
        (
            'namespace = "session:1"',
            f'{AT_MEMORY}.namespace (line 4): is "session:1", which is not',
        ),
        (
            'requireApproval = ["store"]',
            f'{AT_MEMORY}.requireApproval (line 4): "store" is no memory tool',
        ),
        (
            'omit = ["deletMemory"]',
            (
                f'{AT_MEMORY}.omit (line 4): "deletMemory" is no memory tool; '
                "did you mean deleteMemory?"
            ),
        ),
        ('requireAproval = ["storeMemory"]', f"{AT_MEMORY}.requireAproval (line 4): unknown key"),
    ],
)
def test_a_memory_skill_that_would_not_do_what_it_says_is_refused(line: str, says: str) -> None:
    (told,) = refused_lines(f"{MEMORY}{line}\n")
    assert told.startswith(says)


def test_memory_has_one_name() -> None:
    (told,) = refused_lines(STDIO.replace("mcpStdioSkill", "memorySkill"))
    assert told == (
        "experts.writer.skills.web.type (line 4): is only for @perstack/memory; "
        'name the skill "@perstack/memory"'
    )
