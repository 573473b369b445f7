"""Fetching in one process: what is needed, what comes of it, and what it is accepted with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from anyio import to_thread
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.credentials import keep_key
from perstack.config.load import parse_config
from perstack.config.lock_pins import read_pins
from perstack.config.process_env import process_environment
from perstack.config.registry_place import RegistryPlace
from perstack.config.typed import Overrides
from perstack.config.untrusted import UntrustedError
from perstack.domain.ids import ExpertKey, JobId
from perstack.domain.registry import PublishRequest
from perstack.errors import (
    RegistryMissingError,
    RegistryUnreachableError,
    StorageError,
    UnknownExpertError,
)
from perstack.fetching import (
    accept_fetched,
    carried,
    fetched,
    fetched_demands,
    foreign,
    open_registry,
    place_of_registry,
)
from perstack.integrations.registry_client import HttpRegistry
from perstack.project import (
    Project,
    accept,
    empty_config,
    install_lock,
    open_project,
    project_of,
)
from perstack.services.contained_order import NewJob, new_order
from tests.fakes.registry_server import RegistryServer, registry_server

TEAM: Final = """
[experts."lead"]
instruction = "Lead."
delegates = ["@acme/helper", "coder"]
"""
LEAD: Final = ExpertKey("lead")
HELPER: Final = ExpertKey("@acme/helper")


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[RegistryServer]:
    async with registry_server(tmp_path / "registry") as server:
        monkeypatch.setenv("PERSTACK_API_BASE_URL", server.url)
        registry = HttpRegistry(RegistryPlace(server.url, server.key("acme")))
        for name, delegates in (("@acme/part", ()), ("@acme/helper", ("@acme/part", "lead"))):
            await registry.publish(request_of(name, delegates))
        await registry.aclose()
        yield server


def request_of(name: str, delegates: Sequence[str]) -> PublishRequest:
    said = {
        "name": name,
        "version": "1.0.0",
        "instruction": "Help.",
        "skills": {
            "@perstack/base": {
                "type": "mcpStdioSkill",
                "command": "npx",
                "packageName": "@perstack/base",
            }
        },
        "delegates": [each for each in delegates if each.startswith("@")],
    }
    return PublishRequest.model_validate(said)


async def opened(folder: Path, text: str = TEAM, *, named: bool = False) -> Project:
    folder.mkdir(exist_ok=True)
    path = folder / "perstack.toml"
    path.write_text(text)
    return await to_thread.run_sync(open_project, folder, path if named else None)


def local(delegates: Mapping[str, Sequence[str]]) -> Project:
    """A project of these Experts; what could not be delegated to is in no file."""
    text = "".join(
        f'[experts."{name}"]\ninstruction = "x"\ndelegates = {list(called)}\n'
        for name, called in delegates.items()
    )
    folder = Path("/nowhere")
    return project_of(folder, parse_config(folder / "perstack.toml", text.encode()), Overrides())


NAMES: Final = ("a", "b", "c", "d", "x", "y@1.0.0", "@acme/z")
GRAPHS: Final = st.dictionaries(
    st.sampled_from(NAMES[:4]), st.sets(st.sampled_from(NAMES)), min_size=1
).map(lambda graph: {name: sorted(called - {name}) for name, called in graph.items()})


@given(graph=GRAPHS, start=st.sampled_from(NAMES))
def test_what_is_foreign_is_what_is_reached_and_not_defined(
    graph: dict[str, list[str]], start: str
) -> None:
    reached, before = {start}, set[str]()
    while reached != before:
        before = set(reached)
        reached |= {each for name in before for each in graph.get(name, ())}
    assert set(foreign(local(graph), [ExpertKey(start)])) == reached - graph.keys()


def test_nothing_built_in_is_foreign() -> None:
    assert foreign(local({"a": ["coder"]}), [ExpertKey("a"), ExpertKey("reviewer")]) == ()


@pytest.mark.anyio
async def test_a_project_that_needs_nothing_stays_as_it_is(tmp_path: Path) -> None:
    project = await opened(tmp_path / "w", '[experts.solo]\ninstruction = "x"\n')
    assert await fetched(project, [ExpertKey("solo")]) is project


@pytest.mark.anyio
async def test_a_name_that_can_be_no_key_is_an_unknown_expert(tmp_path: Path) -> None:
    project = await opened(tmp_path / "w")
    with pytest.raises(UnknownExpertError):
        await fetched(project, [ExpertKey("../lead")])


@pytest.mark.anyio
async def test_where_nobody_answers_the_error_says_that_it_is_not_here_either(
    tmp_path: Path,
) -> None:
    project = await opened(tmp_path / "w")
    with pytest.raises(RegistryUnreachableError, match="'leed' not found here, and") as caught:
        await fetched(project, [ExpertKey("leed")])
    assert caught.value.hint is not None
    assert "did you mean lead?" in caught.value.hint
    with pytest.raises(RegistryUnreachableError, match=r"^lead delegates to @acme/helper"):
        await fetched(project, [LEAD])


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_of_several_the_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    project = await opened(tmp_path / "w")
    with pytest.raises(RegistryMissingError, match=r"^Expert 'leed' not found here, and") as caught:
        await fetched(project, [HELPER, ExpertKey("leed")])
    assert "did you mean lead?" in (caught.value.hint or "")


@pytest.mark.anyio
@pytest.mark.parametrize("named", [False, True])
async def test_another_registry_of_an_env_file_is_neither_asked_nor_passed_over_unaccepted(
    tmp_path: Path, server: RegistryServer, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.delenv("PERSTACK_API_BASE_URL")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".env").write_text("PERSTACK_API_BASE_URL=https://experts.example\n")
    project = await opened(tmp_path / "w", named=named)
    # What needs no registry is not kept from running.
    assert await fetched(project, [ExpertKey("coder")]) is project
    with pytest.raises(UntrustedError) as caught:
        await fetched(project, [LEAD])
    (demand,) = caught.value.demands
    assert demand.text == "set PERSTACK_API_BASE_URL=https://experts.example from .env"
    assert caught.value.hint == "add --trust (once), or export it in the shell"
    await to_thread.run_sync(partial(accept, project, caught.value.demands))
    again = await opened(tmp_path / "w", named=named)
    place = await to_thread.run_sync(place_of_registry, again)
    assert place.url == "https://experts.example"
    monkeypatch.setenv("PERSTACK_API_BASE_URL", server.url)
    assert HELPER in (await fetched(await opened(tmp_path / "w"), [LEAD])).fetched


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_a_job_and_a_container_are_given_what_was_fetched(tmp_path: Path) -> None:
    whole = await fetched(await opened(tmp_path / "w"), [LEAD])
    assert set(whole.fetched) == {"@acme/helper", "@acme/part"}
    plan = whole.plan()
    assert {"lead", "coder", "@acme/helper", "@acme/part"} <= set(plan.experts)
    begins = NewJob(expert_key=LEAD, query="go", job_id=JobId("j"))
    order = new_order(plan, begins=begins)
    assert order.experts[HELPER] == whole.fetched[HELPER]
    assert order.experts[HELPER].origin is not None


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_what_is_accepted_is_known_to_every_project_and_noted_in_the_lock(
    tmp_path: Path,
) -> None:
    project = await opened(tmp_path / "w")
    whole = await fetched(project, [LEAD])
    with pytest.raises(UntrustedError) as caught:
        await to_thread.run_sync(whole.admit, whole.fetched)
    assert caught.value.demands == fetched_demands(whole)
    lock = tmp_path / "w" / "perstack.lock"
    assert {pin.accepted for pin in read_pins(lock).values()} == {None}
    await to_thread.run_sync(partial(accept_fetched, whole, by="asked"))
    await to_thread.run_sync(whole.admit, whole.experts)
    assert {pin.accepted for pin in read_pins(lock).values()} == {"asked"}
    other = await fetched(await opened(tmp_path / "other"), [LEAD])
    await to_thread.run_sync(other.admit, other.fetched)


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_another_reading_of_the_same_file_takes_over_what_was_fetched(
    tmp_path: Path,
) -> None:
    whole = await fetched(await opened(tmp_path / "w"), [LEAD])
    again = carried(await opened(tmp_path / "w"), whole)
    assert (again.fetched, again.pins) == (whole.fetched, whole.pins)
    assert await fetched(again, [LEAD]) is again


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_no_lock_is_made_where_there_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    config = empty_config(tmp_path / "w")
    project = await to_thread.run_sync(project_of, tmp_path / "w", config, Overrides())
    whole = await fetched(project, [HELPER])
    await to_thread.run_sync(partial(accept_fetched, whole, by="yes"))
    assert list((tmp_path / "w").iterdir()) == []


@pytest.mark.anyio
async def test_the_registry_is_asked_with_the_key_that_was_kept_for_it(
    tmp_path: Path, server: RegistryServer
) -> None:
    await to_thread.run_sync(keep_key, process_environment(), server.url, "psr-kept")
    project = await opened(tmp_path / "w")
    place = await to_thread.run_sync(place_of_registry, project)
    assert (place.url, place.key) == (server.url, "psr-kept")
    async with open_registry(project) as registry:
        assert registry.url == server.url


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_tools_in_the_lock_count_for_the_definition_that_they_were_listed_of(
    tmp_path: Path,
) -> None:
    whole = await fetched(await opened(tmp_path / "w"), [LEAD])
    lock = await install_lock(whole, lambda _: None)
    assert set(read_pins(lock)) == {"@acme/helper", "@acme/part"}
    again = await fetched(await opened(tmp_path / "w"), [LEAD])
    assert again.lock_warning is None
    assert set(again.listed) == {"lead", "@acme/helper", "@acme/part"}
    integrity = again.pins["@acme/helper"].integrity
    head, mark, pins = lock.read_text().partition("[registry.")
    lock.write_text(head.replace(integrity, f"sha256-{'0' * 64}") + mark + pins)
    other = await fetched(await opened(tmp_path / "w"), [LEAD])
    assert set(other.listed) == {"lead", "@acme/part"}


@pytest.mark.anyio
@pytest.mark.usefixtures("server")
async def test_a_lock_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("perstack.lock cannot be written: No space left on device")

    monkeypatch.setattr("perstack.config.lock_pins.write_lock", full)
    whole = await fetched(await opened(tmp_path / "w"), [LEAD])
    assert any("No space left" in warning for warning in whole.warnings)
    assert HELPER in whole.fetched
    await to_thread.run_sync(partial(accept_fetched, whole, by="yes"))
    await to_thread.run_sync(whole.admit, whole.fetched)
