"""Rows 30 to 32 where a registry answers: what it does not know is not found; nothing begins."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import SCRIPTED, Program, Ran
from tests.fakes.registry_server import registry_server

pytestmark = pytest.mark.anyio

TOML: Final = """
[experts."lead"]
instruction = "Lead."
delegates = ["nonexistent-delegate"]
"""


@pytest.fixture
async def program(tmp_path: Path) -> AsyncGenerator[Program]:
    async with registry_server(tmp_path / "registry") as server:
        env = {"PERSTACK_API_BASE_URL": server.url}
        yield Program.make(
            tmp_path / "w", SCRIPTED + TOML, scenario='[[turns]]\ntext = "done"\n', env=env
        )


def check_refused(program: Program, ran: Ran, *words: str) -> None:
    assert (ran.code, ran.stdout) == (1, "")
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr
    assert program.jobs() == []


async def test_row_30_an_expert_that_the_registry_does_not_know_is_not_found(
    program: Program,
) -> None:
    ran = await program.run("run", "@nonexistent-user/nonexistent-expert", "hi")
    check_refused(program, ran, "'@nonexistent-user/nonexistent-expert' not found")


async def test_row_31_what_is_no_key_is_not_asked_for(program: Program) -> None:
    ran = await program.run("run", "@invalid", "hi", env={"PERSTACK_API_BASE_URL": "no url"})
    check_refused(program, ran, "'@invalid' not found", "perstack.toml defines: lead")


async def test_row_32_a_delegate_that_the_registry_does_not_know_ends_it_before_it_begins(
    program: Program,
) -> None:
    ran = await program.run("run", "lead", "hi")
    check_refused(program, ran, "lead delegates to nonexistent-delegate", "not defined here")
