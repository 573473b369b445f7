from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from perstack.config.delegates import foreign_keys
from perstack.domain.ids import ExpertKey
from tests.unit.config.reading import read, refused_lines, warned


def team(delegates: Mapping[str, Sequence[str]]) -> str:
    return "".join(
        f'[experts."{name}"]\ninstruction = "x"\ndelegates = {list(called)}\n'
        for name, called in delegates.items()
    )


@pytest.mark.parametrize(
    ("delegates", "problem"),
    [
        (
            {"lead": ["writ.r"], "writer": []},
            "delegate writ.r of lead not found; did you mean writer?",
        ),
        (
            {"lead": ["writ.er@1.0.0"], "writer": []},
            "delegate writ.er@1.0.0 of lead not found; did you mean writer?",
        ),
        (
            {"lead": ["q.q"], "a": []},
            (
                "delegate q.q of lead not found; this file defines: a, lead; "
                "built in: coder, researcher, tester, reviewer, adversarial, architect, "
                "coordinator, analyst, devops, documentation, security-auditor"
            ),
        ),
        ({"lead": ["cod.r"]}, "delegate cod.r of lead not found; did you mean coder?"),
        ({"lead": ["lead"]}, "delegate lead of lead is itself; remove it"),
        ({"lead": ["a", "a"], "a": []}, "delegate a of lead is listed twice; remove one"),
        (
            {"lead": ["@x/a", "@y/a"], "@x/a": [], "@y/a": []},
            (
                "delegates @x/a and @y/a of lead would both be the tool a; rename one of the two "
                "Experts"
            ),
        ),
        (
            {"lead": ["b" * 65], "b" * 65: []},
            (
                f"delegate {'b' * 65} of lead has too long a name for a tool; rename the Expert: "
                "at most 64 characters"
            ),
        ),
    ],
)
def test_a_delegate_that_cannot_be_called_is_refused(
    delegates: dict[str, list[str]], problem: str
) -> None:
    assert refused_lines(team(delegates)) == [f"experts.lead.delegates (line 3): {problem}"]


@pytest.mark.parametrize("key", ["qqq", "@acme/qqq", "qqq@1.2.3", "@acme/qqq@stable"])
def test_a_delegate_that_a_registry_may_have_is_left_to_it(key: str) -> None:
    config = read(team({"lead": [key], "a": []}))
    assert config.warnings == ()
    lead = config.experts[ExpertKey("lead")]
    assert foreign_keys(lead, config.experts) == (key,)


def test_neither_an_expert_of_the_file_nor_a_built_in_one_is_left_to_a_registry() -> None:
    config = read(team({"lead": ["a", "coder"], "a": []}))
    assert foreign_keys(config.experts[ExpertKey("lead")], config.experts) == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("writr", "writer"), ("writer@1.0.0", "writer"), ("codr", "coder")],
)
def test_a_delegate_that_is_close_to_a_known_name_is_warned_of(written: str, meant: str) -> None:
    (warning,) = read(team({"lead": [written], "writer": []})).warnings
    assert str(warning) == (
        f"experts.lead.delegates (line 3): delegate {written} is not defined here: "
        "it is looked for in the registry"
    )
    assert warning.hint == f"did you mean {meant}?"


def test_a_broken_expert_still_counts_as_defined() -> None:
    (line,) = refused_lines(team({"lead": ["writer"]}) + "[experts.writer]\n")
    assert line.startswith("experts.writer.instruction")


def test_a_ring_is_a_warning() -> None:
    (warning,) = read(team({"a": ["b"], "b": ["c"], "c": ["a"]})).warnings
    assert str(warning) == (
        "experts.a.delegates (line 3): Experts delegate in a ring: a → b → c → a"
    )
    assert warning.hint is not None


def test_a_ring_of_three_hundred_is_found_and_told_shortly() -> None:
    ring = {f"e{number}": [f"e{(number + 1) % 300}"] for number in range(300)}
    (warning,) = warned(team(ring))
    assert warning.endswith("a ring: e0 → e1 → e2 → … 296 more … → e299 → e0")


def test_a_diamond_is_no_ring() -> None:
    assert warned(team({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []})) == []


def test_a_long_chain_needs_no_stack() -> None:
    chain = {f"e{number}": [f"e{number + 1}"] for number in range(2_000)}
    assert warned(team(chain | {"e2000": []})) == []


def test_of_many_rings_a_few_are_told() -> None:
    names = [f"e{number}" for number in range(20)]
    everybody = {name: [other for other in names if other != name] for name in names}
    assert len(warned(team(everybody))) == 5
