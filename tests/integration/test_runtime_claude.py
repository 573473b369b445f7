"""Claude Code executes an Expert: the real program, as npm's registry has it.

Its model is a fake on loopback, whose address and key it gets by `--env`. Its home is the test's.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import psutil
import pytest

from tests.fakes.claude import PASSED, asked, by_turns, claude_project
from tests.fakes.cli import ANTHROPIC_KEY, BOUND_S, Json, Program, Ran, Running, is_subsequence
from tests.fakes.consensus import until
from tests.fakes.model_server import Answer, ModelServer, Seen, model_server
from tests.fakes.model_wire import Call, Reply
from tests.fakes.npm_programs import npm_program

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(180)]

RUN = ("run", "lead", "Write the note.", *PASSED)


@pytest.fixture(scope="session")
def claude() -> Path:
    return npm_program("claude")


@dataclass(frozen=True)
class Project:
    """A project, the fake model, and what is in the workspace."""

    program: Program
    server: ModelServer

    @property
    def workspace(self) -> Path:
        return self.program.workspace

    async def goes_on(self, job: str, *words: str) -> Ran:
        return await self.program.run("run", "lead", *words, "--continue-job", job, *PASSED)

    async def is_shown(self, consensus_id: str) -> None:
        """Wait until a request is where people decide."""
        with anyio.fail_after(BOUND_S):
            while (await self.program.run("consensus", "show", consensus_id)).code != 0:
                pass

    async def decides(self, running: Running, verdict: str, number: int = 1, *words: str) -> str:
        """Decide about the request number `number` as a person does, with another process."""
        event = await running.until("requestApproval", number)
        await self.is_shown(event["consensusId"])
        ran = await self.program.run("consensus", verdict, event["consensusId"], *words)
        assert ran.code == 0, ran.stderr
        return event["consensusId"]


@asynccontextmanager
async def project(
    folder: Path, claude: Path, *replies: Answer, more: str = ""
) -> AsyncGenerator[Project]:
    async with model_server(decide=by_turns(replies)) as server:
        yield Project(claude_project(folder, claude, server.url, more=more), server)


def write(folder: Path, name: str = "note.txt", *, id_: str = "toolu_write") -> Call:
    return Call("Write", {"file_path": str(folder / name), "content": "hello"}, id_)


def bash(command: str, *, id_: str = "toolu_bash") -> Call:
    return Call("Bash", {"command": command}, id_)


def results(ran: Ran) -> dict[str, Json]:
    return {event["result"]["id"]: event["result"] for event in ran.all("toolReturned")}


def said_text(body: Json) -> str:
    return json.dumps(body["messages"])


def of_claude() -> list[psutil.Process]:
    """The programs that run now; the wire of each test is its own, so none is another test's."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if "--include-partial-messages" in (process.info["cmdline"] or [])
    ]


def works_at(workspace: Path) -> bool:
    return any(_is_at(process, workspace) for process in of_claude())


def _is_at(process: psutil.Process, workspace: Path) -> bool:
    try:
        return Path(process.cwd()) == workspace
    except psutil.Error:
        return False


# ---------------------------------------------------------------- a job


async def test_row_008_an_expert_completes_in_claude_code(tmp_path: Path, claude: Path) -> None:
    async with project(tmp_path, claude, Reply(["Hello."])) as it:
        ran = await it.program.run("run", "lead", "Say hello.", "--runtime", "claude-code", *PASSED)
    assert ran.code == 0, ran.stderr
    assert is_subsequence(["startRun", "completeRun"], ran.types())
    assert ran.one("initializeRuntime")["runtime"] == "claude-code"


async def test_nothing_that_a_strangers_folder_sets_up_is_started(
    tmp_path: Path, claude: Path
) -> None:
    def runs(name: str) -> Json:
        return {"type": "command", "command": f"touch {tmp_path / name}"}

    def hooks(name: str) -> Json:
        events = ("SessionStart", "UserPromptSubmit", "PreToolUse", "Stop")
        return {event: [{"hooks": [runs(name)]}] for event in events}

    async with project(tmp_path / "work", claude, Reply([""], calls=[bash("true")])) as it:
        own = it.workspace / ".claude"
        own.mkdir()
        helper = {"apiKeyHelper": runs("ran-helper")["command"], "enableAllProjectMcpServers": True}
        (own / "settings.json").write_text(json.dumps({**helper, "hooks": hooks("ran-hook")}))
        (own / "settings.local.json").write_text(json.dumps({"hooks": hooks("ran-local")}))
        server = {"command": "touch", "args": [str(tmp_path / "ran-server")]}
        (it.workspace / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": server}}))
        ran = await it.program.run(*RUN, "--max-steps", "1")
        assert any(event["dropped"] for event in ran.all("startProgram"))
        assert asked(it.server.requests)
    assert list(tmp_path.glob("ran-*")) == []


async def test_a_file_that_a_request_names_is_not_told_without_asking(
    tmp_path: Path, claude: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the canary")
    async with project(tmp_path / "work", claude, Reply(["No."])) as it:
        query = f"Look at @{secret} and @../secret.txt please."
        ran = await it.program.run("run", "lead", query, *PASSED)
        told = [said_text(seen.body) for seen in asked(it.server.requests)]
    assert ran.code == 0, ran.stderr
    assert str(secret) in told[0]
    assert not any("the canary" in text for text in told)


async def test_an_expert_runs_in_claude_code_and_its_steps_usage_and_cost_are_recorded(
    tmp_path: Path, claude: Path
) -> None:
    replies = (
        Reply(
            ["I look."],
            thinking=["Hm."],
            calls=[bash("echo seen")],
            cached_tokens=7,
            cache_written_tokens=3,
        ),
        Reply(["All done."]),
    )
    async with project(tmp_path, claude, *replies) as it:
        ran = await it.program.run(*RUN)
    assert ran.code == 0, ran.stderr
    wanted = ["startRun", "startProgram", "beginSession", "callTools", "toolReturned"]
    assert is_subsequence([*wanted, "continueToNextStep", "completeRun"], ran.types())
    called = ran.one("callTools")
    assert called["stepNumber"] == 1
    assert [part["type"] for part in called["newMessage"]["contents"]] == [
        "thinkingPart",
        "textPart",
        "toolCallPart",
    ]
    assert results(ran)["toolu_bash"]["result"][0]["text"] == "seen"
    usage = ran.one("completeRun")["checkpoint"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (210, 40)
    assert (usage["cachedInputTokens"], usage["cacheWriteTokens"]) == (7, 3)
    assert ran.one("completeRun")["checkpoint"]["costUsd"] == pytest.approx(0.00202225)
    assert ran.one("completeRun")["text"] == "All done."
    system = json.dumps(asked(it.server.requests)[0].body["system"])
    assert "You are lead." in system


async def test_its_users_key_is_passed_only_when_asked_for(tmp_path: Path, claude: Path) -> None:
    async with project(tmp_path, claude, Reply(["Never said."])) as it:
        ran = await it.program.run("run", "lead", "hi", "--env", "ANTHROPIC_BASE_URL")
        assert ran.code == 1
        assert "Not logged in" in ran.stderr
        assert "sign in" in ran.stderr
        assert asked(it.server.requests) == []
        assert not any(ANTHROPIC_KEY in str(seen.headers) for seen in it.server.requests)


# ---------------------------------------------------------------- permissions


async def test_people_decide_what_it_may_do_from_another_process(
    tmp_path: Path, claude: Path
) -> None:
    calls = [write(tmp_path), bash("touch forbidden.txt")]
    replies = (Reply(calls=calls), Reply(["Done."]))
    async with project(tmp_path, claude, *replies) as it, it.program.running(*RUN) as running:
        await it.decides(running, "approve")
        await it.decides(running, "reject", 2, "--feedback", "Not that file.")
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert (tmp_path / "note.txt").read_text() == "hello"
    assert not (tmp_path / "forbidden.txt").exists()
    refused = results(ran)["toolu_bash"]
    assert refused["isError"] is True
    assert "Not that file." in refused["result"][0]["text"]
    assert "Not that file." in said_text(asked(it.server.requests)[-1].body)
    assert ran.types("callTools", "requestApproval", "completeRun") == [
        "callTools",
        "requestApproval",
        "requestApproval",
        "completeRun",
    ]


async def test_with_edits_it_writes_unasked_and_asks_for_the_rest(
    tmp_path: Path, claude: Path
) -> None:
    calls = [write(tmp_path), bash("curl http://127.0.0.1:9/")]
    more = 'permissions = "edits"'
    replies = (Reply(calls=calls), Reply(["Done."]))
    async with (
        project(tmp_path, claude, *replies, more=more) as it,
        it.program.running(*RUN) as running,
    ):
        await it.decides(running, "reject")
        ran = await running.ended()
    assert ran.code == 0, ran.stderr
    assert (tmp_path / "note.txt").read_text() == "hello"
    (request,) = ran.all("requestApproval")
    assert list(request["subtasks"].values()) == ["toolu_bash"]


async def test_with_all_it_asks_nobody_and_the_superuser_is_told_why_not(
    tmp_path: Path, claude: Path
) -> None:
    more = 'permissions = "all"\nenv = ["IS_SANDBOX"]'
    replies = (Reply(calls=[bash("touch done.txt")]), Reply(["Done."]))
    async with project(tmp_path, claude, *replies, more=more) as it:
        ran = await it.program.run(*RUN, env={"IS_SANDBOX": "1"})
        assert ran.code == 0, ran.stderr
        assert (tmp_path / "done.txt").exists()
        assert ran.all("requestApproval") == []
        if os.geteuid() == 0:
            refused = await it.program.run(*RUN)
            assert refused.code == 1
            assert 'permissions = "all"' in refused.stderr
            assert "IS_SANDBOX" in refused.stderr


async def test_what_a_subagent_wants_is_left_to_the_main_agent(
    tmp_path: Path, claude: Path
) -> None:
    task = {"description": "d", "prompt": "the inner task", "subagent_type": "general-purpose"}
    main = by_turns([Reply(calls=[Call("Agent", task, "toolu_task")]), Reply(["Done."])])
    inner = by_turns([Reply(calls=[bash("touch inner.txt", id_="toolu_in")]), Reply(["Sub done."])])

    def decide(seen: Seen) -> Answer:
        is_inner = "the inner task" in json.dumps(seen.body.get("messages", [""])[0])
        return inner(seen) if is_inner else main(seen)

    async with project(tmp_path, claude) as it:
        it.server.decide = decide
        ran = await it.program.run(*RUN)
    assert ran.code == 0, ran.stderr
    assert not (tmp_path / "inner.txt").exists()
    assert ran.all("requestApproval") == []
    assert list(results(ran)) == ["toolu_task"]
    assert any("main agent" in said_text(seen.body) for seen in asked(it.server.requests))
    usage = ran.one("completeRun")["checkpoint"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (400, 80)


# ---------------------------------------------------------------- stopping and going on


async def test_killed_in_the_middle_it_goes_on_in_the_same_job_and_session(
    tmp_path: Path, claude: Path
) -> None:
    replies = (
        Reply(calls=[bash("echo first")]),
        Reply(calls=[write(tmp_path)]),
        Reply(["Done."]),
    )
    more = 'permissions = "ask"'
    async with project(tmp_path, claude, *replies, more=more) as it:
        async with it.program.running(*RUN) as running:
            waiting = await running.until("requestApproval")
            await it.is_shown(waiting["consensusId"])
            begun = await running.until("beginSession")
            running.send(signal.SIGKILL)
            killed = await running.ended()
        await until(lambda: not works_at(tmp_path))
        gate = killed.one("requestApproval")["consensusId"]
        assert (await it.program.run("consensus", "approve", gate)).code == 0
        it.server.decide = by_turns([Reply(["Done after all."])])
        before = len(asked(it.server.requests))
        ran = await it.goes_on(killed.job_id)
    assert ran.code == 0, ran.stderr
    assert ran.job_id == killed.job_id
    assert ran.one("startProgram")["continued"] == begun["sessionId"]
    told = said_text(asked(it.server.requests)[before].body)
    assert "echo first" in told
    assert "not done yet" in told
    assert ran.one("completeRun")["text"] == "Done after all."
    assert ran.one("completeRun")["checkpoint"]["metadata"]["sessionId"] == begun["sessionId"]


async def test_a_question_stops_the_run_and_its_answer_reaches_the_same_session(
    tmp_path: Path, claude: Path
) -> None:
    question = Call("mcp__perstack__askUser", {"question": "Which colour?"}, "toolu_ask")
    async with project(tmp_path, claude, Reply(["Hm."], calls=[question])) as it:
        stopped = await it.program.run(*RUN)
        assert stopped.one("stopRunByInteractiveTool")
        await until(lambda: not works_at(tmp_path))
        it.server.decide = by_turns([Reply(["Blue it is."])])
        ran = await it.goes_on(stopped.job_id, "Blue", "-i")
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "Blue it is."
    session = stopped.one("beginSession")["sessionId"]
    assert ran.one("startProgram")["continued"] == session
    told = said_text(asked(it.server.requests)[-1].body)
    assert "Blue" in told
    assert "Write the note." in told


async def test_it_stops_at_the_limit_of_steps(tmp_path: Path, claude: Path) -> None:
    async with project(tmp_path, claude, Reply(calls=[bash("echo again")])) as it:
        ran = await it.program.run(*RUN, "--max-steps", "2")
        await until(lambda: not works_at(tmp_path))
    assert ran.types("callTools", "stopRunByExceededMaxSteps") == [
        "callTools",
        "callTools",
        "stopRunByExceededMaxSteps",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
async def test_stopped_by_a_signal_nothing_of_it_is_left(
    tmp_path: Path, claude: Path, number: signal.Signals
) -> None:
    replies = (Reply(calls=[write(tmp_path)]), Reply(["Done."]))
    async with project(tmp_path, claude, *replies) as it:
        async with it.program.running(*RUN) as running:
            await running.until("requestApproval")
            assert works_at(tmp_path)
            running.send(number)
            ran = await running.ended()
        assert not works_at(tmp_path)
    assert ran.code == 128 + number
    assert not (tmp_path / "note.txt").exists()


async def test_a_lost_session_is_told_the_past_instead(tmp_path: Path, claude: Path) -> None:
    async with project(tmp_path, claude, Reply(["First words."])) as it:
        first = await it.program.run(*RUN)
        for record in (Path.home() / ".claude").rglob("*.jsonl"):
            record.unlink()
        it.server.decide = by_turns([Reply(["Second words."])])
        ran = await it.goes_on(first.job_id, "And now?")
    assert ran.code == 0, ran.stderr
    last = asked(it.server.requests)[-1].body
    assert "First words." in json.dumps(last["system"])
    assert "And now?" in said_text(last)
