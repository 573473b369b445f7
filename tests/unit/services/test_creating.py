"""The tools of `create-expert`: drafts are judged, tried within limits, and never self-approved."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.config.builtin import CORE_TYPES, builtin_experts
from perstack.config.creator import CREATOR, creator
from perstack.config.load import parse_config
from perstack.config.untrusted import Demand
from perstack.domain.expert import BASE_SKILL, BaseSkill
from perstack.domain.ids import ExpertKey
from perstack.domain.registry import Origin
from perstack.services.creating import (
    EXEC,
    Creating,
    CreatingParts,
    Progress,
    Trial,
    Tried,
    query_of,
    usable_draft,
)
from perstack.services.creating_draft import Ground, check_draft, has_exec
from tests.fakes.creating import team

pytestmark = pytest.mark.anyio
KEPT = '# mine\n[experts.helper]\ndescription = "Helps"\ninstruction = "Help."\n'
SERVER = '[experts.a.skills.fetch]\ntype = "mcpStdioSkill"\ncommand = "uvx"\npackageName = "f"\n'
WITH_EXEC = '[experts.a]\ndescription = "d"\ninstruction = "Do."\n'


def ground(text: str = "", name: str | None = None) -> Ground:
    path = Path("perstack.toml")
    return Ground(path, text, parse_config(path, text.encode()), (name and ExpertKey(name)) or None)


@dataclass
class Stage:
    """Trials that end as told, and a user who answers as told; both remember what came."""

    allows_it: bool = False
    asked: list[tuple[Demand, ...]] = field(default_factory=list[tuple[Demand, ...]])
    trials: list[Trial] = field(default_factory=list[Trial])
    kept: list[Progress] = field(default_factory=list[Progress])
    used_up: str | None = None
    at_once: int = 0
    most_at_once: int = 0

    async def allows(self, demands: tuple[Demand, ...]) -> bool:
        self.asked.append(demands)
        return self.allows_it

    async def run(self, trial: Trial) -> Tried:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.lowlevel.checkpoint()
        self.at_once -= 1
        self.trials.append(trial)
        return Tried("completed", "six", steps=2, tokens=1200, cost_usd=0.01)

    async def read_log(self, number: int, step: str | None) -> str:
        return f"trial {number}, steps {step} " + "x" * 100_000

    async def keep(self, progress: Progress) -> None:
        self.kept.append(progress)

    def creating(self, on: Ground | None = None, most: int = 3) -> Creating:
        name = None if on is None else on.name
        parts = CreatingParts(on or ground(), self, self, self.keep, lambda: self.used_up, most)
        return Creating(parts, Progress(name=name, wish="Add"))


async def call(creating: Creating, tool: str, **arguments: JsonValue) -> str:
    return await next(one for one in creating.tools if one.name == tool).call(arguments)


async def refused(creating: Creating, tool: str, **arguments: JsonValue) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        await call(creating, tool, **arguments)
    return str(caught.value)


def test_the_expert_behind_it_only_reads_and_is_no_agent_type() -> None:
    expert = creator()
    assert expert.key == CREATOR
    assert CREATOR not in CORE_TYPES
    assert CREATOR not in builtin_experts()
    base = expert.skills[BASE_SKILL]
    assert isinstance(base, BaseSkill)
    for tool in ("exec", "writeTextFile", "editTextFile", "deleteFile", "moveFile"):
        assert not base.offers(tool)
    for tool in ("draftTeam", "tryExpert", "readLog"):
        assert tool in expert.instruction


async def test_every_problem_of_a_draft_is_told_at_once_with_its_line_and_a_remedy() -> None:
    toml = 'model = "x"\n[experts.a]\nversion = "1"\nintsruction = "Do."\n'
    said = await refused(Stage().creating(), "draftTeam", toml=toml)
    assert "model (line 1): a draft holds [experts.NAME] tables alone; remove it" in said
    assert "experts.a.version (line 3): must be a version" in said
    assert "intsruction" in said
    assert "did you mean" in said


async def test_a_draft_that_is_no_toml_is_told_with_its_line() -> None:
    said = await refused(Stage().creating(), "draftTeam", toml="[experts.a]\ninstruction = no")
    assert "line 2" in said


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ("", "defines no Expert"),
        (team("create-expert"), "the program's own"),
        (team("Bad Name"), "is not an Expert's name"),
        (team("../x"), "is not an Expert's name"),
        (team("helper"), "is in perstack.toml already"),
        (team("a", more='delegates = ["nobody"]\n'), "neither in the draft nor in perstack.toml"),
        (team("a", more='delegates = ["@acme/x@1.0.0"]\n'), "neither in the draft"),
    ],
)
async def test_what_a_draft_may_not_say_is_refused(toml: str, why: str) -> None:
    stage = Stage()
    assert why in await refused(stage.creating(ground(KEPT)), "draftTeam", toml=toml)
    assert stage.kept == []


async def test_the_wanted_expert_has_to_be_in_the_draft() -> None:
    said = await refused(Stage().creating(ground(name="b")), "draftTeam", toml=team("a"))
    assert 'define [experts."b"]' in said


async def test_a_draft_may_delegate_to_what_is_there_and_what_is_built_in() -> None:
    creating = Stage().creating(ground(KEPT))
    await call(creating, "draftTeam", toml=team("a", more='delegates = ["helper", "researcher"]\n'))
    assert creating.draft is not None
    assert set(creating.draft.team_of(ExpertKey("a"))) >= {"a", "helper", "researcher"}
    assert creating.draft.text.startswith("# mine\n"), "comments stay"


async def test_an_improvement_may_replace_the_expert_and_its_delegates_and_no_other() -> None:
    there = KEPT + team("a", more='delegates = ["b"]\n') + team("b") + team("other")
    creating = Stage().creating(ground(there, "a"))
    better = team("a", instruction="Better.", more='delegates = ["b"]\n') + team("b")
    await call(creating, "draftTeam", toml=better)
    assert creating.draft is not None
    assert "Better." in creating.draft.text
    said = await refused(creating, "draftTeam", toml=better + team("other"))
    assert "other is in perstack.toml already" in said


async def test_an_expert_may_keep_its_delegate_of_the_registry_and_a_trial_of_it_asks() -> None:
    key, origin = (
        ExpertKey("@acme/x"),
        Origin(registry="r", key="x@1.0.0", integrity="i", owner="o"),
    )
    theirs = creator().model_copy(update={"key": key, "origin": origin})
    there = ground(team("a", more='delegates = ["@acme/x"]\n'), "a")
    stage = Stage()
    creating = stage.creating(replace(there, fetched={key: theirs}))
    await call(creating, "draftTeam", toml=there.text)
    said = await refused(creating, "tryExpert", expert="a", query="q")
    assert "run x@1.0.0 of o from r (i)" in said
    stage.allows_it = True
    creating = stage.creating(replace(there, fetched={key: theirs}))
    await call(creating, "draftTeam", toml=there.text)
    await call(creating, "tryExpert", expert="a", query="q")
    assert set(stage.trials[0].experts) == {"a", "@acme/x"}


async def test_what_leads_to_the_registry_elsewhere_is_not_tried() -> None:
    there = KEPT + 'delegates = ["@acme/x"]\n'
    creating = Stage(allows_it=True).creating(ground(there))
    await call(creating, "draftTeam", toml=team("a", more='delegates = ["helper"]\n'))
    said = await refused(creating, "tryExpert", expert="a", query="q")
    assert "helper delegates to @acme/x of the registry" in said


async def test_nothing_is_tried_without_a_draft_or_of_another_expert() -> None:
    creating = Stage().creating(ground(KEPT))
    assert "draftTeam" in await refused(creating, "tryExpert", expert="a", query="q")
    await call(creating, "draftTeam", toml=team("a"))
    assert "no Expert of the draft" in await refused(
        creating, "tryExpert", expert="helper", query="q"
    )


async def test_trials_are_counted_and_end_also_where_a_crash_cut_one_off() -> None:
    stage = Stage()
    creating = stage.creating(most=2)
    await call(creating, "draftTeam", toml=team("a"))
    said = await call(creating, "tryExpert", expert="a", query="q")
    assert "Ended: completed after 2 steps, 1,200 tokens, 0.0100 USD" in said
    assert "Trials left: 1" in said
    assert [kept.trials for kept in stage.kept] == [0, 1, 1], "counted before it runs"
    await call(creating, "tryExpert", expert="a", query="q")
    assert "All 2 trials are made" in await refused(creating, "tryExpert", expert="a", query="q")
    assert len(stage.trials) == 2


async def test_calls_of_one_response_wait_in_line() -> None:
    stage = Stage()
    creating = stage.creating()
    await call(creating, "draftTeam", toml=team("a"))
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(lambda: call(creating, "tryExpert", expert="a", query="q"))
    assert stage.most_at_once == 1
    assert [trial.number for trial in stage.trials] == [1, 2, 3]


async def test_a_budget_that_is_used_up_leaves_no_trial() -> None:
    stage = Stage(used_up="10 of 10 tokens are used (--max-tokens)")
    creating = stage.creating()
    await call(creating, "draftTeam", toml=team("a"))
    assert "--max-tokens" in await refused(creating, "tryExpert", expert="a", query="q")
    assert stage.trials == []


async def test_what_starts_a_command_is_tried_only_after_the_users_word() -> None:
    stage = Stage()
    creating = stage.creating()
    await call(creating, "draftTeam", toml=team("a") + SERVER)
    said = await refused(creating, "tryExpert", expert="a", query="q")
    assert "The user does not allow trials to:\n- start uvx f" in said
    assert stage.trials == []
    assert creating.progress.trials == 0, "what was not tried is not counted"
    await refused(creating, "tryExpert", expert="a", query="q")
    assert len(stage.asked) == 1, "nobody is asked the same twice"


async def test_what_was_allowed_is_not_asked_again_but_what_is_new_is() -> None:
    stage = Stage(allows_it=True)
    creating = stage.creating()
    await call(creating, "draftTeam", toml=team("a") + SERVER)
    await call(creating, "tryExpert", expert="a", query="q")
    await call(creating, "draftTeam", toml=team("a", instruction="Other.") + SERVER)
    await call(creating, "tryExpert", expert="a", query="q")
    assert [[one.text for one in asked] for asked in stage.asked] == [["start uvx f"]]
    await call(creating, "draftTeam", toml=team("a") + SERVER.replace('"f"', '"g"'))
    await call(creating, "tryExpert", expert="a", query="q")
    assert stage.asked[1][0].text == "start uvx g"


async def test_a_delegate_that_starts_a_command_is_asked_about_too() -> None:
    stage = Stage()
    creating = stage.creating()
    toml = team("b", more='delegates = ["a"]\n') + team("a") + SERVER
    await call(creating, "draftTeam", toml=toml)
    assert "start uvx f" in await refused(creating, "tryExpert", expert="b", query="q")


async def test_an_expert_of_the_file_starts_its_command_in_a_trial_only_after_a_word() -> None:
    stage = Stage()
    creating = stage.creating(ground(team("a") + SERVER))
    await call(creating, "draftTeam", toml=team("b", more='delegates = ["a"]\n'))
    assert "start uvx f" in await refused(creating, "tryExpert", expert="b", query="q")


async def test_without_the_users_word_nobody_has_exec_in_a_trial() -> None:
    stage = Stage()
    creating = stage.creating()
    await call(creating, "draftTeam", toml=WITH_EXEC)
    said = await call(creating, "tryExpert", expert="a", query="q")
    assert "nobody had `exec`" in said
    assert stage.asked == [(EXEC,)]
    assert not has_exec(stage.trials[0].experts)
    assert creating.draft is not None
    assert has_exec(creating.draft.config.experts), "the draft itself keeps it"


async def test_with_the_users_word_the_draft_is_tried_as_it_is() -> None:
    stage = Stage(allows_it=True)
    creating = stage.creating()
    await call(creating, "draftTeam", toml=WITH_EXEC)
    await call(creating, "tryExpert", expert="a", query="q")
    assert has_exec(stage.trials[0].experts)


@pytest.mark.parametrize(
    "name",
    [
        "\u00e9" * 200,
        "/etc/passwd",
        "../up",
        "a/../../up",
        "perstack/jobs",
        ".git/hooks/x",
        "",
        ".",
        "a\0b",
        "a\nb",
    ],
)
async def test_a_file_that_would_not_lie_in_the_trials_folder_is_refused(name: str) -> None:
    stage = Stage()
    creating = stage.creating()
    await call(creating, "draftTeam", toml=team("a"))
    said = await refused(creating, "tryExpert", expert="a", query="q", files={name: "x"})
    assert "cannot be given" in said
    assert stage.trials == []


async def test_a_file_where_another_needs_a_folder_is_refused() -> None:
    stage = Stage()
    creating = stage.creating()
    await call(creating, "draftTeam", toml=team("a"))
    files: dict[str, JsonValue] = {"a/b": "x", "./a": "y"}
    said = await refused(creating, "tryExpert", expert="a", query="q", files=files)
    assert "needs a folder" in said
    await call(creating, "tryExpert", expert="a", query="q", files={"a/b": "x", "a/c": "y"})


async def test_a_log_is_cut_and_says_so_and_there_is_none_before_a_trial() -> None:
    creating = Stage().creating()
    assert "nothing was tried" in await refused(creating, "readLog")
    await call(creating, "draftTeam", toml=team("a"))
    await call(creating, "tryExpert", expert="a", query="q")
    said = await call(creating, "readLog", step="1-2")
    assert said.startswith("trial 1, steps 1-2")
    assert len(said) < 25_000
    assert "choose steps" in said


async def test_a_creation_goes_on_with_its_draft_and_its_count() -> None:
    stage = Stage()
    parts = CreatingParts(ground(), stage, stage, stage.keep, lambda: None, 2)
    progress = Progress(name=None, wish="w", draft=team("a"), trials=1)
    creating = Creating(parts, progress, usable_draft(ground(), progress))
    said = await call(creating, "tryExpert", expert="a", query="q")
    assert "Trials left: 0" in said
    assert usable_draft(ground(), Progress(name=None, wish="w", draft="[")) is None
    assert usable_draft(ground(), Progress(name=None, wish="w")) is None


def test_the_query_names_what_is_there_and_gives_the_definition_of_what_is_improved() -> None:
    fresh = query_of(ground(KEPT, "a"), "Add numbers", "")
    assert "Create the Expert `a`" in fresh
    assert "- helper: Helps" in fresh
    better = query_of(ground(KEPT, "helper"), "Be brief", "[experts.helper]")
    assert "Improve the Expert `helper`" in better
    assert "[experts.helper]" in better
    assert "choose its name" in query_of(ground(), "Add", "")


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_a_draft_or_a_reason(toml: str) -> None:
    said, draft = "", None
    try:
        draft = check_draft(ground(KEPT), toml)
    except ValueError as error:
        said = str(error)
    assert said or (draft is not None and draft.drafted)
