"""The real program as a user starts it: a process of its own, in a workspace of its own.

program = Program.make(tmp_path, TOML, base_url=server.url)
ran = await program.run("run", "lead", "go")
assert ran.code == 0

async with program.running("run", "lead", "go") as running:
    await running.until("startGeneration")
    running.send(signal.SIGTERM)
    ran = await running.ended()
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import anyio
import anyio.abc

from perstack.config.load import load_config
from perstack.config.trust import acceptances, demands_of
from perstack.errors import ConfigError
from tests.fakes.forking import ForkedOutput, ForkedProgram, can_fork, forked
from tests.fakes.model_server import Answer, Decide, ModelServer, Seen, model_server
from tests.fakes.model_wire import Call, Refusal, Reply
from tests.fakes.no_registry import NO_REGISTRY

Json = dict[str, Any]
T = TypeVar("T")

PROGRAM: Final = (sys.executable, "-m", "perstack")
SCRIPTS: Final = [
    str(Path(sys.executable).with_name(name)) for name in ("perstack", "perstack-runtime")
]
ANTHROPIC_KEY: Final = "sk-ant-canary-0123456789abcdef"
OPENAI_KEY: Final = "sk-openai-canary-0123456789abcdef"
BOUND_S: Final = 45.0
SCRIPTED: Final = """
[provider]
providerName = "scripted"
[provider.setting]
scenario = "scenario.toml"
"""

_FROM_HERE: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[Json]:
        """Standard output as `run` promises it: JSON objects, one a line, nothing else."""
        return events_of(self.stdout)

    def types(self, *among: str) -> list[str]:
        """The types of the events, of those `among` if any are named, in order."""
        return [event["type"] for event in self.events if not among or event["type"] in among]

    def who(self, *among: str) -> list[tuple[str, str]]:
        """(Expert, type) of the events whose type is `among`, in order."""
        return [(e["expertKey"], e["type"]) for e in self.events if e["type"] in among]

    def all(self, type_: str) -> list[Json]:
        """The events of one type."""
        return [event for event in self.events if event["type"] == type_]

    def one(self, type_: str) -> Json:
        """The only event of that type."""
        (event,) = self.all(type_)
        return event

    @property
    def job_id(self) -> str:
        """The job that all the events are of."""
        (job_id,) = {event["jobId"] for event in self.events}
        return job_id

    @property
    def run_ids(self) -> list[str]:
        """The runs, in the order they appeared."""
        return list(dict.fromkeys(event["runId"] for event in self.events))


def events_of(stdout: str) -> list[Json]:
    """Parse standard output, refusing anything that is no event or could act on a terminal."""
    found: list[Json] = []
    for line in stdout.splitlines():
        assert line.isprintable(), line
        assert line.startswith("{"), line
        found.append(json.loads(line))
    return found


def is_subsequence(wanted: Sequence[T], of: Iterable[T]) -> bool:
    """Tell whether `wanted` occurs in `of` in this order, with anything between."""
    rest = iter(of)
    return all(any(item == each for each in rest) for item in wanted)


class Started(Protocol):
    """What is used of a process, whether it was started or forked."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit code once that is known, negative for a signal."""
        ...

    async def wait(self) -> int:
        """Return its exit code."""
        ...

    async def aclose(self) -> None:
        """Wait for its end, and let go of its output."""
        ...


@dataclass
class Running:
    """A program that has not ended, as far as it was heard; a last half of a line is left out."""

    process: Started
    out: bytes = b""
    err: bytes = b""
    bound_s: float = BOUND_S
    _closed: int = 0
    _heard: anyio.Event = field(default_factory=anyio.Event)

    @property
    def events(self) -> list[Json]:
        """What it has printed so far."""
        whole, _, _ = self.out.rpartition(b"\n")
        return events_of(whole.decode())

    async def until(self, type_: str, times: int = 1) -> Json:
        """Wait for the event of that type number `times`, at most `bound_s` seconds."""

        def found() -> list[Json]:
            return [event for event in self.events if event["type"] == type_]

        await self.wait_for(lambda: len(found()) >= times)
        return found()[times - 1]

    @property
    def has_ended(self) -> bool:
        """Whether it will print nothing more."""
        return self._closed >= 2

    async def hears_more(self) -> None:
        """Wait until it prints something, or has ended."""
        if not self.has_ended:
            await self._heard.wait()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, looking whenever something was printed."""
        with anyio.fail_after(self.bound_s):
            while not condition():
                assert not self.has_ended, f"it ended: {self.out[-2000:]!r} {self.err[-2000:]!r}"
                await self.hears_more()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.process.returncode is None:
            # Popen's own way looks whether it has ended, and then asyncio never hears how.
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    async def ended(self) -> Ran:
        """Wait for its end, at most `bound_s` seconds. What was cut off by a kill is left out."""
        with anyio.fail_after(self.bound_s):
            code = await self.process.wait()
            while not self.has_ended:
                await self.hears_more()
        out = self.out if code >= 0 else self.out[: self.out.rfind(b"\n") + 1]
        return Ran(code, out.decode(), self.err.decode())

    async def hear(
        self, stream: anyio.abc.ByteReceiveStream | ForkedOutput, *, is_out: bool
    ) -> None:
        """Take in what the program prints, until it has ended."""
        async for piece in stream:
            if is_out:
                self.out += piece
            else:
                self.err += piece
            self._tell()
        self._closed += 1
        self._tell()

    def _tell(self) -> None:
        self._heard.set()
        self._heard = anyio.Event()


@dataclass(frozen=True)
class Program:
    """How the program is started: where, with which variables, and for how long it is waited."""

    workspace: Path
    env: Mapping[str, str]
    bound_s: float = BOUND_S

    @classmethod
    def make(
        cls,
        workspace: Path,
        toml: str,
        *,
        base_url: str = "http://127.0.0.1:9",
        env: Mapping[str, str] | None = None,
        scenario: str | None = None,
        trusted: bool = True,
    ) -> Program:
        """Write the files of a project; keys and addresses of both vendors are set.

        What the file asks for is accepted beforehand, if it is `trusted` and can be read.
        """
        workspace.mkdir(parents=True, exist_ok=True)
        (workspace / "perstack.toml").write_text(toml)
        if scenario is not None:
            (workspace / "scenario.toml").write_text(scenario)
        own = {name: os.environ[name] for name in _FROM_HERE if name in os.environ}
        vendors = {
            "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
            "ANTHROPIC_BASE_URL": base_url,
            "OPENAI_API_KEY": OPENAI_KEY,
            "OPENAI_BASE_URL": f"{base_url}/v1",
            "PERSTACK_API_BASE_URL": NO_REGISTRY,
        }
        if trusted:
            accept_all(workspace / "perstack.toml", own)
        return cls(workspace, own | vendors | dict(env or {}))

    async def run(self, *args: str, env: Mapping[str, str] | None = None) -> Ran:
        """Run it to its end."""
        return await self.run_words(*PROGRAM, *args, env=env)

    async def run_words(self, *words: str, env: Mapping[str, str] | None = None) -> Ran:
        """Run any command the way the program is run, to its end."""
        async with self.running_words(*words, env=env) as running:
            return await running.ended()

    def running(
        self, *args: str, env: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Running]:
        """Start it; when the block ends it is killed if need be."""
        return self.running_words(*PROGRAM, *args, env=env)

    @asynccontextmanager
    async def running_words(
        self, *words: str, env: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Running]:
        """Start any command the way the program is started."""
        process = await self._started(words, {**self.env, **(env or {})})
        assert process.stdout is not None
        assert process.stderr is not None
        running = Running(process, bound_s=self.bound_s)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_heard, running, process.stdout, True)
                group.start_soon(_heard, running, process.stderr, False)
                try:
                    yield running
                finally:
                    running.send(signal.SIGKILL)
        finally:
            with anyio.CancelScope(shield=True):
                await process.aclose()

    async def _started(
        self, words: Sequence[str], env: Mapping[str, str]
    ) -> anyio.abc.Process | ForkedProgram:
        """Start it; our own program is forked where that makes no difference but in time."""
        own = len(PROGRAM)
        if tuple(words[:own]) == PROGRAM and can_fork(env):
            return await forked(words[own:], cwd=self.workspace, env=env)
        if words[0] in SCRIPTS and can_fork(env):
            return await forked(words[1:], cwd=self.workspace, env=env, script=words[0])
        return await anyio.open_process(
            words, stdin=subprocess.DEVNULL, cwd=self.workspace, env=env
        )

    def jobs(self) -> list[str]:
        """The jobs on the disk."""
        folder = self.workspace / "perstack" / "jobs"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def accept_all(path: Path, env: Mapping[str, str]) -> None:
    """Accept what the file asks for, as its user would, if it can be read."""
    with suppress(ConfigError):
        config = load_config(path)
        demands = demands_of(config.experts.values(), config.settings)
        acceptances(env).accept(path, demands)


def assert_calls_answered(requests: Iterable[Seen]) -> None:
    """Check what vendors insist on: each tool call's result follows it at once, once."""
    for seen in requests:
        messages: list[Json] = seen.body["messages"]
        for before, after in itertools.pairwise(messages):
            called = _ids(before, "tool_use", "id")
            assert sorted(called) == sorted(_ids(after, "tool_result", "tool_use_id"))


def _ids(message: Json, kind: str, key: str) -> list[str]:
    parts: str | list[Json] = message["content"]
    if isinstance(parts, str):
        return []
    return [part[key] for part in parts if part["type"] == kind]


async def _heard(
    running: Running, stream: anyio.abc.ByteReceiveStream | ForkedOutput, is_out: bool
) -> None:
    await running.hear(stream, is_out=is_out)


def by_expert(said: Mapping[str, Sequence[Answer]]) -> Decide:
    """Answer as each Expert, told by `You are NAME.` in its instruction, turn by turn."""

    def decide(seen: Seen) -> Answer:
        system = json.dumps(seen.body.get("system") or seen.body["messages"][0])
        for name, replies in said.items():
            if f"You are {name}." in system:
                turn = seen.assistant_messages
                if turn < len(replies):
                    return replies[turn]
                return Refusal(400, f"{name} has nothing to say at turn {turn + 1}")
        return Refusal(400, "nobody known asks")

    return decide


def calls(*named: str | Call, text: str = "") -> Reply:
    """A reply that calls tools; ids are the names'."""
    made = [Call(one, {}) if isinstance(one, str) else one for one in named]
    numbered = [
        Call(call.name, call.args, call.id or f"toolu_{call.name}_{number}")
        for number, call in enumerate(made)
    ]
    return Reply(text=[text] if text else [], calls=numbered)


def finishes(text: str) -> list[Answer]:
    """An Expert that declares itself done, then says `text`."""
    return [calls("attemptCompletion"), Reply([text])]


def play(
    program: Callable[[str], Program], decide: Decide, *commands: Sequence[str]
) -> tuple[list[Ran], ModelServer]:
    """Run commands one after another against one server; `{job}` stands for the first's job."""

    async def all_of_them() -> tuple[list[Ran], ModelServer]:
        ran: list[Ran] = []
        async with model_server(decide=decide) as server:
            started = program(server.url)
            for words in commands:
                job = ran[0].job_id if ran else ""
                ran.append(await started.run(*(word.replace("{job}", job) for word in words)))
        return ran, server

    return anyio.run(all_of_them)
