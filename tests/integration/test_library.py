"""`import perstack`: what docs/library.md says, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import perstack
from perstack.domain.ids import CheckpointId
from perstack.errors import ConflictError, NotFoundError, UnknownExpertError, UsageError
from perstack.runtime import Project

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs" / "library.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
TOML = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[experts."writer"]
instruction = "You are writer."
[experts."writer".skills."ask"]
type = "interactiveSkill"
[experts."writer".skills."ask".tools."askUser"]
inputJsonSchema = '{"type":"object","properties":{"question":{"type":"string"}}}'
"""
SAYS = '[[turns]]\ntext = "Rain on the tin roof"\n'
ASKS = """
[[turns]]
turn = 1
[[turns.calls]]
tool = "askUser"
args = { question = "About what?" }
[[turns]]
text = "As you wish"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "perstack.toml").write_text(TOML)
    (tmp_path / "scenario.toml").write_text(SAYS)
    return tmp_path


@pytest.fixture
def project(folder: Path) -> Project:
    return perstack.load_project(folder / "perstack.toml")


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_example_of_the_docs_runs(folder: Path, number: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", EXAMPLES[number]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""


def test_importing_the_library_loads_nothing_of_it() -> None:
    code = "import perstack, sys; print([m for m in sys.modules if m.startswith('perstack.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_name_of_the_library_is_there_and_no_other() -> None:
    assert all(getattr(perstack, name) for name in perstack.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(perstack, "nonsense")  # noqa: B009  a type checker knows better


async def read(job: perstack.Job) -> None:
    async with job:
        async for _ in job:
            pass


async def test_leaving_early_stops_the_job_at_a_checkpoint(project: Project) -> None:
    async with perstack.start(project, "writer", "go") as job:
        async for event in job:
            if event.body.type == "startRun":
                break
    assert job.outcome.outcome.ending in ("stopped", "completed")
    again = perstack.go_on(project, job.outcome.job_id, text="on")
    async with again:
        endings = [event.body.type async for event in again]
    assert endings[-2:] == ["completeRun", "skillDisconnected"] or endings[-1] == "completeRun"


async def test_a_question_is_answered(project: Project, folder: Path) -> None:
    (folder / "scenario.toml").write_text(ASKS)
    asked = await perstack.run(project, "writer", "go")
    assert asked.outcome.ending == "asked"
    job = perstack.go_on(project, asked.job_id, answer="snow")
    await read(job)
    assert job.outcome.outcome.text == "As you wish"


async def test_what_cannot_be_done_is_raised(project: Project) -> None:
    with pytest.raises(UnknownExpertError):
        await perstack.run(project, "nobody", "go")
    with pytest.raises(NotFoundError):
        await read(perstack.go_on(project, "no-such-job", text="x"))
    with pytest.raises(ConflictError):
        await anext(perstack.start(project, "writer", "go"))
    with pytest.raises(UsageError):
        perstack.go_on(project, "a", text="x", answer="y")
    with pytest.raises(UsageError):
        perstack.go_on(project, from_checkpoint=CheckpointId("c"))
    with pytest.raises(NotFoundError):
        await perstack.decide(project, "nothing", approved=True, reviewed_by="ana")


async def test_an_outcome_is_not_there_before_the_end(project: Project) -> None:
    with pytest.raises(ConflictError):
        _ = perstack.start(project, "writer", "go").outcome


async def test_an_error_of_the_readers_is_not_lost(project: Project) -> None:
    async def reading() -> None:
        async with perstack.start(project, "writer", "go") as job:
            async for _ in job:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await reading()
