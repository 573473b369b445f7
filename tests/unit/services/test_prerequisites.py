"""Which programs are looked for before a job is made."""

from __future__ import annotations

from perstack.domain.expert import Expert, ExpertRuntime
from perstack.domain.ids import ExpertKey
from perstack.domain.runtimes import ProgramName, RuntimeName
from perstack.services.prerequisites import programs_needed

LEAD = ExpertKey("lead")


def expert(key: str, *delegates: str, runtime: ExpertRuntime | None = None) -> Expert:
    return Expert(
        key=ExpertKey(key),
        name=key,
        instruction="x",
        skills={},
        delegates=tuple(map(ExpertKey, delegates)),
        runtime=runtime,
    )


def needed(*experts: Expert, job: RuntimeName = "perstack") -> tuple[ProgramName, ...]:
    known = {one.key: one for one in experts}
    return programs_needed(known[LEAD], known, job)


def test_a_job_of_ours_needs_none() -> None:
    assert needed(expert("lead", "a"), expert("a")) == ()


def test_the_programs_of_all_that_are_delegated_to_are_needed_once() -> None:
    assert needed(
        expert("lead", "a", "b"),
        expert("a", "c", runtime="perstack"),
        expert("b", runtime="codex"),
        expert("c", "b", "lead", runtime="codex"),
        expert("nobody calls it", runtime="gemini"),
    ) == ("codex",)


def test_a_program_delegates_to_nobody_so_that_those_it_is_told_of_do_not_count() -> None:
    experts = (expert("lead", "a"), expert("a", runtime="gemini"))
    assert needed(*experts, job="claude-code") == ("claude-code",)


def test_an_expert_may_be_ours_where_a_program_executes_the_job() -> None:
    experts = (expert("lead", "a", runtime="perstack"), expert("a"))
    assert needed(*experts, job="cursor") == ("cursor",)


def test_delegates_that_are_nowhere_are_passed_over() -> None:
    assert needed(expert("lead", "nobody", runtime="perstack")) == ()
