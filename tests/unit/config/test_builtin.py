"""The built-in Experts are complete, bounded as any Expert is, and no more able than they need."""

from __future__ import annotations

import re

import pytest

from perstack.config import limits
from perstack.config.base_tools import BASE_TOOLS
from perstack.config.builtin import CORE_TYPES, builtin_experts
from perstack.domain.expert import BASE_SKILL, BaseSkill, Expert
from perstack.domain.ids import ExpertKey

WRITING = {"writeTextFile", "appendTextFile", "editTextFile", "deleteFile", "moveFile", "exec"}


def base_skill(expert: Expert) -> BaseSkill:
    skill = expert.skills[BASE_SKILL]
    assert isinstance(skill, BaseSkill)
    return skill


def test_the_eleven_core_types_are_there_in_their_order() -> None:
    assert len(CORE_TYPES) == 11
    assert tuple(builtin_experts()) == CORE_TYPES


@pytest.mark.parametrize("key", CORE_TYPES)
def test_each_is_held_to_what_perstack_toml_is_held_to(key: ExpertKey) -> None:
    expert = builtin_experts()[key]
    assert limits.EXPERT_NAME.fullmatch(key)
    assert 15 <= len(expert.instruction.strip().splitlines()) <= 60
    assert len(expert.instruction) <= limits.INSTRUCTION_LENGTH
    assert expert.description
    assert 4 <= len(expert.tags) <= limits.TAG_ITEMS
    assert all(limits.TAG.fullmatch(tag) for tag in expert.tags)
    skill = base_skill(expert)
    assert {*skill.pick, *skill.require_approval} <= {*BASE_TOOLS}
    assert all(skill.offers(tool) for tool in (*skill.require_approval, "attemptCompletion"))
    assert set(expert.delegates) <= {*CORE_TYPES} - {key}


@pytest.mark.parametrize("key", ["researcher", "reviewer", "adversarial", "coordinator"])
def test_who_only_looks_cannot_write_or_start_anything(key: str) -> None:
    skill = base_skill(builtin_experts()[ExpertKey(key)])
    assert not [tool for tool in WRITING if skill.offers(tool)]


@pytest.mark.parametrize("key", ["devops", "documentation", "security-auditor"])
def test_who_may_start_programs_beside_the_work_waits_for_a_person(key: str) -> None:
    skill = base_skill(builtin_experts()[ExpertKey(key)])
    assert skill.offers("exec")
    assert "exec" in skill.require_approval


def test_the_adversary_knows_the_markers_that_are_read_when_there_is_no_tool() -> None:
    text = builtin_experts()[ExpertKey("adversarial")].instruction
    assert re.search(r"\*\*\[SEVERITY:\s*(CRITICAL|HIGH|MEDIUM|LOW)\]\*\*\s*[-–—]\s*\S", text)
    for field in ("Location", "Attack Vector", "Impact", "Required Fix"):
        assert f"**{field}**:" in text
    assert re.findall(r"\*\*VERDICT:\s*(APPROVE|REJECT)\*\*", text) == ["APPROVE", "REJECT"]
