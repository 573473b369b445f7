"""Identities: lives, versions, names, the audit trail; what races, over every database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import get_args

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perstack.domain.identities import (
    Capability,
    Identity,
    IdentityStatus,
    IdentityUpdate,
)
from perstack.domain.ids import AgentId, IdentityId, JobId
from perstack.errors import ConflictError, NotFoundError, UsageError
from perstack.ports.agents import AgentMove
from perstack.ports.identities import Deed
from perstack.ports.stores import Stores
from perstack.ports.system import Uuids
from perstack.services.handle import Handle
from perstack.services.identities import ACTOR_LENGTH, IdentityService
from perstack.storage.database.opener import open_stores
from tests.fakes.agents import make_agent, make_identity
from tests.fakes.consensus import NOW_MS, SetClock

pytestmark = pytest.mark.anyio

NOBODY = IdentityId("nobody")
# Stated again rather than imported: this is what the rules are held to.
LEGAL = {
    "created": {"active", "retired"},
    "active": {"dormant", "retired"},
    "dormant": {"active", "retired"},
    "retired": set[str](),
}


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def handle(tmp_path: Path, clock: SetClock) -> AsyncGenerator[Handle[Stores]]:
    file = tmp_path / "perstack" / "perstack.db"
    opened = Handle(lambda: open_stores(file, clock=clock, ids=Uuids()))
    yield opened
    await opened.aclose()


@pytest.fixture
def service(handle: Handle[Stores], clock: SetClock) -> IdentityService:
    return IdentityService(handle, clock=clock, ids=Uuids())


async def actions(service: IdentityService, identity: Identity) -> list[str]:
    return [one.action for one in await service.audit(identity.agent_id)]


async def test_agentstack_row_25_a_new_identity_is_created_with_version_1_and_one_entry(
    service: IdentityService,
) -> None:
    made = await service.create("coder", display_name="My Coder", created_by="ana")
    assert (made.status, made.version, made.capabilities) == ("created", 1, ())
    assert await service.get(made.agent_id) == made
    (entry,) = await service.audit(made.agent_id)
    assert (entry.action, entry.previous_status, entry.new_status) == ("created", None, "created")
    assert entry.metadata == {"displayName": "My Coder", "agentType": "coder"}
    assert entry.actor_id == "ana"


async def test_agentstack_row_26_one_that_is_activated_at_once_has_two_entries(
    service: IdentityService,
) -> None:
    made = await service.create("coder", auto_activate=True)
    assert made.status == "active"
    activated, created = await service.audit(made.agent_id)
    assert (created.action, created.new_status) == ("created", "active")
    assert (activated.action, activated.previous_status) == ("activated", "created")
    assert activated.reason == "Auto-activated on creation"


async def test_agentstack_row_27_an_illegal_move_names_the_legal_ones(
    service: IdentityService,
) -> None:
    made = await service.create("coder")
    with pytest.raises(ConflictError) as caught:
        await service.deactivate(made.agent_id)
    assert caught.value.message == (
        "Invalid status transition: created -> dormant."
        " Allowed transitions from created: active, retired"
    )


async def test_agentstack_row_28_waking_moves_the_time_of_activity_and_is_audited(
    service: IdentityService, clock: SetClock
) -> None:
    made = await service.create("coder", auto_activate=True)
    clock.move(1_000)
    rested = await service.deactivate(made.agent_id, reason="weekend", actor_id="ana")
    assert (rested.status, rested.last_active_at) == ("dormant", NOW_MS)
    clock.move(1_000)
    woken = await service.activate(made.agent_id)
    assert (woken.status, woken.last_active_at) == ("active", NOW_MS + 2_000)
    assert woken == await service.get(made.agent_id)
    newest, rest, *_ = await service.audit(made.agent_id)
    assert (newest.action, newest.previous_status) == ("activated", "dormant")
    assert (rest.action, rest.reason, rest.actor_id) == ("deactivated", "weekend", "ana")


async def test_who_does_it_is_said_in_bounded_words(service: IdentityService) -> None:
    made = await service.create("coder")
    with pytest.raises(UsageError, match="actorId"):
        await service.activate(made.agent_id, actor_id="x" * (ACTOR_LENGTH + 1))
    with pytest.raises(UsageError, match="createdBy"):
        await service.create("coder", created_by="x" * (ACTOR_LENGTH + 1))
    assert (await service.get(made.agent_id)).status == "created"


async def test_agentstack_row_29_retiring_twice_is_refused(
    service: IdentityService, clock: SetClock
) -> None:
    made = await service.create("coder")
    clock.move(5)
    retired = await service.retire(made.agent_id, reason="done")
    assert (retired.retired_at, retired.retirement_reason) == (NOW_MS + 5, "done")
    with pytest.raises(ConflictError, match=r"^Identity is already retired$"):
        await service.retire(made.agent_id)
    assert await actions(service, made) == ["retired", "created"]


async def test_agentstack_row_30_a_retired_identity_cannot_come_back(
    service: IdentityService,
) -> None:
    made = await service.create("coder")
    await service.retire(made.agent_id)
    with pytest.raises(ConflictError, match=r"Allowed transitions from retired: none$"):
        await service.activate(made.agent_id)


async def test_agentstack_row_31_a_retired_identity_cannot_be_updated(
    service: IdentityService,
) -> None:
    made = await service.create("coder")
    await service.retire(made.agent_id)
    with pytest.raises(ConflictError, match=r"^Cannot update a retired identity$"):
        await service.update(made.agent_id, IdentityUpdate(description="x"))


async def test_agentstack_row_32_an_update_makes_a_version_and_says_what_changed(
    service: IdentityService, clock: SetClock
) -> None:
    made = await service.create("coder", description="old", metadata={"a": 1, "b": 2})
    clock.move(7)
    change = IdentityUpdate(display_name="Ada", description="old", metadata={"a": 1})
    after = await service.update(made.agent_id, change, actor_id="ana")
    assert (after.version, after.display_name, after.updated_at) == (2, "Ada", NOW_MS + 7)
    assert (after.description, after.metadata) == ("old", {"a": 1})
    newest = (await service.audit(made.agent_id))[0]
    assert newest.metadata == {"updates": ["displayName", "metadata"]}
    assert newest.actor_id == "ana"
    same = await service.update(made.agent_id, change)
    assert same == after
    assert await actions(service, made) == ["updated", "created"]
    able = IdentityUpdate(capabilities=(Capability(name="go", enabled=True),))
    assert (await service.update(made.agent_id, able)).version == 3


async def test_agentstack_row_33_getting_none_in_particular_is_an_error(
    service: IdentityService,
) -> None:
    with pytest.raises(UsageError, match=r"^Either agentId or displayName is required$"):
        await service.get()


async def test_agentstack_row_34_filters_combine_and_an_offset_needs_no_limit(
    service: IdentityService, clock: SetClock
) -> None:
    for number in range(6):
        clock.move(10)
        kind = "coder" if number % 2 else "tester"
        await service.create(kind, display_name=f"n{number}", auto_activate=number > 2)

    async def names(**wanted: object) -> list[str | None]:
        found = await service.list(**wanted)  # type: ignore[arg-type]
        return [one.display_name for one in found]

    assert await names() == ["n5", "n4", "n3", "n2", "n1", "n0"]
    assert await names(status="active", agent_type="coder") == ["n5", "n3"]
    assert await names(status="active", agent_type="coder", limit=1, offset=1) == ["n3"]
    assert await names(offset=4) == ["n1", "n0"]
    with pytest.raises(UsageError, match="limit"):
        await service.list(limit=1_001)
    with pytest.raises(UsageError, match="status"):
        await service.list(status="bogus")


async def test_agentstack_row_35_the_newest_entries_come_first_and_as_many_as_asked(
    service: IdentityService,
) -> None:
    made = await service.create("coder")
    for verb in (service.activate, service.deactivate, service.activate, service.retire):
        await verb(made.agent_id)
    newest = await service.audit(made.agent_id, limit=2)
    assert [entry.action for entry in newest] == ["retired", "activated"]
    assert len(await service.audit(made.agent_id)) == 5
    with pytest.raises(UsageError, match="limit"):
        await service.audit(made.agent_id, limit=0)


async def test_agentstack_row_36_only_an_active_identity_is_carried(
    service: IdentityService, handle: Handle[Stores]
) -> None:
    made = await service.create("coder")
    carrier = make_agent().model_copy(update={"identity_id": made.agent_id})
    with pytest.raises(ConflictError, match=r"must be active to spawn, current status: created$"):
        await handle.ask(lambda s: s.agents.add(carrier))
    await service.activate(made.agent_id)
    await handle.ask(lambda s: s.agents.add(carrier))
    assert await actions(service, made) == ["spawned", "activated", "created"]


async def test_retired_identities_carry_no_agents_and_are_not_touched(
    service: IdentityService, handle: Handle[Stores]
) -> None:
    made = await service.create("coder", auto_activate=True)
    await service.retire(made.agent_id)
    assert not await service.touch(made.agent_id)
    assert not await service.touch(NOBODY)
    with pytest.raises(
        ConflictError, match=f"^Cannot spawn with retired identity: {made.agent_id}"
    ):
        await service.record_spawn(made.agent_id, "spawn-1")
    carrier = make_agent().model_copy(update={"identity_id": made.agent_id})
    with pytest.raises(ConflictError, match=r"^Cannot spawn with retired identity"):
        await handle.ask(lambda s: s.agents.add(carrier))


async def test_a_spawn_is_noted_with_what_it_spawned(
    service: IdentityService, clock: SetClock
) -> None:
    made = await service.create("coder", auto_activate=True)
    clock.move(9)
    assert (await service.record_spawn(made.agent_id, "spawn-1")).last_active_at == NOW_MS + 9
    newest = (await service.audit(made.agent_id))[0]
    assert (newest.action, newest.metadata) == ("spawned", {"spawnId": "spawn-1"})
    clock.move(9)
    assert await service.touch(made.agent_id)
    clock.move(-9)
    assert await service.touch(made.agent_id)
    assert (await service.get(made.agent_id)).last_active_at == NOW_MS + 18


async def test_who_is_not_there_is_not_found(service: IdentityService) -> None:
    with pytest.raises(NotFoundError, match=r"^Identity not found$"):
        await service.get(NOBODY)
    with pytest.raises(NotFoundError, match=r"^Identity not found$"):
        await service.update(NOBODY, IdentityUpdate(description="x"))
    with pytest.raises(NotFoundError, match=r"^Identity not found$"):
        await service.audit(NOBODY)
    for verb in (service.activate, service.deactivate, service.retire):
        with pytest.raises(NotFoundError, match=r"^Identity not found: nobody$"):
            await verb(NOBODY)


async def test_a_display_name_is_exact_and_unique_among_those_that_are_not_retired(
    service: IdentityService, clock: SetClock
) -> None:
    first = await service.create("coder", display_name="Ada")
    other = await service.create("coder", display_name="ada")
    with pytest.raises(ConflictError, match="display name 'Ada' already exists"):
        await service.create("coder", display_name="Ada")
    with pytest.raises(ConflictError):
        await service.update(other.agent_id, IdentityUpdate(display_name="Ada"))
    assert await service.get(display_name="Ada") == first
    await service.retire(first.agent_id)
    assert (await service.get(display_name="Ada")).agent_id == first.agent_id
    clock.move(1)
    second = await service.update(other.agent_id, IdentityUpdate(display_name="Ada"))
    assert await service.get(display_name="Ada") == second
    with pytest.raises(NotFoundError):
        await service.get(display_name="ada")


async def test_texts_have_bounds(service: IdentityService) -> None:
    with pytest.raises(UsageError, match="agentType"):
        await service.create("")
    with pytest.raises(UsageError, match="displayName must not be empty"):
        await service.create("coder", display_name=" ")
    with pytest.raises(UsageError, match="displayName must have 1 to 100 characters"):
        await service.create("coder", display_name="x" * 101)
    with pytest.raises(UsageError, match="description"):
        await service.create("coder", description="x" * 1_001)
    assert await service.list() == []


async def test_an_identity_rests_only_when_its_last_agent_is_gone(handle: Handle[Stores]) -> None:
    identity_id = IdentityId("i1")
    carriers = [
        make_agent(name).model_copy(update={"identity_id": identity_id}) for name in ("a1", "a2")
    ]
    await handle.ask(lambda s: s.identities.create(make_identity(status="active")))
    for carrier in carriers:
        await handle.ask(lambda s, one=carrier: s.agents.add(one))
    gone = AgentMove("stopped", NOW_MS)
    for carrier, rests in zip(carriers, (False, True), strict=True):
        await handle.ask(lambda s, one=carrier.id: s.agents.move(one, gone, expected=("idle",)))
        released = await handle.ask(lambda s: s.identities.release(identity_id, Deed(at=NOW_MS)))
        assert released == rests
    found = await handle.ask(lambda s: s.identities.find(identity_id))
    assert found is not None
    assert found.status == "dormant"
    assert not await handle.ask(lambda s: s.identities.release(identity_id, Deed(at=NOW_MS)))


async def test_the_history_of_an_identity_is_the_agents_that_carried_it_and_their_jobs(
    service: IdentityService, handle: Handle[Stores]
) -> None:
    made = await service.create("coder", auto_activate=True)
    for number, job in enumerate(["j1", "j2", "j1"]):
        carrier = make_agent(f"a{number}").model_copy(
            update={"identity_id": made.agent_id, "job_id": JobId(job)}
        )
        await handle.ask(lambda s, one=carrier: s.agents.add(one))
    stopped = AgentMove("stopped", NOW_MS)
    await handle.ask(lambda s: s.agents.move(AgentId("a0"), stopped, expected=("idle",)))
    found = await service.history(made.agent_id)
    assert [one.id for one in found.agents] == ["a0", "a1", "a2"]
    assert found.job_ids == ("j1", "j2")


async def test_every_verb_does_the_same_on_every_database(
    database_target: Path | str, clock: SetClock
) -> None:
    handle = Handle[Stores](lambda: open_stores(database_target, clock=clock, ids=Uuids()))
    service = IdentityService(handle, clock=clock, ids=Uuids())
    ada = await service.create("coder", display_name="Ada", metadata={"a": ["\ud800", None]})
    assert await service.get(ada.agent_id) == ada
    with pytest.raises(ConflictError, match="already exists"):
        await service.create("coder", display_name="Ada")
    clock.move(1)
    other = await service.create("tester", display_name="nul \0", auto_activate=True)
    assert (await service.get(display_name="nul \0")).agent_id == other.agent_id
    assert [one.agent_id for one in await service.list(limit=1)] == [other.agent_id]
    assert [one.agent_id for one in await service.list(offset=1)] == [ada.agent_id]
    clock.move(1)
    assert (await service.activate(ada.agent_id)).last_active_at == NOW_MS + 2
    assert (await service.update(ada.agent_id, IdentityUpdate(description="x"))).version == 2
    clock.move(1)
    assert await service.touch(ada.agent_id)
    await service.record_spawn(ada.agent_id, "s1")
    deed = Deed(at=clock.now_ms())
    assert await handle.ask(lambda s: s.identities.release(ada.agent_id, deed))
    retired = await service.retire(ada.agent_id, reason="done")
    assert await service.get(display_name="Ada") == retired
    assert (await service.create("coder", display_name="Ada")).version == 1
    assert await actions(service, ada) == [
        "retired",
        "deactivated",
        "spawned",
        "updated",
        "activated",
        "created",
    ]
    await handle.aclose()


async def test_of_eight_activations_over_four_handles_one_succeeds(
    database_target: Path | str, clock: SetClock
) -> None:
    handles = [
        Handle(lambda: open_stores(database_target, clock=clock, ids=Uuids())) for _ in range(4)
    ]
    services = [IdentityService(one, clock=clock, ids=Uuids()) for one in handles]
    made = await services[0].create("coder")
    won: list[Identity] = []
    refused: list[str] = []

    async def activate(service: IdentityService) -> None:
        try:
            won.append(await service.activate(made.agent_id))
        except ConflictError as error:
            refused.append(error.message)

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(activate, services[number % 4])
    assert len(won) == 1
    assert len(refused) == 7
    assert all(one.startswith("Invalid status transition: active -> active") for one in refused)
    assert await actions(services[0], made) == ["activated", "created"]
    for handle in handles:
        await handle.aclose()


Deeds = list[tuple[str, str | None]]
MOVES = st.tuples(st.just("move"), st.sampled_from(get_args(IdentityStatus)))
RENAMES = st.tuples(st.just("rename"), st.sampled_from(["x", "y", None]))
VERBS = {"active": "activated", "dormant": "deactivated", "retired": "retired"}


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database for all examples: each makes an identity of its own."""
    return tmp_path_factory.mktemp("lives") / "perstack.db"


@settings(max_examples=30, deadline=None)
@given(deeds=st.lists(st.one_of(MOVES, RENAMES), max_size=12))
def test_whatever_is_asked_of_an_identity_it_lives_as_its_rules_say(
    lives: Path, deeds: Deeds
) -> None:
    anyio.run(_live, lives, deeds)


async def _live(file: Path, deeds: Deeds) -> None:
    stores = await open_stores(file, clock=SetClock(), ids=Uuids())
    born = make_identity(Uuids().new())
    await stores.identities.create(born)
    status, version, name, entries = "created", 1, None, ["created"]
    for verb, value in deeds:
        refused = False
        try:
            if verb == "move":
                await stores.identities.move(born.agent_id, _status(value), Deed(at=NOW_MS))
            else:
                # Names are unique: each life has its own.
                own = None if value is None else f"{value}-{born.agent_id}"
                change = IdentityUpdate(display_name=own)
                await stores.identities.update(born.agent_id, change, Deed(at=NOW_MS))
        except ConflictError:
            refused = True
        if verb == "move":
            assert refused == (value not in LEGAL[status])
            if not refused:
                status = str(value)
                entries.append(VERBS[status])
        else:
            assert refused == (status == "retired")
            if not refused and value != name:
                name, version = value, version + 1
                entries.append("updated")
    found = await stores.identities.find(born.agent_id)
    assert found is not None
    assert (found.status, found.version) == (status, version)
    assert (found.display_name or "").partition("-")[0] == (name or "")
    assert (found.retired_at is not None) == (status == "retired")
    audit = await stores.identities.audit(born.agent_id)
    assert [entry.action for entry in audit][::-1] == entries
    await stores.aclose()


def _status(value: str | None) -> IdentityStatus:
    (found,) = (one for one in get_args(IdentityStatus) if one == value)
    return found
