"""What a save changed, field by field, and what it newly allows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.definition_diff import (
    DefinitionDiff,
    ExpertDiff,
    FieldChange,
    diff_definitions,
    diff_experts,
    diff_lines,
    expert_fields,
)
from perstack.config.definition_powers import expert_powers
from perstack.domain.expert import (
    BaseSkill,
    Expert,
    InteractiveSkill,
    InteractiveTool,
    McpHttpSkill,
    McpStdioSkill,
    MemorySkill,
    SkillSpec,
)
from perstack.domain.ids import ExpertKey
from tests.unit.config.reading import WRITER, read

SERVER = (
    '[experts.writer.skills.web]\ntype = "mcpStdioSkill"\ncommand = "npx"\npackageName = "web"\n'
)
REMOTE = (
    '[experts.writer.skills.api]\ntype = "mcpHttpSkill"\nendpoint = "https://a.example.com/mcp"\n'
)


def between(old: str, new: str) -> DefinitionDiff:
    return diff_definitions(read(old), read(new))


def only_expert(old: str, new: str) -> ExpertDiff:
    (found,) = between(old, new).experts
    return found


def only_field(old: str, new: str) -> FieldChange:
    (found,) = only_expert(old, new).fields
    return found


def test_instruction_is_told_by_its_lines() -> None:
    old = '[experts.writer]\ninstruction = """\nWrite.\nGroup by package.\nBe brief."""\n'
    new = old.replace("Group by package.", "Group by theme.\nNever name tickets.")
    change = only_field(old, new)
    assert (change.field, change.added, change.removed) == ("instruction", 2, 1)
    assert change.lines[1:] == (
        " Write.",
        "-Group by package.",
        "+Group by theme.",
        "+Never name tickets.",
        " Be brief.",
    )


def test_new_version_new_expert_and_one_that_is_gone_are_told_apart() -> None:
    old = WRITER + '[experts.gone]\nversion = "2.0.0"\ninstruction = "x"\n'
    new = WRITER.replace("[experts.writer]\n", '[experts.writer]\nversion = "1.3.0"\n')
    new += '[experts.reviewer]\ninstruction = "x"\n'
    assert [
        (one.key, one.change, one.before_version, one.after_version)
        for one in between(old, new).experts
    ] == [
        ("writer", "changed", "1.0.0", "1.3.0"),
        ("reviewer", "new", None, "1.0.0"),
        ("gone", "gone", "2.0.0", None),
    ]


def test_list_names_what_it_gained_and_lost() -> None:
    others = '[experts.b]\ninstruction = "x"\n[experts.c]\ninstruction = "x"\n'
    old = WRITER + 'delegates = ["b"]\n' + others
    change = only_field(old, old.replace('["b"]', '["c"]'))
    assert (change.before, change.after) == ("b", "c")
    assert (change.gained, change.lost) == (("c",), ("b",))
    assert change.powers == ("delegates to c",)


def base(keys: str) -> str:
    return f'{WRITER}[experts.writer.skills."@perstack/base"]\n{keys}\n'


@pytest.mark.parametrize(
    ("old", "new", "powers"),
    [
        (
            base('pick = ["readTextFile"]'),
            base('pick = ["readTextFile", "exec"]'),
            ("runs commands",),
        ),
        (base('pick = ["readTextFile", "exec"]'), base('pick = ["readTextFile"]'), ()),
        (base('omit = ["exec"]'), base(""), ("runs commands",)),
        (base('requireApproval = ["exec"]'), base(""), ("no longer asks before exec",)),
        (base(""), base('requireApproval = ["exec"]'), ()),
        (WRITER, WRITER + SERVER, ("starts a program",)),
        (WRITER + SERVER, WRITER, ()),
        (WRITER + SERVER, WRITER + SERVER.replace('"web"', '"net"'), ("starts another program",)),
        (WRITER + SERVER, WRITER + SERVER + 'sampling = "allow"\n', ("uses the model unasked",)),
        (
            WRITER + SERVER,
            WRITER + SERVER + 'requiredEnv = ["AWS_SECRET"]\n',
            ("is given AWS_SECRET",),
        ),
        (
            WRITER + SERVER + 'pick = ["a"]\n',
            WRITER + SERVER + 'pick = ["a", "b"]\n',
            ("offers b",),
        ),
        (WRITER + SERVER + 'pick = ["a"]\n', WRITER + SERVER, ("offers all its tools",)),
        (WRITER + SERVER, WRITER + SERVER + 'pick = ["a"]\n', ()),
        (WRITER, WRITER + REMOTE, ("reaches the network",)),
        (
            WRITER + REMOTE,
            WRITER + REMOTE.replace("a.example", "b.example"),
            ("reaches another address",),
        ),
        (
            WRITER + SERVER.replace("web]", "x]"),
            WRITER + REMOTE.replace("api]", "x]"),
            ("reaches the network",),
        ),
        (WRITER, WRITER + 'providerTools = ["webSearch"]\n', ("uses the provider's webSearch",)),
    ],
)
def test_powers_are_those_that_were_not_there(old: str, new: str, powers: tuple[str, ...]) -> None:
    assert only_expert(old, new).powers == powers


@pytest.mark.parametrize(
    ("old", "new", "power"),
    [
        ("maxSteps = 5", "maxSteps = 50", "limit raised"),
        ("maxSteps = 50", "maxSteps = 5", None),
        ("[budget]\nmaxCostUsd = 1.0", "", "no limit any more"),
        ("", "[budget]\nmaxCostUsd = 1.0", None),
        ("[consensus]\nenabled = true", "", "risky work no longer waits for a decision"),
        ('[exec]\nsandbox = "bubblewrap"', "", "commands are no longer shut in"),
        ('model = "a"', 'model = "b"', None),
        ("", '[notify]\ncommand = ["curl"]', "starts a program when something waits"),
        ("[driftDetection]\nenabled = true", "", "repetition is no longer noticed"),
        (
            '[consensus]\nreviewerStrategy = "human"',
            '[consensus]\nreviewerStrategy = "adversarial"',
            "Experts review what people decided",
        ),
        (
            '[consensus]\nreviewerStrategy = "adversarial"',
            '[consensus]\nreviewerStrategy = "human"',
            None,
        ),
        ("", "[consensus]\nmaxDepth = 9", "what is delegated that deep no longer waits"),
        ("", "[consensus]\nmaxDepth = 2", None),
        ('[snapshots]\nexclude = ["*.pem"]', "", "now stored in snapshots: *.pem"),
        ("", '[snapshots]\nexclude = ["*.pem"]', None),
        (
            "",
            "[snapshots]\nenabled = false",
            "files are no longer stored, so nothing can be restored",
        ),
        ("[snapshots]\nenabled = false", "", None),
        (
            'model = "m"',
            'model = "m"\n[provider]\nproviderName = "openai"',
            "conversations go to another provider",
        ),
    ],
)
def test_raised_limits_and_fallen_safeguards_are_powers(
    old: str, new: str, power: str | None
) -> None:
    (change,) = between(old, new).settings
    assert change.powers == (() if power is None else (power,))


def test_new_expert_says_all_that_it_may_do() -> None:
    powers = only_expert("", WRITER + SERVER).powers
    assert "runs commands" in powers
    assert "starts a program" in powers


def test_secrets_are_not_shown_though_they_changed() -> None:
    remote = WRITER + REMOTE + 'headers = { Authorization = "Bearer %s" }\n'
    diff = between(remote % "hunter2", remote % "hunter3")
    assert diff
    assert "hunter" not in repr(diff)
    hook = '[notify]\nwebhook = "https://hooks.example.com/%s"'
    diff = between(hook % "hunter2", hook % "hunter3")
    assert diff
    assert "hunter" not in repr(diff)
    skill = read(WRITER + REMOTE).experts[ExpertKey("writer")].skills["api"]
    assert isinstance(skill, McpHttpSkill)
    planted = skill.model_copy(update={"endpoint": "https://u:hunter2@a.example.com/?key=hunter3"})
    writer = read(WRITER).experts[ExpertKey("writer")]
    reached = writer.model_copy(update={"skills": {**writer.skills, "api": planted}})
    assert "hunter" not in repr(diff_experts(writer, reached))
    assert "hunter" not in repr(expert_fields(reached))


# --- properties -----------------------------------------------------------------------------------

_WORDS = st.text(max_size=12)
_NAMES = st.sampled_from(["a", "b", "c.d", "web", "ünï", "exec", "readTextFile"])
_LISTS = st.lists(_NAMES, max_size=4, unique=True).map(tuple)
_SKILLS: st.SearchStrategy[SkillSpec] = st.one_of(
    st.builds(BaseSkill, pick=_LISTS, omit=_LISTS, require_approval=_LISTS),
    st.builds(MemorySkill, pick=_LISTS, namespace=st.none() | _WORDS),
    st.builds(McpStdioSkill, command=_WORDS, args=_LISTS, pick=_LISTS, omit=_LISTS),
    st.builds(
        McpHttpSkill,
        endpoint=_WORDS,
        headers=st.dictionaries(_NAMES, _WORDS, max_size=2),
        allow_private=st.booleans(),
        bearer_token_env=st.none() | _NAMES,
    ),
    st.builds(
        InteractiveSkill,
        tools=st.dictionaries(
            _NAMES, st.just(InteractiveTool(input_schema={"type": "object"})), max_size=2
        ),
    ),
)
EXPERTS = st.builds(
    Expert,
    key=st.just(ExpertKey("writer")),
    name=st.just("writer"),
    version=st.sampled_from(["1.0.0", "1.1.0"]),
    description=st.none() | _WORDS,
    instruction=st.text(max_size=80, alphabet=st.sampled_from("ab\n\r\u2028\t ")),
    skills=st.dictionaries(_NAMES, _SKILLS, max_size=3),
    delegates=_LISTS.map(lambda names: tuple(ExpertKey(name) for name in names)),
    provider_tools=_LISTS,
)


@given(EXPERTS, EXPERTS)
def test_nothing_differs_exactly_when_nothing_is_told(old: Expert, new: Expert) -> None:
    assert diff_experts(old, old) == ()
    same = old.model_copy(update={"description": old.description or None}) == new.model_copy(
        update={"description": new.description or None}
    )
    assert bool(diff_experts(old, new)) is not same


@given(EXPERTS, EXPERTS)
def test_every_power_stands_at_a_field_that_changed(old: Expert, new: Expert) -> None:
    told = [power for field in diff_experts(old, new) for power in field.powers]
    assert sorted(told) == sorted(
        power for powers in expert_powers(old, new).values() for power in powers
    )


@given(EXPERTS, EXPERTS)
def test_the_way_back_swaps_before_and_after(old: Expert, new: Expert) -> None:
    def plain(change: FieldChange) -> FieldChange:
        return replace(change, powers=(), lines=())

    there = {plain(change) for change in diff_experts(old, new)}
    back = {
        replace(
            plain(change),
            before=change.after,
            after=change.before,
            gained=change.lost,
            lost=change.gained,
            added=change.removed,
            removed=change.added,
        )
        for change in diff_experts(new, old)
    }
    hidden = "(another, hidden)"
    assert {one for one in there if hidden not in (one.before, one.after)} == {
        one for one in back if hidden not in (one.before, one.after)
    }


_TEXTS = st.lists(st.sampled_from(["a", "b", "", "- x", "+ y", "@@"]), max_size=30).map("\n".join)


@given(_TEXTS, _TEXTS)
def test_lines_lead_from_the_old_text_to_the_new(old: str, new: str) -> None:
    assert applied(old.split("\n"), diff_lines(old, new)) == new.split("\n")


def applied(old: list[str], lines: tuple[str, ...]) -> list[str]:
    """Apply a unified diff as `patch` does: the head says where, marks say what."""
    made: list[str] = []
    at, left = 0, 0
    for text in lines:
        if left == 0:
            start, _, count = text.split()[1].removeprefix("-").partition(",")
            begin = int(start) - (1 if count != "0" else 0)
            made += old[at:begin]
            at = begin
            left = sum(int(part.partition(",")[2] or 1) for part in text.split()[1:3])
            continue
        left -= 2 if text[0] == " " else 1
        if text[0] != "+":
            assert old[at] == text[1:]
            at += 1
        if text[0] != "-":
            made.append(text[1:])
    return made + old[at:]
