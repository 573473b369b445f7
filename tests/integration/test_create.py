"""`perstack create` as a whole: real jobs, real trials, real files; the model is scripted."""

from __future__ import annotations

import json
import signal
import stat
import sys
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from perstack.cli.app import app
from perstack.cli.create_app import app as create_app
from perstack.config.load import load_config
from perstack.errors import PerstackError
from tests.fakes.cli import SCRIPTED, Program, calls, finishes
from tests.fakes.creating import (
    CREATOR,
    SCENARIO,
    create_words,
    creates,
    creating_program,
    plays,
    script,
    team,
)
from tests.fakes.creating import calls as turn
from tests.fakes.model_server import Answer, Seen, model_server
from tests.fakes.model_wire import Call

pytestmark = pytest.mark.anyio
KEY = "sk-ant-canary-0123456789abcdef"
OWN = "# mine, keep this\n" + SCRIPTED + '\n[experts.helper]   # helps\ninstruction = "Help."\n'
GAME = {"expert": "game", "query": "Play"}


def one_trial(toml: str, expert: str = "game") -> str:
    return script(("draftTeam", {"toml": toml}), ("tryExpert", {"expert": expert, "query": "Play"}))


def creation(program: Program) -> Path:
    (folder,) = (program.workspace / "perstack" / "creating").iterdir()
    return folder


def results(program: Program, folder: Path) -> list[str]:
    """What the creating Expert was told by its tools, in order."""
    (events,) = (program.workspace / "perstack" / "jobs" / folder.name / "runs").glob(
        "*/events.jsonl"
    )
    found: list[str] = []
    for line in events.read_text().splitlines():
        record = json.loads(line)
        if record["type"] == "toolReturned":
            found.append(json.dumps(record, ensure_ascii=False))
    return found


async def test_in_an_empty_folder_a_team_is_drafted_mended_tried_improved_and_written(
    tmp_path: Path,
) -> None:
    program = creating_program(tmp_path / "w", scenario=creates("game"))
    ran = await program.run(*create_words("game", "play a game"))
    assert ran.code == 0, ran.stderr
    config = load_config(program.workspace / "perstack.toml")
    assert config.experts["game"].instruction == "Play, and say who wins."  # pyright: ignore[reportArgumentType]
    assert "One Expert, which won both trials." in ran.stdout
    assert "perstack start game" in ran.stdout
    assert "perstack config check" in (program.workspace / "AGENTS.md").read_text()
    told = results(program, creation(program))
    assert "model (line 1)" in told[0]
    assert "Ended: completed after 2 steps" in told[2]
    assert "board.txt (2 bytes)" in told[2]
    assert "rules.txt" in told[2]
    assert "writeTextFile" in told[3]
    assert "board.txt" in told[6], "a step, uncut"
    listed = await program.run("jobs", "--json")
    assert CREATOR in listed.stdout, "an ordinary job of the workspace"
    trial = await program.run("log", "--workspace", str(creation(program) / "1"))
    assert "Result: O wins" in trial.stdout, "a real job with its own history"


@pytest.mark.long
async def test_what_was_created_runs(tmp_path: Path) -> None:
    program = creating_program(tmp_path / "w", scenario=creates("game"))
    assert (await program.run(*create_words("game", "play a game"))).code == 0
    ran = await program.run("run", "game", "Play", "--scenario", SCENARIO)
    assert ran.code == 0, ran.stderr
    assert ran.one("completeRun")["text"] == "O wins"


async def test_what_is_there_keeps_its_comments_and_is_never_replaced(tmp_path: Path) -> None:
    toml = team("game", more='delegates = ["helper"]\n')
    scenario = plays("game") + one_trial(toml)
    program = Program.make(tmp_path / "w", OWN, scenario=scenario)
    ran = await program.run("create", "game", "play", "--yes")
    assert ran.code == 0, ran.stderr
    text = (program.workspace / "perstack.toml").read_text()
    assert text.startswith(OWN)
    assert "+[experts.game]" in ran.stderr or '+[experts."game"]' in ran.stderr, "the difference"
    assert not (program.workspace / "AGENTS.md").exists(), "the project was there"


async def test_a_draft_that_would_replace_another_expert_is_not_written(tmp_path: Path) -> None:
    scenario = script(("draftTeam", {"toml": team("game") + team("helper")}))
    program = Program.make(tmp_path / "w", OWN, scenario=scenario)
    ran = await program.run("create", "game", "play", "--yes")
    assert ran.code == 1
    assert "without a draft that can be used, so no Expert was written" in ran.stderr
    assert "Hint: perstack log shows why" in ran.stderr
    assert (program.workspace / "perstack.toml").read_text() == OWN


async def test_an_expert_that_is_there_is_improved_from_its_definition(tmp_path: Path) -> None:
    there = OWN + team("game", instruction="Play badly.")
    better = team("game", instruction="Play well.")
    program = Program.make(tmp_path / "w", there, scenario=plays("game") + one_trial(better))
    ran = await program.run("create", "game", "it loses", "--yes")
    assert ran.code == 0, ran.stderr
    assert '-instruction = "Play badly."' in ran.stderr
    assert '+instruction = "Play well."' in ran.stderr
    log = await program.run("log", "--messages", "--verbose", "--job", creation(program).name)
    assert "Improve the Expert `game`" in log.stdout
    assert "Play badly." in log.stdout


async def test_a_draft_that_starts_a_command_is_not_tried_unasked(tmp_path: Path) -> None:
    server = '[experts.game.skills.evil]\ntype = "mcpStdioSkill"\ncommand = "touch"\n'
    server += f'args = ["{tmp_path}/started"]\n'
    program = creating_program(
        tmp_path / "w", scenario=plays("game") + one_trial(team("game") + server)
    )
    ran = await program.run(*create_words("game", "play"))
    assert "start touch" in ran.stderr
    assert "nobody can be asked; --try-all allows it" in ran.stderr
    (told,) = [one for one in results(program, creation(program)) if "does not allow" in one]
    assert "touch" in told
    assert not (tmp_path / "started").exists()
    assert "Note: this draft was not tried." in ran.stderr


async def test_with_try_all_it_is_tried_and_what_fails_is_told_to_the_expert(
    tmp_path: Path,
) -> None:
    server = '[experts.game.skills.evil]\ntype = "mcpStdioSkill"\ncommand = "touch"\n'
    server += f'args = ["{tmp_path}/started"]\n'
    program = creating_program(
        tmp_path / "w", scenario=plays("game") + one_trial(team("game") + server)
    )
    ran = await program.run(*create_words("game", "play", "--try-all"))
    assert (tmp_path / "started").exists()
    assert "Ended: failed" in results(program, creation(program))[1]
    assert "Allowed by --try-all." in ran.stderr


@pytest.mark.long
async def test_a_team_that_delegates_in_a_ring_ends_at_the_trials_own_limit(
    tmp_path: Path,
) -> None:
    toml = team("game", more='delegates = ["other"]\n') + team(
        "other", more='delegates = ["game"]\n'
    )
    ring = "".join(
        f'[[turns]]\nexpert = "{one}"\n'
        f'calls = [{{ tool = "{other}", args = {{ query = "on" }} }}]\n'
        for one, other in (("game", "other"), ("other", "game"))
    )
    program = creating_program(tmp_path / "w", scenario=ring + one_trial(toml))
    ran = await program.run(*create_words("game", "play"))
    assert ran.code == 0, ran.stderr
    assert any("Ended: " in one for one in results(program, creation(program)))
    assert "Ended: completed" not in results(program, creation(program))[1]


@pytest.mark.long
async def test_a_trial_that_asks_the_user_ends_and_says_so(tmp_path: Path) -> None:
    asks = (
        '[experts.game.skills.ask]\ntype = "interactiveSkill"\n'
        "[experts.game.skills.ask.tools.askUser]\n"
        'inputJsonSchema = \'{"type": "object"}\'\n'
    )
    scenario = turn("game", 1, "askUser") + one_trial(team("game") + asks)
    program = creating_program(tmp_path / "w", scenario=scenario)
    assert (await program.run(*create_words("game", "play"))).code == 0
    assert "nobody can reach in a trial" in results(program, creation(program))[1]


async def test_creating_and_its_trials_share_a_budget(tmp_path: Path) -> None:
    scenario = script(
        ("draftTeam", {"toml": team("game")}), ("tryExpert", GAME), *[("tryExpert", GAME)] * 2
    )
    scenario = scenario.replace(
        'expert = "create-expert"', 'usage = { input_tokens = 100 }\nexpert = "create-expert"'
    )
    played = plays("game").replace(
        'expert = "game"', 'usage = { input_tokens = 1000 }\nexpert = "game"'
    )
    program = creating_program(tmp_path / "w", scenario=played + scenario)
    words = create_words("game", "play", "--max-tokens", "2500")
    ran = await program.run(*words)
    assert ran.code == 6, ran.stderr
    assert "--max-tokens" in ran.stderr
    assert len(list(creation(program).glob("[0-9]"))) == 1
    assert "perstack create --continue-job" in ran.stderr
    assert "--max-tokens 6" in ran.stderr, "the command that goes on allows twice what was used"
    ran = await program.run("create", "--continue", "--yes", "--scenario", SCENARIO, *words[-2:])
    assert ran.code == 6, "what was used before counts"
    assert len(list(creation(program).glob("[0-9]"))) == 1


async def test_a_creation_that_reached_its_limit_goes_on_with_its_draft(tmp_path: Path) -> None:
    program = creating_program(tmp_path / "w", scenario=creates("game"))
    ran = await program.run(*create_words("game", "play", "--max-steps", "3"))
    assert ran.code == 6, ran.stderr
    assert "perstack create --continue-job" in ran.stderr
    assert "[experts.game]" not in (program.workspace / "perstack.toml").read_text()
    assert (creation(program) / "draft.toml").exists()
    ran = await program.run(
        "create", "--continue", "--yes", "--scenario", SCENARIO, "--max-steps", "20"
    )
    assert ran.code == 0, ran.stderr
    assert "game" in load_config(program.workspace / "perstack.toml").experts
    assert len(program.jobs()) == 1, "the same job went on"


@pytest.mark.long
async def test_a_creation_that_was_killed_in_a_trial_goes_on(tmp_path: Path) -> None:
    slow = (
        '[[turns]]\nexpert = "game"\nturn = 1\nlatency_ms = 100000\ntext = "Thinking."\n'
        'calls = [{ tool = "attemptCompletion" }]\n'
    )
    program = creating_program(tmp_path / "w", scenario=slow + one_trial(team("game")))
    async with program.running(*create_words("game", "play")) as running:
        await running.wait_for(lambda: b"[game]" in running.out)
        running.send(signal.SIGKILL)
        await running.ended()
    (program.workspace / SCENARIO).write_text(plays("game") + one_trial(team("game")))
    ran = await program.run("create", "--continue", "--yes", "--scenario", SCENARIO)
    assert ran.code == 0, ran.stderr
    assert "game" in load_config(program.workspace / "perstack.toml").experts
    assert (creation(program) / "2").exists(), "what was cut off counts as a trial"


async def test_ctrl_c_stops_at_a_checkpoint_and_says_how_to_go_on(tmp_path: Path) -> None:
    slow = '[[turns]]\nexpert = "create-expert"\ntext = "Thinking."\nlatency_ms = 100000\n'
    program = creating_program(tmp_path / "w", scenario=slow)
    async with program.running(*create_words("game", "play")) as running:
        await running.wait_for(lambda: b"Create the Expert" in running.out)
        running.send(signal.SIGINT)
        ran = await running.ended()
    assert ran.code == 130
    assert f"perstack create --continue-job {creation(program).name}" in ran.stderr
    assert "[experts" not in (program.workspace / "perstack.toml").read_text()


def refused(folder: Path, *words: str) -> PerstackError:
    """What the command is refused with in an empty folder, which it leaves empty."""
    error = CliRunner().invoke(app, ["create", *words, "--workspace", str(folder)]).exception
    assert isinstance(error, PerstackError), error
    assert list(folder.iterdir()) == []
    return error


def test_without_a_key_nothing_is_written_and_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "ANTHROPIC_API_KEY is not set" in refused(tmp_path, "game", "play", "--yes").message


def test_without_a_terminal_and_yes_nothing_is_done(tmp_path: Path) -> None:
    error = refused(tmp_path, "game", "play")
    assert "no terminal" in error.message
    assert "--yes" in str(error.hint)
    # Who goes on has named it already.
    assert refused(tmp_path, "--continue").hint == "say the same with --yes"


def test_with_yes_the_wish_has_to_be_said(tmp_path: Path) -> None:
    assert "what the Expert is to do" in refused(tmp_path, "game", "--yes").message
    assert "what the Expert is to do" in refused(tmp_path, "game", " ", "--yes").message


@pytest.mark.parametrize("name", ["Bad", "../x", "a b", "create-expert", "x" * 300, "é", "a@1.0.0"])
def test_a_name_that_no_expert_can_have_is_refused_first(tmp_path: Path, name: str) -> None:
    assert "use lower-case letters" in str(refused(tmp_path, name, "play", "--yes").hint)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--provider", "nobody"), "nobody"),
        (("--runtime", "nothing"), "nothing"),
        (("--model", "a\nb"), "model's name"),
        (("--provider", "scripted"), "has no scenario"),
        (("--provider", "scripted", "--scenario", "missing.toml"), "cannot be read"),
        (("--continue",), "nothing to go on with"),
        (("--continue-job", "../../x"), "nothing was created"),
        (("--config", "https://example.com/perstack.toml"), "cannot be written to"),
        (("--config", "missing.toml"), "not found"),
    ],
)
def test_what_cannot_be_done_as_typed_is_refused(
    tmp_path: Path, words: tuple[str, ...], why: str
) -> None:
    error = refused(tmp_path, "game", "play", "--yes", *words)
    assert why in error.message


@pytest.mark.parametrize(
    ("model", "more", "is_doubted"),
    [
        ("claude-sonet-5-5", "", True),
        ("claude-sonnet-5-5-20261001", "", False),
        ("mine", '[models."mine"]\ncontextWindow = 100_000\n', False),
        ("mine", '[provider.setting]\nbaseUrl = "http://127.0.0.1:9"\n', False),
    ],
)
def test_a_model_on_the_command_line_that_nobody_knows_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, more: str, is_doubted: bool
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "perstack.toml").write_text(more)
    words = ["create", "game", "play", "--yes", "--trust", "--model", model]
    ended = CliRunner().invoke(app, [*words, "--workspace", str(tmp_path)])
    assert isinstance(ended.exception, PerstackError)
    assert "ANTHROPIC_API_KEY is not set" in ended.exception.message, "it went on"
    assert ("is no model of anthropic that is known here" in ended.stderr) is is_doubted
    assert ("near it: claude-sonnet-5-5" in ended.stderr) is is_doubted


def test_no_name_is_tried_where_a_file_of_the_folder_is_a_link(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "w", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("theirs")
    (folder / "AGENTS.md").symlink_to(elsewhere)
    (folder / SCENARIO).write_text(plays("game"))
    words = create_words("game", "play", "--workspace", str(folder))
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, PerstackError)
    assert "is a link" in error.message
    assert elsewhere.read_text() == "theirs"
    assert {path.name for path in folder.iterdir()} == {"AGENTS.md", SCENARIO}


async def test_an_env_file_of_a_stranger_cannot_say_who_gets_the_key(tmp_path: Path) -> None:
    async with model_server(decide=lambda _: finishes("done")[1]) as server:
        program = creating_program(
            tmp_path / "w",
            scenario="",
            env={"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url},
        )
        evil = "OPENAI_BASE_URL=https://evil.example/v1\n"
        (program.workspace / ".env").write_text(evil)
        ran = await program.run("create", "game", "play", "--yes")
    assert ran.code == 1, "nothing was drafted"
    assert "OPENAI_BASE_URL" in ran.stderr
    again = await program.run("config", "check")
    assert "OPENAI_BASE_URL" in again.stdout + again.stderr, "it was not accepted on the way"


async def test_for_a_program_the_file_is_written_and_why_nothing_is_created_is_said(
    tmp_path: Path,
) -> None:
    program = creating_program(tmp_path / "w", scenario="")
    ran = await program.run("create", "game", "play", "--yes", "--runtime", "claude-code")
    assert ran.code == 1
    assert "cannot be given the tools" in ran.stderr
    config = load_config(program.workspace / "perstack.toml")
    assert config.settings.runtime.name == "claude-code"
    assert config.warnings == ()


async def test_a_project_for_a_program_is_created_in_by_the_built_in_runtime(
    tmp_path: Path,
) -> None:
    program = creating_program(tmp_path / "w", scenario=creates("game"))
    ran = await program.run(*create_words("game", "play", "--runtime", "claude-code"))
    assert ran.code == 0, ran.stderr
    config = load_config(program.workspace / "perstack.toml")
    assert config.settings.runtime.name == "claude-code"
    assert "game" in config.experts


async def test_over_the_wire_a_vendor_is_asked_and_the_key_is_nowhere(tmp_path: Path) -> None:
    def decide(seen: Seen) -> Answer:
        system = json.dumps(seen.body["system"])
        said = finishes("won") if "Play." in system else creator_says
        return said[min(seen.assistant_messages, len(said) - 1)]

    creator_says: list[Answer] = [
        calls(Call("draftTeam", {"toml": team("game")})),
        calls(Call("tryExpert", dict(GAME))),
        calls(Call("readLog", {})),
        *finishes("done"),
    ]
    async with model_server(decide=decide) as server:
        program = creating_program(
            tmp_path / "w",
            scenario="",
            env={"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url},
        )
        ran = await program.run("create", "game", "play", "--yes")
    assert ran.code == 0, ran.stderr
    tools = {tool["name"] for tool in server.requests[0].body["tools"]}
    assert {"draftTeam", "tryExpert", "readLog", "attemptCompletion"} <= tools
    assert not {"exec", "writeTextFile"} & tools
    assert KEY not in ran.stdout + ran.stderr
    for path in program.workspace.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_create_expert_takes_what_perstack_create_takes(tmp_path: Path) -> None:
    words = ["Not A Name", "play", "--yes", "--cwd", str(tmp_path)]
    error = CliRunner().invoke(create_app, words).exception
    assert isinstance(error, PerstackError)
    assert "not an Expert's name" in error.message


@pytest.mark.long
async def test_create_expert_is_the_same_program(tmp_path: Path) -> None:
    program = creating_program(tmp_path / "w", scenario=creates("game"))
    start = "from perstack.cli.main import main_create; main_create()"
    words = create_words("game", "play")[1:]
    ran = await program.run_words(sys.executable, "-c", start, *words)
    assert ran.code == 0, ran.stderr
    assert "game" in load_config(program.workspace / "perstack.toml").experts


async def test_in_a_git_repository_the_records_are_ignored(tmp_path: Path) -> None:
    program = creating_program(tmp_path / "w", scenario=creates("game"))
    await anyio.run_process(["git", "init", "-q"], cwd=program.workspace)
    assert (await program.run(*create_words("game", "play"))).code == 0
    assert (program.workspace / ".gitignore").read_text() == "perstack/\n.env\n"
    assert stat.S_IMODE((creation(program)).stat().st_mode) == 0o700
