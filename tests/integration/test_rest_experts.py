"""/api/v1/experts."""

from __future__ import annotations

from pathlib import Path

import pytest

from perstack.core_types import CORE_TYPE_NAMES
from tests.fakes.rest_answers import API, data, refused
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio
EXPERTS = f"{API}/experts"
TOML = """
[experts."@us/lead"]
version = "1.2.0"
description = "Leads"
instruction = "the-private-instruction"
delegates = ["coder"]
[experts."@us/lead".skills."remote"]
type = "mcpHttpSkill"
endpoint = "https://tools.invalid/mcp"
headers = { "x-key" = "the-secret-header" }
[experts."coder"]
instruction = "Mine."
"""


async def test_the_projects_experts_come_first_and_say_nothing_private(tmp_path: Path) -> None:
    async with rest(tmp_path, TOML) as client:
        answered = await client.get(EXPERTS)
        listed = data(answered)["experts"]
        assert [one["key"] for one in listed[:2]] == ["@us/lead", "coder"]
        assert [one["source"] for one in listed[:3]] == ["project", "project", "builtin"]
        assert len(listed) == data(answered)["count"] == len(CORE_TYPE_NAMES) + 1
        lead = listed[0]
        assert (lead["version"], lead["description"]) == ("1.2.0", "Leads")
        assert lead["delegates"] == ["coder"]
        assert set(lead["skills"]) == {"@perstack/base", "remote"}
        for private in ("the-secret-header", "the-private-instruction", "tools.invalid"):
            assert private not in answered.text


@pytest.mark.parametrize("written", ["@us/lead", "%40us%2Flead"])
async def test_one_is_found_by_its_key_with_its_slash(tmp_path: Path, written: str) -> None:
    async with rest(tmp_path, TOML) as client:
        assert data(await client.get(f"{EXPERTS}/{written}"))["key"] == "@us/lead"
        assert data(await client.get(f"{EXPERTS}/tester"))["source"] == "builtin"
        assert refused(await client.get(f"{EXPERTS}/nobody"), 404) == "Expert not found"
