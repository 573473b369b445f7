"""A newcomer's way, a program a step: create, run, publish, run elsewhere, tag, deprecate.

The scripted provider stands in for a model.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.cli import Ran
from tests.fakes.creating import SCENARIO as CREATED_WITH
from tests.fakes.creating import create_words, creates, creating_program
from tests.fakes.registry_server import registry_server

pytestmark = pytest.mark.anyio

SCENARIO: Final = '[[turns]]\ntext = "Roses are red."\n'
PLAY: Final = ("--provider", "scripted", "--scenario", "scenario.toml")


def went(ran: Ran, *words: str) -> Ran:
    assert ran.code == 0, ran.stderr
    for word in words:
        assert word in ran.stdout + ran.stderr
    return ran


def refused(ran: Ran, *words: str) -> Ran:
    assert ran.code == 1, ran.stdout
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr
    return ran


@pytest.mark.long
async def test_what_one_person_publishes_another_runs_by_name(tmp_path: Path) -> None:
    async with registry_server(tmp_path / "registry") as server:
        env = {"PERSTACK_API_BASE_URL": server.url}
        scenario = creates("@acme/poet", "Write a poem.")
        author = creating_program(tmp_path / "author", scenario=scenario, env=env)
        signed = replace(author, env={**author.env, "PERSTACK_API_KEY": server.key("acme")})
        home = tmp_path / "reader-home"
        folder = tmp_path / "reader"
        for each in (home, folder):
            each.mkdir()
        (folder / "scenario.toml").write_text(SCENARIO)
        reader = replace(author, workspace=folder, env={**author.env, "HOME": str(home)})

        went(await author.run(*create_words("@acme/poet", "write poems")), "Trial 2: completed")
        went(await author.run("run", "@acme/poet", "roses", "--scenario", CREATED_WITH))
        refused(await author.run("publish", "@acme/poet", "--yes"), "PERSTACK_API_KEY")
        went(await signed.run("publish", "@acme/poet", "--yes"), "Published @acme/poet@1.0.0")

        asked = ("start", "@acme/poet", "roses", "--plain", *PLAY)
        refused(await reader.run(*asked), "run @acme/poet@1.0.0 of acme", "--yes")
        went(await reader.run(*asked, "--yes"), "Roses are red.")
        assert "Warning" not in went(await reader.run(*asked)).stderr

        went(await signed.run("tag", "@acme/poet@1.0.0", "stable"), "stable")
        text = (author.workspace / "perstack.toml").read_text()
        text = text.replace("1.0.0", "2.0.0").replace("Write a poem", "Write a long poem")
        (author.workspace / "perstack.toml").write_text(text)
        went(await signed.run("publish", "@acme/poet", "--yes"), "Published @acme/poet@2.0.0")
        refused(await reader.run(*asked), "run @acme/poet@2.0.0 of acme")
        stable = ("run", "@acme/poet@stable", "roses", *PLAY)
        assert went(await reader.run(*stable)).stderr == ""

        went(await signed.run("status", "@acme/poet@1.0.0", "deprecated"), "deprecated")
        went(await reader.run(*stable), "Warning: @acme/poet@1.0.0 is deprecated")
    went(await reader.run(*stable), "the registry cannot be reached")
