"""Codex executes an Expert: the real program, as npm's registry has it.

Its model is a fake on loopback, named in a home of its own; it gets the key by `--env`.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio
import pytest

from tests.fakes.cli import OPENAI_KEY, Json, Program, Ran, accept_all, is_subsequence
from tests.fakes.codex import PASSED, always, asked, by_turns, codex_project, patch, shell
from tests.fakes.left_over import none_is_left
from tests.fakes.model_server import Answer, ModelServer, model_server
from tests.fakes.model_wire import Refusal, Reply
from tests.fakes.npm_programs import npm_program

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(180)]

KEYED: Final = 'permissions = "all"\nenv = ["OPENAI_API_KEY"]'
RUN: Final = ("run", "lead", "Write the note.", *PASSED)


@pytest.fixture(scope="session")
def codex() -> Path:
    return npm_program("codex")


@dataclass(frozen=True)
class Project:
    """A project, the fake model, and what is in the workspace."""

    program: Program
    server: ModelServer

    @property
    def workspace(self) -> Path:
        return self.program.workspace

    @property
    def home(self) -> Path:
        return Path(self.program.env["CODEX_HOME"])

    async def goes_on(self, job: str, query: str = "Go on.") -> Ran:
        return await self.program.run("run", "lead", query, "--continue-job", job, *PASSED)


@asynccontextmanager
async def project(
    folder: Path, codex: Path, *replies: Answer, more: str = 'permissions = "all"'
) -> AsyncGenerator[Project]:
    async with model_server(decide=by_turns(replies)) as server:
        yield Project(codex_project(folder, codex, server.url, more=more), server)


def results(ran: Ran) -> list[Json]:
    return [event["result"] for event in ran.all("toolReturned")]


def text_of(result: Json) -> str:
    return "".join(part["text"] for part in result["result"])


def told(body: Json) -> str:
    return json.dumps(body["input"])


async def _works(*words: str) -> bool:
    return (await anyio.run_process(words, check=False)).returncode == 0


# ---------------------------------------------------------------- a job


async def test_an_expert_runs_in_codex_and_its_steps_and_usage_are_recorded(
    tmp_path: Path, codex: Path
) -> None:
    replies = (
        Reply(["I look."], thinking=["Hm."], calls=[shell("echo seen; exit 3")], cached_tokens=7),
        Reply(["I write."], calls=[patch("note.txt", "hello")], reasoning_tokens=5),
        Reply(["All done."]),
    )
    async with project(tmp_path, codex, *replies) as it:
        ran = await it.program.run(*RUN)
        assert ran.code == 0, ran.stderr
        assert (it.workspace / "note.txt").read_text() == "hello\n"
        (first, *_) = asked(it.server.requests)
    wanted = ["startRun", "startProgram", "beginSession", "callTools", "toolReturned"]
    assert is_subsequence([*wanted, "continueToNextStep", "callTools", "completeRun"], ran.types())
    looked, wrote = ran.all("callTools")
    assert (looked["stepNumber"], wrote["stepNumber"]) == (1, 2)
    assert [part["type"] for part in looked["newMessage"]["contents"]] == [
        "thinkingPart",
        "textPart",
        "toolCallPart",
    ]
    seen, written = results(ran)
    assert text_of(seen) == "seen\n[exit code 3]"
    assert seen["isError"] is True
    assert written["toolName"] == "file_change"
    assert "note.txt" in text_of(written)
    end = ran.one("completeRun")
    assert end["text"] == "All done."
    usage = end["checkpoint"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (300, 60)
    assert (usage["cachedInputTokens"], usage["reasoningTokens"]) == (7, 5)
    assert first.body["model"] == "gpt-5"
    assert "You are lead." in told(first.body)


async def test_its_users_key_is_passed_only_when_asked_for(tmp_path: Path, codex: Path) -> None:
    async with project(tmp_path, codex, Reply(["Never said."])) as it:
        ran = await it.program.run("run", "lead", "hi")
        assert ran.code == 1
        assert "OPENAI_API_KEY" in ran.stderr
        assert not any(OPENAI_KEY in str(seen.headers) for seen in it.server.requests)


async def test_commands_of_its_model_do_not_see_the_key(tmp_path: Path, codex: Path) -> None:
    async with project(
        tmp_path, codex, Reply(calls=[shell("env > env.txt")]), Reply(["Done."])
    ) as it:
        ran = await it.program.run(*RUN)
        assert ran.code == 0, ran.stderr
        variables = (it.workspace / "env.txt").read_text()
    assert "PERSTACK_RUN_ID=" in variables
    assert OPENAI_KEY not in variables


async def test_a_refused_key_is_a_clear_error(tmp_path: Path, codex: Path) -> None:
    async with project(tmp_path, codex, Refusal(401, "Incorrect key")) as it:
        ran = await it.program.run(*RUN)
    assert ran.code == 1
    assert "401" in ran.stderr
    assert "codex login" in ran.stderr
    assert ran.one("stopRunByError")["error"]["name"] == "ProgramError"


# ---------------------------------------------------------------- permissions


@pytest.mark.parametrize("permissions", ["ask", "edits"])
async def test_its_sandbox_holds_what_it_may_not_do(
    tmp_path: Path, codex: Path, permissions: str
) -> None:
    more = f'permissions = "{permissions}"'
    # It may write to where temporary files usually are.
    with TemporaryDirectory(dir="/var/tmp") as outside:
        command = f"touch {outside}/evil; touch inside.txt; echo tried"
        replies = (Reply(calls=[shell(command)]), Reply(["Done."]))
        async with project(tmp_path, codex, *replies, more=more) as it:
            ran = await it.program.run(*RUN)
            assert ran.code == 0, ran.stderr
        left = list(Path(outside).iterdir())
    written = (it.workspace / "inside.txt").exists()
    (tried,) = results(ran)
    if "tried" not in text_of(tried):
        assert 'permissions = "all"' in text_of(tried)
        pytest.skip("codex cannot make its sandbox on this machine, and says so")
    assert left == []
    assert written is (permissions == "edits")


async def test_where_it_cannot_make_its_sandbox_that_is_told_with_what_to_do(
    tmp_path: Path, codex: Path
) -> None:
    bare = ("unshare", "--user", "--map-root-user", "sh", "-c")
    if shutil.which("unshare") is None or not await _works(*bare, ":"):
        pytest.skip("a namespace without further ones cannot be made here")
    replies = (Reply(calls=[shell("echo never")]), Reply(["I could not."]))
    async with project(tmp_path, codex, *replies, more='permissions = "edits"') as it:
        toml = it.workspace / "perstack.toml"
        script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$0" "$@"'
        words = ", ".join(json.dumps(word) for word in (*bare, script, str(codex)))
        toml.write_text(toml.read_text().replace(json.dumps(str(codex)), words))
        accept_all(toml, it.program.env)
        ran = await it.program.run(*RUN)
    assert ran.code == 0, ran.stderr
    (tried,) = results(ran)
    assert tried["isError"] is True
    assert "never" not in text_of(tried)
    assert 'permissions = "all"' in text_of(tried)


# ---------------------------------------------------------------- stopping and going on


async def test_killed_in_the_middle_it_goes_on_in_the_same_job_and_session(
    tmp_path: Path, codex: Path
) -> None:
    never = anyio.Event()
    replies = (Reply(calls=[shell("echo first")]), Reply(["Never said."], gate=never))
    async with project(tmp_path, codex, *replies) as it:
        async with it.program.running(*RUN) as running:
            begun = await running.until("beginSession")
            await running.until("toolReturned")
            await running.wait_for(lambda: len(asked(it.server.requests)) == 2)
            running.send(signal.SIGKILL)
            killed = await running.ended()
        await none_is_left(it.workspace)
        it.server.decide = always("Done after all.")
        ran = await it.goes_on(killed.job_id)
        again = asked(it.server.requests)[-1].body
    assert ran.code == 0, ran.stderr
    assert ran.job_id == killed.job_id
    assert ran.one("startProgram")["continued"] == begun["sessionId"]
    assert "echo first" in told(again)
    assert ran.one("completeRun")["text"] == "Done after all."
    # What the killed process used was told to nobody before; now it is counted, once.
    assert ran.one("completeRun")["checkpoint"]["usage"]["inputTokens"] == 200


async def test_interrupted_it_stops_at_a_checkpoint_and_goes_on(
    tmp_path: Path, codex: Path
) -> None:
    never = anyio.Event()
    replies = (Reply(calls=[shell("echo first")]), Reply(["Never said."], gate=never))
    async with project(tmp_path, codex, *replies) as it:
        async with it.program.running(*RUN) as running:
            await running.until("toolReturned")
            running.send(signal.SIGINT)
            stopped = await running.ended()
        assert stopped.code == 130, stopped.stderr
        await none_is_left(it.workspace)
        it.server.decide = always("Done after all.")
        ran = await it.goes_on(stopped.job_id)
    assert ran.code == 0, ran.stderr
    assert ran.one("startProgram")["continued"] == stopped.one("beginSession")["sessionId"]


async def test_a_finished_job_is_asked_more_in_a_session_that_knows_all_and_counts_once(
    tmp_path: Path, codex: Path
) -> None:
    async with project(tmp_path, codex, Reply(calls=[shell("echo first")]), Reply(["Done."])) as it:
        first = await it.program.run(*RUN)
        it.server.decide = always("More is done.")
        more = await it.goes_on(first.job_id, "And more?")
        heard = asked(it.server.requests)[-1].body
        even_more = await it.goes_on(first.job_id, "And even more?")
    assert (more.code, even_more.code) == (0, 0), more.stderr
    assert "echo first" in told(heard)
    assert "And more?" in told(heard)
    used = [ran.one("completeRun")["usage"]["inputTokens"] for ran in (first, more, even_more)]
    assert used == [200, 100, 100]


async def test_a_session_that_it_lost_is_begun_anew_with_what_was_said(
    tmp_path: Path, codex: Path
) -> None:
    async with project(
        tmp_path, codex, Reply(["I look."], calls=[shell("echo first")]), Reply(["Done."])
    ) as it:
        first = await it.program.run(*RUN)
        shutil.rmtree(it.home / "sessions")
        for kept in it.home.glob("*.sqlite*"):
            kept.unlink()
        it.server.decide = always("Done again.")
        ran = await it.goes_on(first.job_id, "And more?")
        heard = asked(it.server.requests)[-1].body
    assert ran.code == 0, ran.stderr
    assert [event.get("continued") for event in ran.all("startProgram")][-1] is None
    assert len(ran.all("startProgram")) == 2
    assert "You called command_execution" in told(heard)
    assert "And more?" in told(heard)


# ---------------------------------------------------------------- AgentStack's words


async def test_an_agent_whose_provider_is_codex_works_and_goes_on_with_its_conversation(
    tmp_path: Path, codex: Path
) -> None:
    async with project(tmp_path, codex, Reply(calls=[shell("echo first")]), Reply(["Done."])) as it:
        words = ("-p", "Look.", "-n", "ann", "--provider", "codex", "--json")
        toml = it.workspace / "perstack.toml"
        # Another runtime is the project's; the key is passed since its file says so.
        named = toml.read_text().replace('runtime = "codex"', "", 1)
        toml.write_text(named.replace('permissions = "all"', KEYED))
        accept_all(toml, it.program.env)
        first = await it.program.run("agent", "run", "-t", "lead", *words)
        assert first.code == 0, first.stderr
        it.server.decide = always("More is done.")
        ran = await it.program.run("agent", "exec", *words)
        assert ran.code == 0, ran.stderr
        heard = asked(it.server.requests)[-1].body
    assert json.loads(first.stdout)["response"] == "Done."
    assert json.loads(ran.stdout)["response"] == "More is done."
    assert "echo first" in told(heard)
