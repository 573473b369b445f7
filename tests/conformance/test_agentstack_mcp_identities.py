"""AgentStack's rows 25-35 as a client of the MCP door sees them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.mcp_door import NAME, McpDoor, door, text_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncGenerator[McpDoor]:
    async with door(tmp_path) as opened:
        yield opened


async def made(it: McpDoor, **given: Any) -> dict[str, Any]:
    """Make an identity and return it."""
    told = await it.call("identity_create", {"agentType": "coder", **given})
    assert told["success"] is True
    return told["identity"]


async def audited(it: McpDoor, identity: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    """Return an identity's audit entries, newest first."""
    told = await it.call("identity_audit", {"agentId": identity["agentId"], **given})
    assert told["count"] == len(told["entries"])
    assert told["agentId"] == identity["agentId"]
    return told["entries"]


async def test_agentstack_row_025_a_new_identity_is_created_with_one_audit_entry(
    it: McpDoor,
) -> None:
    identity = await made(it, displayName="Ada", capabilities=[{"name": "write-code"}])
    (entry,) = await audited(it, identity)
    assert (identity["status"], identity["version"]) == ("created", 1)
    assert identity["capabilities"] == [{"name": "write-code", "enabled": True}]
    assert (entry["action"], entry["newStatus"]) == ("created", "created")
    assert "previousStatus" not in entry
    assert entry["actorId"] == identity["createdBy"] == NAME


async def test_agentstack_row_026_one_that_is_activated_at_once_has_two_entries(
    it: McpDoor,
) -> None:
    identity = await made(it, autoActivate=True)
    activated, created = await audited(it, identity)
    assert identity["status"] == "active"
    assert (created["action"], activated["action"]) == ("created", "activated")
    assert activated["previousStatus"] == "created"
    assert activated["reason"] == "Auto-activated on creation"


async def test_agentstack_row_027_a_move_that_is_not_legal_names_those_that_are(
    it: McpDoor,
) -> None:
    identity = await made(it)
    told = await it.call("identity_deactivate", {"agentId": identity["agentId"]})
    assert told["success"] is False
    assert told["error"] == (
        "Invalid status transition: created -> dormant."
        " Allowed transitions from created: active, retired"
    )


async def test_agentstack_row_028_a_dormant_identity_is_woken_by_whoever_says_so(
    it: McpDoor,
) -> None:
    identity = await made(it, autoActivate=True)
    which = {"agentId": identity["agentId"]}
    resting = await it.call("identity_deactivate", {**which, "reason": "lunch"})
    woken = await it.call("identity_activate", {**which, "actorId": "ana"})
    assert (resting["identity"]["status"], woken["identity"]["status"]) == ("dormant", "active")
    assert woken["identity"]["lastActiveAt"] >= resting["identity"]["lastActiveAt"]
    awake, rest, *_ = await audited(it, identity)
    assert (awake["action"], awake["actorId"]) == ("activated", f"ana (said {NAME})")
    assert (rest["action"], rest["reason"]) == ("deactivated", "lunch")


async def test_agentstack_rows_029_to_031_a_retired_identity_stays_so(it: McpDoor) -> None:
    identity = await made(it)
    which = {"agentId": identity["agentId"]}
    retired = await it.call("identity_retire", {**which, "reason": "done"})
    assert retired["identity"]["retirementReason"] == "done"
    assert retired["identity"]["retiredAt"]
    again = await it.call("identity_retire", which)
    assert (again["success"], again["error"]) == (False, "Identity is already retired")
    woken = await it.call("identity_activate", which)
    assert woken["success"] is False
    assert woken["error"].endswith("from retired: none")
    changed = await it.call("identity_update", {**which, "displayName": "Eve"})
    assert (changed["success"], changed["error"]) == (False, "Cannot update a retired identity")


async def test_agentstack_row_032_an_update_makes_a_version_and_names_what_changed(
    it: McpDoor,
) -> None:
    identity = await made(it, displayName="Ada", metadata={"team": "a"})
    given = {"agentId": identity["agentId"], "displayName": "Eve", "metadata": {"team": "a"}}
    told = await it.call("identity_update", given)
    assert (told["identity"]["displayName"], told["identity"]["version"]) == ("Eve", 2)
    entry = (await audited(it, identity))[0]
    assert entry["action"] == "updated"
    assert entry["metadata"] == {"updates": ["displayName"]}


async def test_agentstack_row_033_looking_for_neither_id_nor_name_finds_nothing_and_says_why(
    it: McpDoor,
) -> None:
    told = await it.call("identity_get", {})
    assert told["found"] is False
    assert told["error"] == "Either agentId or displayName is required"
    nobody = await it.call("identity_get", {"agentId": "nobody"})
    assert (nobody["found"], nobody["message"]) == (False, "Identity not found")


async def test_agentstack_row_034_filters_combine_and_an_offset_needs_no_limit(it: McpDoor) -> None:
    for number in range(3):
        await made(it, displayName=f"Ada {number}", autoActivate=True)
    await made(it, displayName="Idle")
    await made(it, agentType="tester", autoActivate=True)
    wanted = {"status": "active", "agentType": "coder"}
    every = await it.call("identity_list", wanted)
    rest = await it.call("identity_list", {**wanted, "offset": 1})
    one = await it.call("identity_list", {**wanted, "offset": 1, "limit": 1})
    assert every["count"] == 3
    assert rest["identities"] == every["identities"][1:]
    assert one["identities"] == every["identities"][1:2]


async def test_agentstack_row_035_the_newest_entries_come_first_up_to_the_limit(
    it: McpDoor,
) -> None:
    identity = await made(it, autoActivate=True)
    which = {"agentId": identity["agentId"]}
    for name in ("identity_deactivate", "identity_activate", "identity_retire"):
        await it.call(name, which)
    every = await audited(it, identity)
    assert len(every) == 5
    assert await audited(it, identity, limit=2) == every[:2]
    assert every[0]["action"] == "retired"


async def test_the_audit_of_an_unknown_identity_fails(it: McpDoor) -> None:
    told = await it.call("identity_audit", {"agentId": "nobody"})
    assert (told["success"], told["error"]) == (False, "Identity not found")


async def test_metadata_that_is_too_large_makes_no_identity(it: McpDoor) -> None:
    told = await it.call("identity_create", {"agentType": "coder", "metadata": {"a": "x" * 70_000}})
    assert told["success"] is False
    assert "65,536" in told["error"]
    refused = await it.result("identity_create", {"agentType": "coder", "capabilities": [{}]})
    assert refused.is_error
    assert "name is required" in json.loads(text_of(refused))["error"]
    assert (await it.call("identity_list"))["count"] == 0
