"""Names of base tools that are none: a gate that was misspelt is not off without a word."""

from __future__ import annotations

import pytest

from perstack.config.base_tools import BASE_TOOLS, MEMORY_TOOLS
from perstack.skills.base.catalog import TOOLS
from perstack.skills.memory.skill import TOOL_NAMES
from tests.unit.config.reading import WRITER, read, refused_lines

BASE = WRITER + '[experts.writer.skills."@perstack/base"]\ntype = "baseSkill"\n'
AT = 'experts.writer.skills."@perstack/base"'


def test_the_names_are_those_of_the_tools() -> None:
    assert tuple(tool.name for tool in TOOLS) == BASE_TOOLS
    assert TOOL_NAMES == MEMORY_TOOLS


@pytest.mark.parametrize("key", ["omit", "requireApproval"])
@pytest.mark.parametrize("name", ["exce", "Exec", "delete_file", "deleteFiles"])
def test_a_gate_on_a_misspelt_tool_refuses_the_file(key: str, name: str) -> None:
    (line,) = refused_lines(BASE + f'{key} = ["{name}"]\n')
    meant = "exec" if name.lower().startswith("ex") else "deleteFile"
    assert line == f'{AT}.{key} (line 5): "{name}" is no base tool; did you mean {meant}?'


@pytest.mark.parametrize("name", ["frobnicate", "think"])
def test_a_gate_on_no_tool_at_all_refuses_the_file(name: str) -> None:
    """A run would refuse it, too, once it opens the skill."""
    (line,) = refused_lines(BASE + f'requireApproval = ["{name}"]\n')
    assert f'"{name}" is no base tool; base tools: attemptCompletion, todo' in line


@pytest.mark.parametrize("key", ["omit", "pick"])
def test_a_name_that_resembles_none_is_a_warning(key: str) -> None:
    (warning,) = read(BASE + f'{key} = ["frobnicate"]\n').warnings
    assert str(warning) == f'{AT}.{key} (line 5): "frobnicate" is no base tool'
    assert warning.hint is not None
    assert warning.hint.startswith("base tools: attemptCompletion, todo")


def test_a_misspelt_pick_takes_away_and_is_a_warning() -> None:
    (warning,) = read(BASE + 'pick = ["readTextFiel"]\n').warnings
    assert warning.hint == "did you mean readTextFile?"


def test_tools_by_their_names_and_the_former_think_are_told_of_no_one() -> None:
    assert read(BASE + 'pick = ["think", "exec"]\nrequireApproval = ["exec"]\n').warnings == ()


def test_another_base_skill_has_names_of_its_own() -> None:
    other = 'perstackBaseSkillCommand = ["node", "base.js"]\n'
    assert read(other + BASE + 'omit = ["exce"]\n').warnings == ()
    pinned = BASE.replace("baseSkill", "mcpStdioSkill") + 'command = "npx"\n'
    assert read(pinned + 'packageName = "@perstack/base@0.0.1"\nomit = ["exce"]\n').warnings == ()
