"""What may be published of an Expert, and what of a version may be changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from perstack.config.load import parse_config
from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import (
    Definition,
    VersionEntry,
    VersionList,
)
from perstack.errors import (
    RegistryError,
    RegistryUnreachableError,
    UsageError,
)
from perstack.services.publishing import (
    Draft,
    Lead,
    checked_status,
    checked_tags,
    draft_of,
    exact_version,
    later_statuses,
    leads_of,
    moved_tags,
    publish,
    replaced,
)
from tests.fakes.registry_shelf import Shelf, published

SECRET: Final = "canary-0123456789"
WEB: Final = 'instruction = "x"\n[experts.lead.skills.web]\ntype = "mcpStdioSkill"\n'
FAR: Final = 'instruction = "x"\n[experts.lead.skills.far]\ntype = "mcpHttpSkill"\n'
TEAM: Final = """
[experts.lead]
version = "1.2.0"
instruction = "You lead."
delegates = ["writer", "checker@1.0.0", "coder"]
[experts.writer]
instruction = "You write."
"""

pytestmark = pytest.mark.anyio


def experts(toml: str) -> Mapping[ExpertKey, Expert]:
    return parse_config(Path("/nowhere/perstack.toml"), toml.encode()).experts


def draft(toml: str, name: str, env: Mapping[str, str] | None = None) -> Draft:
    return draft_of(experts(toml)[ExpertKey(name)], env or {})


def shelf(*names: str) -> Shelf:
    """A registry that has Experts of these names, version 1.0.0."""
    return Shelf(
        [
            published(Definition(name=name, version="1.0.0", instruction="x", skills={}))
            for name in names
        ]
    )


def test_a_draft_has_the_definition_and_the_tag_latest() -> None:
    found = draft(TEAM, "lead")
    assert str(found.key) == "lead@1.2.0"
    assert found.request.tags == ("latest",)
    assert found.request.delegates == ("writer", "checker@1.0.0", "coder")
    assert found.size == len(found.request.definition.content)
    assert found.left_out == ()


def test_what_the_registry_has_no_place_for_is_said_to_be_left_out() -> None:
    toml = """
[experts.lead]
instruction = "x"
tags = ["beta"]
runtime = "perstack"
[experts.lead.skills.web]
type = "mcpStdioSkill"
command = "npx"
args = ["-y", "exa", "--verbose"]
"""
    found = draft(toml, "lead").left_out
    assert found == ("the args of skill web: it will start web", "runtime", "tags")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('instruction = "Say canary-0123456789 to enter."', "its instruction"),
        ('description = "canary-0123456789"\ninstruction = "x"', "its description"),
        (
            f'{WEB}command = "npx"\npackageName = "web"\nrule = "use canary-0123456789"',
            "its skill web",
        ),
        (
            f'{FAR}endpoint = "https://example.com/canary-0123456789/mcp"',
            "its skill far",
        ),
    ],
)
def test_a_secret_of_the_environment_is_not_published(toml: str, said: str) -> None:
    env = {"OPENAI_API_KEY": SECRET, "HOME": "x"}
    with pytest.raises(UsageError, match=f"{said} holds the value of OPENAI_API_KEY") as caught:
        draft(f"[experts.lead]\n{toml}", "lead", env)
    assert SECRET not in caught.value.message
    assert draft(f"[experts.lead]\n{toml}", "lead", {"HARMLESS": SECRET})


@pytest.mark.parametrize("skill", ["python", "/usr/bin/env"])
def test_a_command_that_others_do_not_have_is_not_published(skill: str) -> None:
    toml = (
        '[experts.lead]\ninstruction = "x"\n[experts.lead.skills.own]\ntype = "mcpStdioSkill"\n'
        f'command = "{skill}"\nargs = ["server.py"]'
    )
    with pytest.raises(UsageError, match="cannot be published") as caught:
        draft(toml, "lead")
    assert caught.value.hint


async def test_delegates_lead_to_what_the_registry_has() -> None:
    registry = shelf("writer", "checker")
    found = await leads_of(registry, draft(TEAM, "lead"), experts(TEAM))
    assert found == (
        Lead("writer", "writer@1.0.0", "acme", "available", differs=True),
        Lead("checker@1.0.0", "checker@1.0.0", "acme", "available"),
    )


async def test_a_delegate_that_is_published_as_it_is_does_not_differ() -> None:
    own = draft(TEAM, "writer").request.definition
    registry = shelf("checker")
    registry.held.append(published(own))
    found = await leads_of(registry, draft(TEAM, "lead"), experts(TEAM))
    assert not any(lead.differs for lead in found)


async def test_own_delegates_that_are_not_published_are_named() -> None:
    registry = shelf("checker")
    with pytest.raises(UsageError, match=r"delegates to writer, which") as caught:
        await leads_of(registry, draft(TEAM, "lead"), experts(TEAM))
    assert caught.value.hint == "publish first: perstack publish writer"


async def test_a_delegate_that_nobody_has_is_named() -> None:
    registry = shelf("writer")
    with pytest.raises(UsageError, match=r"checker@1.0.0, which neither") as caught:
        await leads_of(registry, draft(TEAM, "lead"), experts(TEAM))
    assert "perstack search" in (caught.value.hint or "")


async def test_a_ring_cannot_be_published_and_is_shown() -> None:
    ring = """
[experts.a]
instruction = "x"
delegates = ["b"]
[experts.b]
instruction = "x"
delegates = ["c"]
[experts.c]
instruction = "x"
delegates = ["a", "b"]
"""
    with pytest.raises(UsageError, match="a → b → c → a"):
        await leads_of(Shelf(), draft(ring, "a"), experts(ring))


async def test_a_registry_that_does_not_answer_is_no_missing_delegate() -> None:
    registry = Shelf(fails=RegistryUnreachableError("nobody"))
    with pytest.raises(RegistryUnreachableError):
        await leads_of(registry, draft(TEAM, "lead"), experts(TEAM))


def test_an_own_expert_in_the_place_of_a_built_in_one_is_told() -> None:
    toml = TEAM + '[experts.coder]\ninstruction = "x"\n'
    assert replaced(draft(toml, "lead"), experts(toml)) == ("coder",)
    assert replaced(draft(TEAM, "lead"), experts(TEAM)) == ()


async def test_a_registry_that_keeps_something_else_is_found_out() -> None:
    registry = Shelf()
    assert (await publish(registry, draft(TEAM, "lead"))).key == "lead@1.2.0"
    registry.keeps = draft(TEAM, "lead").request.definition.model_copy(
        update={"instruction": "You obey."}
    )
    with pytest.raises(RegistryError, match="does not have what was sent"):
        await publish(registry, draft(TEAM, "lead"))


@pytest.mark.parametrize("key", ["@acme/researcher", "researcher", "researcher@beta"])
def test_a_key_without_a_version_is_refused_even_where_it_holds_an_at(key: str) -> None:
    with pytest.raises(UsageError, match="no version"):
        exact_version(key)
    assert exact_version("@acme/researcher@1.2.3").version == "1.2.3"


def test_tags_are_checked_before_they_are_sent() -> None:
    assert checked_tags(["b", "a", "b"]) == ("b", "a")
    for wrong in ([], ["latest"], ["a", "B"], ["a/b"], ["x\x1b"]):
        with pytest.raises(UsageError) as caught:
            checked_tags(wrong)
        assert caught.value.hint
        assert caught.value.message.isprintable()


def test_a_status_leads_only_onwards() -> None:
    assert later_statuses("available") == ("deprecated", "disabled")
    assert later_statuses("deprecated") == ("disabled",)
    assert later_statuses("disabled") == ()
    assert checked_status("disabled") == "disabled"
    for wrong in (None, "", "Disabled", "gone"):
        with pytest.raises(UsageError, match="status"):
            checked_status(wrong)


def test_tags_that_would_leave_another_version_are_told() -> None:
    entries = (
        VersionEntry(key="a@2.0.0", version="2.0.0", tags=("latest", "beta")),
        VersionEntry(key="a@1.0.0", version="1.0.0", tags=("stable",)),
    )
    versions = VersionList(versions=entries)
    assert list(moved_tags(versions, "2.0.0", ["stable", "beta", "new"])) == [("stable", "1.0.0")]
