"""What contestants are typed as, and what a comparison is once nobody runs it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.comparing import asked_of
from perstack.domain.comparisons import (
    RUNTIME_NAMES,
    ComparisonId,
    Contest,
    Contestant,
    ContestRow,
    contestants_of,
)
from perstack.domain.ids import ExpertKey, check_path_id
from perstack.domain.settings import ProviderName, ProviderSettings
from perstack.errors import UsageError


def contestant(text: str) -> Contestant:
    return contestants_of([text, "docker:another"])[0]


def test_a_contestant_is_a_runtime_with_a_model_or_without() -> None:
    assert contestant("claude-code") == Contestant("claude-code", "claude-code", None)
    assert contestant("perstack:gpt-5") == Contestant("perstack-gpt-5", "perstack", "gpt-5")
    assert contestant("local").runtime == "perstack"


def test_a_model_may_hold_colons_and_slashes() -> None:
    found = contestant("perstack:ollama/gpt-oss:20b")
    assert (found.model, found.label) == ("ollama/gpt-oss:20b", "perstack-ollama-gpt-oss-20b")
    assert found.typed == "perstack:ollama/gpt-oss:20b"


def test_labels_that_would_be_the_same_are_told_apart() -> None:
    labels = [one.label for one in contestants_of(["perstack:a.b", "perstack:a-b", "perstack:a/b"])]
    assert labels == ["perstack-a-b", "perstack-a-b-2", "perstack-a-b-3"]


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["perstack"], "between 2 and 8"),
        ([f"perstack:{at}" for at in range(9)], "between 2 and 8"),
        (["perstack", "perstack"], "twice"),
        (["perstack", "local"], "twice"),
        (["perstack", "emacs"], "no runtime 'emacs'"),
        (["perstack", "docker:"], "names no model"),
        (["perstack", "docker:a\x1b[31m"], "names no model"),
    ],
)
def test_what_cannot_be_compared_is_refused(typed: list[str], why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        contestants_of(typed)
    assert caught.value.hint
    assert "\x1b" not in caught.value.message


@given(st.lists(st.text(max_size=300), min_size=2, max_size=8))
def test_any_model_gives_a_label_that_is_a_safe_name_of_its_own(models: list[str]) -> None:
    names = [
        f"{runtime}:{model}" for runtime, model in zip(RUNTIME_NAMES * 2, models, strict=False)
    ]
    try:
        found = contestants_of(names)
    except UsageError:
        return
    labels = [one.label for one in found]
    assert len(set(labels)) == len(labels)
    for label in labels:
        assert check_path_id("contestant", label) == label


@pytest.mark.parametrize(
    ("typed", "file", "asked"),
    [
        ("perstack", "anthropic", (None, None)),
        ("perstack:gpt-5", "openai", ("openai", "gpt-5")),
        ("perstack:gpt-5", "anthropic", ("openai", "gpt-5")),
        ("perstack:claude-sonnet-4-5", "openai", ("anthropic", "claude-sonnet-4-5")),
        ("docker:gpt-5", "anthropic", ("openai", "gpt-5")),
        ("perstack:nobody-knows-it", "anthropic", (None, "nobody-knows-it")),
        # What a cloud serves under a name is its own affair.
        ("perstack:gpt-5", "azure-openai", (None, "gpt-5")),
        ("perstack:gpt-5", "scripted", (None, "gpt-5")),
        ("perstack:openai/gpt-5", "azure-openai", ("openai", "gpt-5")),
        ("perstack:openai/openai/gpt-5", "openai", ("openai", "openai/gpt-5")),
        ("perstack:nobody/gpt-5", "ollama", (None, "nobody/gpt-5")),
        # A program asks its own vendor, whatever the file says.
        ("claude-code:opus", "openai", (None, "opus")),
        ("codex:openai/gpt-5", "anthropic", (None, "openai/gpt-5")),
    ],
)
def test_whom_a_contestants_model_is_asked_of(
    typed: str, file: ProviderName, asked: tuple[str | None, str | None]
) -> None:
    assert asked_of(contestant(typed), ProviderSettings(name=file)) == asked


def test_a_provider_at_another_address_is_asked_for_any_model() -> None:
    gateway = ProviderSettings(name="openai", base_url="https://models.example/v1")
    assert asked_of(contestant("perstack:claude-sonnet-4-5"), gateway)[0] is None


def test_what_a_dead_process_left_unfinished_is_lost_and_the_rest_stays() -> None:
    rows = tuple(
        ContestRow(label=state, runtime="perstack", state=state)
        for state in ("queued", "running", "waiting", "completed", "failed")
    )
    contest = Contest(
        id=ComparisonId("c1"), expert=ExpertKey("w"), query="q", started_at=1, rows=rows
    )
    states = [row.state for row in contest.as_lost().rows]
    assert states == ["lost", "lost", "lost", "completed", "failed"]
