"""AgentStack's CLI providers: `--provider codex` has codex execute the agent's work.

The program is a stand-in that replays what the real one printed (`tests.fakes.codex_replay`); the
real one is in `test_runtime_codex.py`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.fakes import codex_replay
from tests.fakes.cli import Json, Program, is_subsequence
from tests.fakes.rest_door import rest

pytestmark = pytest.mark.anyio

NO_KEYS: Final = {"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": ""}
TOML: Final = """
model = "claude-haiku-5-5"
[provider]
providerName = "anthropic"
[runtimes.codex]
command = [{command}]
[experts."lead"]
instruction = "You are lead."
"""


def toml() -> str:
    command = ", ".join(json.dumps(word) for word in (sys.executable, codex_replay.__file__))
    return TOML.format(command=command)


def project(folder: Path) -> Program:
    """Make a project whose models are another vendor's, and that has no key for any."""
    return Program.make(folder, toml(), env=NO_KEYS)


def calls_of(folder: Path) -> list[Json]:
    lines = (folder / "codex-calls.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def test_an_agent_s_work_is_done_by_the_program_that_is_named_as_its_provider(
    tmp_path: Path,
) -> None:
    program = project(tmp_path)
    words = ("agent", "run", "-t", "lead", "-p", "Look.", "-n", "ann", "--json")
    ran = await program.run(*words, "--provider", "codex")
    assert ran.code == 0, ran.stderr
    assert json.loads(ran.stdout)["response"] == "All done."
    (call,) = calls_of(tmp_path)
    assert call["prompt"] == "Look."
    # The file's model is of another vendor, and no other was named.
    assert "-m" not in call["argv"]


async def test_an_agent_goes_on_in_the_session_of_the_program(tmp_path: Path) -> None:
    program = project(tmp_path)
    first = await program.run(
        *("agent", "run", "-t", "lead", "-p", "Look.", "-n", "ann", "--provider", "codex")
    )
    assert first.code == 0, first.stderr
    more = ("agent", "exec", "-n", "ann", "-p", "And more?", "--provider", "codex")
    ran = await program.run(*more, "--model", "gpt-5")
    assert ran.code == 0, ran.stderr
    argv = calls_of(tmp_path)[-1]["argv"]
    assert codex_replay.SESSION in argv
    assert argv[argv.index("-m") + 1] == "gpt-5"


async def test_run_takes_the_same_words_and_records_the_steps(tmp_path: Path) -> None:
    ran = await project(tmp_path).run("run", "lead", "Look.", "--provider", "codex")
    assert ran.code == 0, ran.stderr
    wanted = ["startRun", "startProgram", "callTools", "toolReturned", "completeRun"]
    assert is_subsequence(wanted, ran.types())
    assert ran.one("startProgram")["runtime"] == "codex"
    usage = ran.one("completeRun")["checkpoint"]["usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (200, 40)


async def test_the_files_model_of_another_vendor_is_neither_shown_nor_priced_as_its_own(
    tmp_path: Path,
) -> None:
    ran = await project(tmp_path).run("run", "lead", "Look.", "--runtime", "codex")
    assert ran.code == 0, ran.stderr
    assert ran.one("initializeRuntime")["model"] == "codex:default"
    assert "model" not in ran.one("beginSession")
    # What it asked is not known, so nobody can say what that costs.
    assert "claude-haiku-5-5 (it asks those of OpenAI)" in str(ran.one("startProgram")["dropped"])
    assert set(re.findall(r'"costUsd":([^,}]+)', ran.stdout)) == {"null", "0.0"}
    log = await project(tmp_path).run("log", "--job", ran.job_id)
    assert "$" not in log.stdout


async def test_a_model_that_is_typed_for_it_is_told_as_it_stands(tmp_path: Path) -> None:
    words = ("run", "lead", "Look.", "--runtime", "codex", "--model", "our-own-one")
    ran = await project(tmp_path).run(*words)
    assert ran.code == 0, ran.stderr
    (call,) = calls_of(tmp_path)
    assert call["argv"][call["argv"].index("-m") + 1] == "our-own-one"


async def test_a_program_and_another_runtime_exclude_each_other(tmp_path: Path) -> None:
    words = ("run", "lead", "Look.", "--provider", "codex", "--runtime", "gemini")
    ran = await project(tmp_path).run(*words)
    assert ran.code == 1
    assert "exclude each other" in ran.stderr


async def test_over_http_an_agent_s_provider_may_be_a_program(tmp_path: Path) -> None:
    async with rest(tmp_path, toml()) as client:
        made = await client.post("/api/v1/agents", json={"type": "lead"})
        at = f"/api/v1/agents/{made.json()['data']['agent']['id']}/execute"
        done = (await client.post(at, json={"task": "Look.", "provider": "codex"})).json()["data"]
        assert (done["response"], done["model"]) == ("All done.", "codex:default")
        more = {"task": "And more?", "provider": "codex", "model": "gpt-5"}
        assert (await client.post(at, json=more)).json()["data"]["model"] == "gpt-5"
        other = await client.post(at, json={"task": "Look.", "provider": "openai"})
        assert other.status_code == 400
    first, second = calls_of(tmp_path)
    assert "-m" not in first["argv"]
    assert second["argv"][second["argv"].index("-m") + 1] == "gpt-5"
    assert codex_replay.SESSION in second["argv"]


async def test_over_http_another_model_is_the_program_s_where_it_is_the_project_s_runtime(
    tmp_path: Path,
) -> None:
    own = 'runtime = "codex"\n' + toml().replace('"anthropic"', '"openai"')
    async with rest(tmp_path, own) as client:
        made = await client.post("/api/v1/agents", json={"type": "lead"})
        at = f"/api/v1/agents/{made.json()['data']['agent']['id']}/execute"
        done = await client.post(at, json={"task": "Look.", "model": "gpt-5"})
        assert done.json()["data"]["model"] == "gpt-5"
    (call,) = calls_of(tmp_path)
    assert call["argv"][call["argv"].index("-m") + 1] == "gpt-5"
