"""`import perstack`: what docs/library.md says, run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from pydantic import JsonValue

import perstack
from perstack import Delta, Event
from perstack.domain.expert import Expert
from perstack.domain.ids import CheckpointId, JobId, ToolCallId
from perstack.errors import (
    ConfigError,
    ConflictError,
    NotFoundError,
    RegistryUnreachableError,
    UnknownExpertError,
    UsageError,
)
from perstack.ports.model import Generation, ModelRequest, Spoken
from perstack.ports.skills import (
    RunContext,
    SkillHost,
    SkillNotice,
    SkillSet,
    ToolOutcome,
    ToolSpec,
)
from perstack.project import Project
from perstack.runtime import open_history
from perstack.services.looking import see_job
from tests.fakes.engine import FakeModel, latest_text, says

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
GATED = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
[consensus]
enabled = true
[experts."deployer"]
instruction = "You are deployer."
[experts."writer"]
instruction = "You are writer."
delegates = ["deployer"]
"""
DEPLOYS = """
[[turns]]
expert = "writer"
turn = 1
calls = [{ tool = "deployer", args = { query = "deploy to production" } }]
[[turns]]
expert = "writer"
after = "Not on a Friday"
text = "I hold the release"
[[turns]]
text = "Deployed"
"""
SAYS = '[[turns]]\ntext = "Rain on the tin roof"\n'
GREETS = """
[[turns]]
turn = 1
calls = [{ tool = "greet", args = { who = "Ana" } }]
[[turns]]
text = "Greeted"
"""
SLEEPS = """
[[turns]]
turn = 1
calls = [{ tool = "exec", args = { command = "sleep", args = ["600"], cwd = "." } }]
[[turns]]
text = "Slept"
"""
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


# What an example prints, told by words that only it has.
PRINTS = {
    '"A haiku about rain"': "1 startRun\n",
    "on_event=heard": "startRun\n",
    "from_checkpoint=": "Rain on the tin roof\n",
    "perstack.decide": "I hold the release\n",
    "class Echo": "hello\n",
    '"elsewhere"': "completed [PosixPath('elsewhere/perstack/jobs/",
    "class Opener": "Hello, Ana!\n",
}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_each_example_of_the_docs_runs(folder: Path, number: int) -> None:
    (printed,) = [text for words, text in PRINTS.items() if words in EXAMPLES[number]]
    if "greet" in EXAMPLES[number]:
        (folder / "scenario.toml").write_text(GREETS)
    if "perstack.decide" in EXAMPLES[number]:
        (folder / "perstack.toml").write_text(GATED)
        (folder / "scenario.toml").write_text(DEPLOYS)
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
    assert printed in ran.stdout


def test_importing_the_library_loads_nothing_of_it() -> None:
    code = "import perstack, sys; print([m for m in sys.modules if m.startswith('perstack.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_every_name_of_the_library_is_there_and_no_other() -> None:
    assert all(getattr(perstack, name) for name in perstack.__all__)
    assert {*perstack.__all__} <= {*dir(perstack)}
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(perstack, "nonsense")  # noqa: B009  a type checker knows better


def test_type_checkers_are_told_that_the_library_is_typed() -> None:
    assert (Path(perstack.__file__).parent / "py.typed").is_file()


def test_the_page_names_every_name_and_no_other() -> None:
    table = DOCS.read_text().partition("## Run an Expert")[0]
    columns = [row.split("|")[1] for row in table.splitlines() if row.startswith("|")]
    named = {name for column in columns for name in re.findall(r"`(\w+)`", column)}
    assert named == {*perstack.__all__} - {"__version__"}


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


async def test_what_cannot_be_done_is_raised(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownExpertError):
        await perstack.run(project, "No Body", "go")
    with pytest.raises(RegistryUnreachableError, match="not found here"):
        await perstack.run(project, "nobody", "go")
    with pytest.raises(NotFoundError):
        await read(perstack.go_on(project, "no-such-job", text="x"))
    with pytest.raises(ConflictError):
        await anext(perstack.start(project, "writer", "go"))
    with pytest.raises(UsageError):
        perstack.go_on(project, "a", text="x", answer="y")
    with pytest.raises(UsageError):
        perstack.go_on(project, from_checkpoint=CheckpointId("c"))
    with pytest.raises(UsageError):
        perstack.start(project, "writer", "  ")
    monkeypatch.setattr("perstack.library.WRITTEN_WITHIN_S", 0.0)
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


@pytest.mark.parametrize("hears", ["events", "deltas"])
async def test_a_listeners_error_stops_the_job_and_comes_out_of_the_block(
    project: Project, hears: str
) -> None:
    heard: list[Event | Delta] = []

    def fails(what: Event | Delta) -> None:
        heard.append(what)
        raise ZeroDivisionError

    if hears == "events":
        job = perstack.start(project, "writer", "go", on_event=fails)
    else:
        job = perstack.start(project, "writer", "go", on_delta=fails)
    with pytest.raises(ZeroDivisionError) as raised:
        await read(job)
    assert len(heard) == 1
    assert raised.value.__context__ is None
    assert job.outcome.outcome.ending in ("stopped", "completed")
    assert await state_of(project, job.outcome.job_id) in ("stopped", "completed")


async def test_a_tool_that_works_is_ended_when_the_block_is_left(
    project: Project, folder: Path
) -> None:
    (folder / "scenario.toml").write_text(SLEEPS)
    with anyio.fail_after(30):
        async with perstack.start(project, "writer", "go") as job:
            async for event in job:
                if event.body.type == "callTools":
                    break
    assert job.outcome.outcome.ending == "stopped"
    assert await state_of(project, job.outcome.job_id) == "stopped"


async def test_a_reader_that_is_cancelled_stops_the_job_at_a_checkpoint(
    project: Project, folder: Path
) -> None:
    (folder / "scenario.toml").write_text(SLEEPS)
    job = perstack.start(project, "writer", "go", job_id="cancelled")
    with anyio.fail_after(30):
        with anyio.CancelScope() as scope:
            async with job:
                async for event in job:
                    if event.body.type == "callTools":
                        scope.cancel()
        assert scope.cancelled_caught
    assert job.outcome.outcome.ending == "stopped"
    assert await state_of(project, JobId("cancelled")) == "stopped"


async def state_of(project: Project, job_id: JobId) -> str:
    """How the job stands for everybody else."""
    kept = open_history(project.workspace)
    return (await see_job(kept, await kept.look_at_job(job_id))).state


def test_a_job_may_be_made_before_there_is_an_event_loop(project: Project) -> None:
    job = perstack.start(project, "writer", "go")
    anyio.run(read, job)
    assert job.outcome.outcome.ending == "completed"


async def test_a_job_that_does_not_stop_is_cut_off_in_the_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perstack.library.STOP_WITHIN_S", 0.0)
    deaf = FakeModel(lambda request, turn: never())
    parts = perstack.Parts(model=deaf)
    with anyio.fail_after(30):
        async with perstack.start(project, "writer", "go", job_id="deaf", parts=parts) as job:
            async for event in job:
                if event.body.type == "startGeneration":
                    break
    assert await state_of(project, JobId("deaf")) in ("lost", "stopped")


async def never() -> Generation:
    await anyio.sleep_forever()
    raise AssertionError


async def test_a_job_is_begun_once(project: Project) -> None:
    job = perstack.start(project, "writer", "go")
    await read(job)
    with pytest.raises(ConflictError, match="begun already"):
        await read(job)


async def test_a_model_of_ones_own_needs_no_vendors_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    (folder / "perstack.toml").write_text('[experts."writer"]\ninstruction = "x"\n')
    project = perstack.load_project(folder / "perstack.toml")
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY is not set"):
        await perstack.run(project, "writer", "go")
    model = FakeModel(lambda request, turn: says("Mine."))
    outcome = await perstack.run(project, "writer", "go", parts=perstack.Parts(model=model))
    assert outcome.outcome.text == "Mine."


@pytest.mark.parametrize("mistake", [RuntimeError("with sk-secret-key"), TypeError("x")])
async def test_what_a_model_of_ones_own_raises_fails_the_run_and_is_logged(
    project: Project, caplog: pytest.LogCaptureFixture, mistake: Exception
) -> None:
    parts = perstack.Parts(model=FakeModel(lambda request, turn: mistake))
    outcome = await perstack.run(project, "writer", "go", parts=parts)
    assert outcome.outcome.ending == "failed"
    assert outcome.outcome.error is not None
    kind = type(mistake).__name__
    assert outcome.outcome.error.message == f"the provider fake-model raised {kind}"
    assert str(mistake) in caplog.text
    kept = list((project.workspace / "perstack").rglob("*.json*"))
    assert kept
    assert all(b"sk-secret-key" not in path.read_bytes() for path in kept)


class Mistaken(FakeModel):
    """Says things that are neither."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Spoken | Generation, None]:
        yield "text"  # pyright: ignore[reportReturnType]  that is the mistake


async def test_a_model_that_yields_something_else_fails_the_run(project: Project) -> None:
    model = Mistaken(lambda request, turn: says())
    outcome = await perstack.run(project, "writer", "go", parts=perstack.Parts(model=model))
    assert outcome.outcome.error is not None
    assert outcome.outcome.error.message == "the provider fake-model raised TypeError"


class Broken:
    """A tool that raises, and is its own set; unless it `opens`, opening raises as well."""

    def __init__(self, *, opens: bool) -> None:
        self.opens = opens
        self.tools = {"break": ToolSpec("own", "break", "Breaks.", {"type": "object"})}

    @asynccontextmanager
    async def open(
        self,
        expert: Expert,
        context: RunContext,
        notice: Callable[[SkillNotice], None],
        host: SkillHost | None = None,
    ) -> AsyncGenerator[SkillSet, None]:
        if not self.opens:
            raise RuntimeError("no such luck")
        yield self

    async def ready(self) -> None:
        pass

    async def call(
        self,
        name: str,
        args: Mapping[str, JsonValue],
        *,
        tool_call_id: ToolCallId | None = None,
    ) -> ToolOutcome:
        raise RuntimeError("it broke")


async def test_what_a_tool_of_ones_own_raises_is_read_by_the_model(project: Project) -> None:
    def mind(request: ModelRequest, turn: int) -> Generation:
        return says("", ("break", {})) if turn == 1 else says(latest_text(request))

    parts = perstack.Parts(model=FakeModel(mind), skills=Broken(opens=True))
    outcome = await perstack.run(project, "writer", "go", parts=parts)
    assert '{"type": "textPart", "text": "RuntimeError: it broke"}' in outcome.outcome.text
    assert '"isError": true' in outcome.outcome.text


async def test_tools_of_ones_own_that_do_not_open_fail_the_run(project: Project) -> None:
    parts = perstack.Parts(skills=Broken(opens=False))
    outcome = await perstack.run(project, "writer", "go", parts=parts)
    assert outcome.outcome.ending == "failed"
    assert outcome.outcome.error is not None
    assert outcome.outcome.error.message == "opening the tools of writer raised RuntimeError"


@pytest.mark.parametrize(
    ("config", "workspace", "error"),
    [
        ("missing.toml", None, ConfigError),
        (".", None, ConfigError),
        ("a\x00b", None, ConfigError),
        ("latin.toml", None, ConfigError),
        ("perstack.toml", "nowhere", UsageError),
    ],
)
def test_a_configuration_that_cannot_be_used_is_our_own_error_with_a_hint(
    folder: Path, config: str, workspace: str | None, error: type[perstack.PerstackError]
) -> None:
    (folder / "latin.toml").write_bytes(b"\xff\xfe")
    at = folder / workspace if workspace else None
    with pytest.raises(error) as raised:
        perstack.load_project(folder / config, workspace=at)
    assert raised.value.hint
