"""What of a skill is not stored, and where it comes from when it is needed again."""

from __future__ import annotations

import pytest

from perstack.config.kept import fit_to_keep, made_whole
from perstack.domain.expert import BaseSkill, Expert, McpHttpSkill, McpStdioSkill, SkillSpec
from perstack.domain.ids import ExpertKey
from perstack.errors import ConfigError

SOLO = ExpertKey("solo")
WEB = McpHttpSkill(
    endpoint="https://example.com/mcp?token=sesame-query", headers={"X-Key": "sesame-header"}
)


def _team(**skills: SkillSpec) -> dict[ExpertKey, Expert]:
    return {SOLO: Expert(key=SOLO, name="solo", instruction="Solo.", skills=skills)}


def test_header_values_and_queries_are_left_out_and_nothing_else() -> None:
    team = _team(web=WEB, other=McpStdioSkill(command="x", args=("a?b",)), base=BaseSkill())
    kept = fit_to_keep(team)
    assert "sesame" not in kept[SOLO].model_dump_json()
    assert kept[SOLO].skills["web"] == McpHttpSkill(
        endpoint="https://example.com/mcp?[redacted]", headers={"X-Key": "[redacted]"}
    )
    assert {name: kept[SOLO].skills[name] for name in ("other", "base")} == {
        name: team[SOLO].skills[name] for name in ("other", "base")
    }


def test_what_was_left_out_comes_from_todays_skill_at_the_same_address() -> None:
    renewed = WEB.model_copy(update={"headers": {"X-Key": "renewed"}, "pick": ("search",)})
    whole = made_whole(fit_to_keep(_team(web=WEB)), _team(web=renewed))
    assert whole == _team(web=WEB.model_copy(update={"headers": {"X-Key": "renewed"}}))


def test_what_lacks_nothing_needs_no_skill_today() -> None:
    plain = McpHttpSkill(endpoint="https://example.com/mcp", header_env={"X-Key": "KEY"})
    team = _team(web=plain, stdio=McpStdioSkill(command="x", args=("y",)))
    assert made_whole(fit_to_keep(team), {}) == team


@pytest.mark.parametrize(
    "today",
    [
        {},
        _team(),
        _team(web=McpStdioSkill(command="x", args=("y",))),
        _team(web=WEB.model_copy(update={"endpoint": "https://evil.example/mcp?a"})),
        _team(web=WEB.model_copy(update={"headers": {"Cookie": "x"}})),
    ],
    ids=["no Expert", "no skill", "another kind", "another address", "other headers"],
)
def test_secrets_are_not_handed_to_what_is_another_skill_today(
    today: dict[ExpertKey, Expert],
) -> None:
    with pytest.raises(ConfigError, match="skill web of Expert solo") as caught:
        made_whole(fit_to_keep(_team(web=WEB)), today)
    assert "perstack.toml" in str(caught.value.hint)
