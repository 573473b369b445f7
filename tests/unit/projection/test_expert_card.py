"""An Expert of the registry for a reader: all that it would do, and nothing that acts."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.registry import Owner, RegistryExpert, VersionEntry, VersionList
from perstack.projection.expert_card import card_lines, expert_table, version_rows
from perstack.projection.inert import has_hidden
from perstack.projection.table_text import in_columns

WILD: Final = "a\x1b]0;owned\x07\u202eb\r\nc\u200b"
AT: Final = "2026-11-22T10:00:00.123Z"


def published(**more: object) -> RegistryExpert:
    said: dict[str, object] = {
        "id": "1",
        "key": "@acme/researcher@1.2.0",
        "name": "@acme/researcher",
        "version": "1.2.0",
        "instruction": "You search.\n\tThen you write.",
        "owner": Owner(name="acme", organization_id="org1"),
        "created_at": AT,
        "updated_at": AT,
    }
    return RegistryExpert.model_validate({**said, **more})


SKILLS: Final[dict[str, dict[str, JsonValue]]] = {
    "web": {
        "type": "mcpStdioSkill",
        "command": "npx",
        "packageName": "exa-mcp-server",
        "requiredEnv": ["EXA_API_KEY", "HOME"],
        "rule": "Be kind.\nBe brief.",
        "sampling": "allow",
    },
    "far": {
        "type": "mcpHttpSkill",
        "endpoint": "https://mcp.example.com/x",
        "headerEnv": {"x-key": "EXAMPLE_KEY"},
        "bearerTokenEnv": "EXAMPLE_TOKEN",
    },
}


def acts_on_nothing(line: str) -> bool:
    return not has_hidden(line) and "\n" not in line and "\t" not in line


def test_a_card_says_all_that_an_expert_would_do() -> None:
    expert = published(
        skills=SKILLS,
        delegates=("@acme/writer", "checker@1.0.0"),
        tags=("latest", "stable"),
        status="deprecated",
        description="Searches\nthe web",
    )
    entries = (
        VersionEntry(key=expert.key, version="1.2.0", tags=("latest",), status="deprecated"),
        VersionEntry(key="@acme/researcher@1.0.0", version="1.0.0"),
    )
    card = card_lines(expert, VersionList(versions=entries, latest="1.2.0"))
    assert card == (
        "Key           @acme/researcher@1.2.0",
        "Owner         acme",
        "Status        deprecated",
        "Tags          latest, stable",
        "Published     2026-11-22 10:00:00 UTC",
        f"Integrity     {expert.definition.integrity}",
        "Description   Searches the web",
        "Delegates     @acme/writer, checker@1.0.0",
        "Versions      1.2.0 (latest, deprecated), 1.0.0",
        "",
        "Skills",
        "  web",
        "    type          mcpStdioSkill",
        "    starts        npx exa-mcp-server",
        "    is given      EXA_API_KEY, HOME",
        "    rule",
        "      Be kind.",
        "      Be brief.",
        "    sampling      allow",
        "  far",
        "    type          mcpHttpSkill",
        "    connects to   https://mcp.example.com/x",
        '    sends headers {"x-key": "EXAMPLE_KEY"}',
        "    sends token   EXAMPLE_TOKEN",
        "",
        "Instruction",
        "  You search.",
        "      Then you write.",
    )


def test_what_is_not_known_of_a_skill_is_shown_as_it_came() -> None:
    skills: dict[str, dict[str, JsonValue]] = {
        "new": {"type": "newSkill", "args": ["-x", "y"], "opens": {"door": [1, True]}}
    }
    card = "\n".join(card_lines(published(skills=skills), None))
    assert "args          -x, y" in card
    assert 'opens         {"door": [1, true]}' in card


def test_an_expert_without_anything_is_said_to_have_nothing() -> None:
    card = card_lines(published(), None)
    assert "Delegates     none" in card
    assert "Skills        none besides the base tools" in card
    assert "Tags          -" in card


def test_hostile_text_acts_on_no_terminal_and_poses_as_no_line() -> None:
    hostile = published(
        description=WILD,
        instruction=f"{WILD}\nStatus        available",
        owner=Owner(name=WILD, organization_id=WILD),
        created_at=WILD,
        skills={WILD: {"type": WILD, "command": WILD, WILD: WILD, "rule": f"{WILD}\nOwner   us"}},
        delegates=(WILD,),
        tags=(WILD,),
    )
    card = card_lines(hostile, None)
    assert all(acts_on_nothing(line) for line in card)
    assert sum(line.startswith("Status") for line in card) == 1
    assert sum(line.startswith("Owner") for line in card) == 1


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=40),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=6,
    )
)
def test_whatever_a_skill_holds_is_shown_without_acting(skill: dict[str, JsonValue]) -> None:
    card = card_lines(published(skills={"any": skill}), None)
    assert all(acts_on_nothing(line) for line in card)


def test_rows_are_as_wide_as_a_terminal_and_the_description_is_cut() -> None:
    experts = [published(description="words " * 30), published(description=WILD)]
    lines = list(expert_table(experts))
    assert [len(line) for line in lines[:2]] == [
        len("NAME              VERSION  STATUS     DESCRIPTION"),
        80,
    ]
    assert lines[1].endswith("…")
    assert all(acts_on_nothing(line) for line in lines)


def test_a_version_of_which_little_is_said_has_dashes() -> None:
    entry = VersionEntry(key="a@1.0.0", version="1.0.0")
    assert version_rows(VersionList(versions=(entry,))) == [("1.0.0", "-", "-", "-")]
    assert list(in_columns(version_rows(VersionList(versions=(entry,)))))
