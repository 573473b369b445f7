"""kill -9 at any moment: nothing that was announced is lost, nothing is silently done twice."""

from __future__ import annotations

import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import pytest

from tests.fakes.cli import SCRIPTED, Json, Program, Ran, assert_calls_answered
from tests.fakes.model_server import model_server, steps

pytestmark = pytest.mark.anyio

MCP_SERVER: Final = str(Path(__file__).parents[1] / "fakes" / "mcp_server.py")
RECORDER: Final = f"""
[experts."lead"]
instruction = "You are lead."
[experts."lead".skills."effects"]
type = "mcpStdioSkill"
command = "{sys.executable}"
args = ["{MCP_SERVER}", "--tools", "record", "--effects", "{{effects}}"]
"""
EFFECTS: Final = "effects.txt"
STEPS_OF_CHILDREN: Final = 3
EXPECTED: Final = {
    "lead-1", "lead-3", *(f"{child}-{n}" for child in "ab" for n in range(1, STEPS_OF_CHILDREN + 1))
}  # fmt: skip
EVENTS: Final = 110
COUNTED: Final = ("callTools", "completeRun", "retry")
NORMAL: Final = 6
LONG: Final = 50
SEEDS: Final = [
    pytest.param(seed, marks=() if seed < NORMAL else pytest.mark.long) for seed in range(LONG)
]


def turn(key: str, number: int, *calls: str) -> str:
    return f'[[turns]]\nexpert = "{key}"\nturn = {number}\ncalls = [{", ".join(calls)}]\n'


def team(workspace: Path) -> Program:
    """A lead that writes down a key, delegates to two that do, writes again and is done."""
    toml = SCRIPTED + '[experts."lead"]\ninstruction = "x"\ndelegates = ["a", "b"]\n'
    toml += "".join(f'[experts."{key}"]\ninstruction = "x"\n' for key in "ab")
    turns = [
        turn("lead", 1, written("lead")),
        turn("lead", 2, *(f'{{ tool = "{key}", args = {{ query = "go" }} }}' for key in "ab")),
        turn("lead", 3, written("lead")),
    ]
    for key in "ab":
        turns += [turn(key, n, written(key)) for n in range(1, STEPS_OF_CHILDREN + 1)]
    turns.append('[[turns]]\ntext = "All done."\n')
    program = Program.make(workspace, toml, scenario="".join(turns))
    (workspace / EFFECTS).touch()
    return program


def written(key: str) -> str:
    args = f'{{ path = "{EFFECTS}", text = "{key}-{{{{turn}}}}\\n" }}'
    return f'{{ tool = "appendTextFile", args = {args} }}'


@dataclass
class Story:
    """What a job's processes told before they were killed, and how often that was."""

    announced: list[Json] = field(default_factory=list[Json])
    kills: int = 0

    def add(self, ran: Ran) -> None:
        self.announced += ran.events
        self.kills += ran.code < 0


async def run_and_kill(
    program: Program,
    story: Story,
    rng: random.Random,
    *args: str,
    after: int,
    by: signal.Signals = signal.SIGKILL,
) -> Ran:
    """Kill the program a moment after its event number `after`, if it has not ended by then."""
    async with program.running("run", "lead", *args) as running:
        with anyio.move_on_after(0.15 if not after else 20):
            while len(running.events) < after or not after:
                if running.has_ended:
                    break
                await running.hears_more()
        await anyio.sleep(rng.uniform(0, 0.01))
        running.send(by)
        ran = await running.ended()
    story.add(ran)
    return ran


async def to_the_end(program: Program, story: Story, rng: random.Random) -> None:
    """Go on with the job, at times killing it again, until it says that it is completed."""
    for _ in range(20):
        if rng.random() < 0.3:
            ran = await run_and_kill(program, story, rng, "--continue", after=rng.randint(0, 40))
        else:
            ran = await program.run("run", "lead", "--continue")
            story.add(ran)
        if ran.code == 4 and not any(event["type"] == "startRun" for event in story.announced):
            # It was killed before there was anything to go on with.
            story.add(await program.run("run", "lead", "go"))
            return
        if ran.code == 0 or "the job is completed" in ran.stderr:
            return
        assert ran.code == -signal.SIGKILL, ran.stderr
    raise AssertionError("it never came to its end")


async def history(program: Program) -> tuple[list[Json], Json]:
    log = await program.run("log", "--json", "--take", "0")
    (page,) = log.events
    assert log.stderr == ""
    return page["events"], page["job"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_job_that_is_killed_goes_on_to_its_end(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    program, story = team(tmp_path), Story()
    await run_and_kill(program, story, rng, "go", after=rng.randint(0, EVENTS))
    await to_the_end(program, story, rng)
    events, job = await history(program)
    assert job["status"] == "completed"
    check_nothing_was_lost(story, events)
    tokens = [e["usage"]["totalTokens"] for e in events if e["type"] in COUNTED]
    assert job["usage"]["totalTokens"] == sum(tokens)
    check_effects(tmp_path / EFFECTS, story, events)
    # The lead's own turns and each child's: nothing that was finished was done again.
    assert Counter(e["expertKey"] for e in events if e["type"] == "completeRun") == Counter(
        ["lead", "a", "b"]
    )


TERM_SEEDS: Final = [
    pytest.param(seed, marks=() if seed < 2 else pytest.mark.long) for seed in range(20)
]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("seed", TERM_SEEDS)
async def test_a_job_that_is_stopped_again_and_again_does_everything_once(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    program, story = team(tmp_path), Story()
    words: tuple[str, ...] = ("go",)
    for _ in range(100):
        after = rng.randint(1, 25)
        ran = await run_and_kill(program, story, rng, *words, after=after, by=signal.SIGTERM)
        words = ("--continue",)
        if ("lead", "completeRun") in ran.who("completeRun"):
            break  # a signal that comes later ends what has nothing left to do
        assert ran.code == 128 + signal.SIGTERM, ran.stderr
    events, job = await history(program)
    assert job["status"] == "completed"
    check_nothing_was_lost(story, events)
    assert doubted(events) == set()
    assert Counter((tmp_path / EFFECTS).read_text().split()) == Counter(EXPECTED)


def check_nothing_was_lost(story: Story, events: list[Json]) -> None:
    """What was announced is in the history: all up to the last synced record at the least."""
    kept = {event["id"] for event in events}
    announced = [event for event in story.announced if "Streaming" not in event["type"]]
    announced = [event for event in announced if not event["type"].startswith("stream")]
    assert [e["type"] for e in announced if e["id"] not in kept] == []


def check_effects(effects: Path, story: Story, events: list[Json]) -> None:
    """Each effect once; one that is missing is in doubt, and said to be."""
    done = Counter(effects.read_text().split())
    doubtful = doubted(events)
    assert set(done) <= EXPECTED
    assert [key for key, times in done.items() if times > 1] == []
    assert EXPECTED - set(done) <= doubtful
    # At most what ran at one time can be in doubt: here one call for each of two Experts.
    assert len(doubtful) <= 2 * story.kills


def doubted(events: list[Json]) -> set[str]:
    """The keys of calls whose result says that they are in doubt."""
    keys = {
        (event["runId"], call["id"]): call["args"].get("text", "").strip()
        for event in events
        if event["type"] == "callTools"
        for call in event["toolCalls"]
    }
    return {
        keys[event["runId"], event["result"]["id"]]
        for event in events
        if event["type"] == "toolReturned" and event["result"].get("inDoubt")
    }


WIRE_SEEDS: Final = [
    pytest.param(seed, marks=() if seed < 1 else pytest.mark.long) for seed in range(10)
]


@pytest.mark.parametrize("seed", WIRE_SEEDS)
async def test_over_the_wire_each_effect_is_made_once_or_told_to_be_in_doubt(
    tmp_path: Path, seed: int
) -> None:
    rng, story, count = random.Random(seed), Story(), 10
    effects = tmp_path / EFFECTS
    decide = steps(count, tool="record", args='{"text": "k{{turn}}"}')
    async with model_server(decide=decide) as server:
        toml = RECORDER.format(effects=effects)
        program = Program.make(tmp_path / "workspace", toml, base_url=server.url)
        await run_and_kill(program, story, rng, "go", after=rng.randint(5, 9 * count))
        await to_the_end(program, story, rng)
        assert_calls_answered(server.requests)
    events, job = await history(program)
    assert job["status"] == "completed"
    check_nothing_was_lost(story, events)
    done = Counter(effects.read_text().split())
    assert [key for key, times in done.items() if times > 1] == []
    assert {f"k{n}" for n in range(count)} - set(done) <= doubted(events)


async def test_what_is_in_doubt_is_told_to_the_model(tmp_path: Path) -> None:
    toml = SCRIPTED + '[experts."lead"]\ninstruction = "x"\n'
    sleep = '{ tool = "exec", args = { command = "sleep", args = ["600"], cwd = "." } }'
    doubt = '[[turns]]\nafter = "In doubt"\ntext = "I looked before doing it again."\n'
    program = Program.make(tmp_path, toml, scenario=turn("lead", 1, sleep) + doubt)
    async with program.running("run", "lead", "go") as running:
        await running.until("callTools")
        running.send(signal.SIGKILL)
        await running.ended()
    again = await program.run("run", "lead", "--continue")
    assert again.one("completeRun")["text"] == "I looked before doing it again."
    assert again.one("toolReturned")["result"]["inDoubt"] is True
