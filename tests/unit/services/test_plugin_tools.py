"""Plugins' tools beside an Expert's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import JsonValue

from perstack.domain.expert import Expert
from perstack.domain.ids import ExpertKey, JobId, RunId
from perstack.domain.messages import TextPart
from perstack.ports.experts import OwnTool
from perstack.ports.skills import RunContext, SkillNotice, ToolOutcome
from perstack.services.loaded_plugins import OfferedTool
from perstack.services.plugin_tools import WithPluginTools
from tests.fakes.engine import FakeSkills

pytestmark = pytest.mark.anyio

CONTEXT = RunContext(JobId("j"), RunId("r"), Path("/w"), {})
SCHEMA: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
}


def unheard(notice: SkillNotice) -> None:
    """Nothing is shown."""


def expert(key: str) -> Expert:
    return Expert(key=ExpertKey(key), name=key, instruction="x", skills={})


async def greet(args: Mapping[str, JsonValue]) -> str:
    if args["name"] == "nobody":
        raise ValueError("KeyError: nobody")
    return f"Hello, {args['name']}"


async def own(args: Mapping[str, JsonValue]) -> str:
    return "own"


def offered(name: str, *, gated: bool = False) -> OfferedTool:
    return OfferedTool("greeter", OwnTool(name, "Greets.", SCHEMA, greet), gated)


def said(outcome: ToolOutcome) -> str:
    [part] = outcome.parts
    assert isinstance(part, TextPart)
    return part.text


async def test_a_plugins_tool_is_offered_called_and_gated_but_replaces_no_other() -> None:
    skills = WithPluginTools(
        FakeSkills({"read": own}),
        lambda: [offered("greet", gated=True), offered("read")],
        lambda one: one.key == "writer",
    )
    async with skills.open(expert("writer"), CONTEXT, unheard) as opened:
        await opened.ready()
        spec = opened.tools["greet"]
        assert (spec.skill_name, spec.gated, spec.repeatable) == ("plugin/greeter", True, False)
        assert said(await opened.call("greet", {"name": "Ana"})) == "Hello, Ana"
        assert said(await opened.call("read", {})) == "own"
        misfit = await opened.call("greet", {"name": 3})
        assert misfit.is_error
        assert "name: 3 is not of type 'string'" in said(misfit)
        failed = await opened.call("greet", {"name": "nobody"})
        assert (failed.is_error, said(failed)) == (True, "KeyError: nobody")


async def test_an_expert_that_is_not_to_have_them_gets_no_plugins_tools() -> None:
    skills = WithPluginTools(FakeSkills(), lambda: [offered("greet")], lambda one: False)
    async with skills.open(expert("reviewer"), CONTEXT, unheard) as opened:
        assert "greet" not in opened.tools
