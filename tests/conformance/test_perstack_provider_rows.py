"""Perstack's own end-to-end cases about reasoning and providers, row by row (section 12).

The whole program against each vendor's protocol on loopback, in the place of live vendors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.fakes.cli import Program, Ran, by_expert, play
from tests.fakes.model_server import Answer, Seen
from tests.fakes.model_wire import Call, Reply

TOML: Final = '[experts."thinker"]\ninstruction = "You are thinker."\n'
DONE: Final = [Call("attemptCompletion", {}, "c1")]
KEY: Final = "sk-google-canary-0123456789"

START: Final = "startStreamingReasoning"
DELTA: Final = "streamReasoning"
COMPLETE: Final = "completeStreamingReasoning"
REASONING: Final = (START, DELTA, COMPLETE)
RESULT: Final = ("startStreamingRunResult", "streamRunResult", "completeStreamingRunResult")


class Asked(NamedTuple):
    """A run, and what the vendor saw of it."""

    ran: Ran
    requests: list[Seen]


def thinking(*, tagged: bool = False) -> Sequence[Answer]:
    """Think and call, think and say. Google sends its thoughts as text in tags."""
    if tagged:
        return [
            Reply(["<thought>First ", "this.</thought>"], calls=DONE, reasoning_tokens=9),
            Reply(["<thought>Then ", "that.</thought>", "All ", "good."], reasoning_tokens=9),
        ]
    return [
        Reply(thinking=["First ", "this."], calls=DONE, reasoning_tokens=9),
        Reply(["All ", "good."], ["Then ", "that."], reasoning_tokens=9),
    ]


def silent() -> Sequence[Answer]:
    return [Reply(calls=DONE), Reply(["All ", "good."])]


def asked(folder: Path, said: Sequence[Answer], *options: str) -> Asked:
    """Run the Expert once with these options."""

    def program(url: str) -> Program:
        google = {
            "GOOGLE_GENERATIVE_AI_API_KEY": KEY,
            "GOOGLE_GENERATIVE_AI_BASE_URL": f"{url}/v1beta/openai",
        }
        return Program.make(folder, TOML, base_url=url, env=google)

    command = ("run", "thinker", "Think about it", *options)
    (ran,), server = play(program, by_expert({"thinker": said}), command)
    assert ran.code == 0, ran.stderr
    return Asked(ran, server.requests)


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("streamed")
    return asked(folder, thinking(), "--reasoning-budget", "medium").ran


def streams(types: Sequence[str], start: str, complete: str) -> list[Sequence[str]]:
    """Cut a list of types into streams, each from its start to its end."""
    found: list[Sequence[str]] = []
    at = 0
    while at < len(types):
        assert types[at] == start
        end = types.index(complete, at)
        found.append(types[at + 1 : end])
        at = end + 1
    return found


def test_row_104_reasoning_begins_goes_on_and_ends(streamed: Ran) -> None:
    between = streams(streamed.types(*REASONING), START, COMPLETE)
    assert len(between) == 2
    assert all(set(types) == {DELTA} for types in between)


def test_row_105_the_result_begins_goes_on_and_ends_before_the_run_completes(
    streamed: Ran,
) -> None:
    start, delta, complete = RESULT
    types = streamed.types(*RESULT, "completeRun")
    assert types == [start, delta, delta, complete, "completeRun"]


def test_row_106_reasoning_is_complete_before_the_result_begins(streamed: Ran) -> None:
    types = streamed.types(*REASONING, *RESULT)
    last = len(types) - 1 - types[::-1].index(COMPLETE)
    assert last < types.index(RESULT[0])


def test_row_107_without_a_budget_nothing_is_reasoned(tmp_path: Path) -> None:
    ran, requests = asked(tmp_path, silent(), "--reasoning-budget", "none")
    assert ran.types(*REASONING) == []
    assert ran.one("completeRun")["text"] == "All good."
    assert all(seen.body["thinking"]["type"] in {"disabled", "between_tools"} for seen in requests)


@pytest.mark.parametrize("type_", [DELTA, RESULT[1]])
def test_rows_108_and_109_every_delta_is_text(streamed: Ran, type_: str) -> None:
    deltas = [event["delta"] for event in streamed.all(type_)]
    assert all(isinstance(delta, str) for delta in deltas)
    assert any(deltas)


VENDORS: Final = {
    "anthropic": "claude-sonnet-4-5",
    "openai": "o3-mini",
    "google": "gemini-2.5-flash",
}
BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 5000, "high": 10_000, "3000": 3000}


def told(vendor: str, body: dict[str, Any]) -> object:
    """Return how much the vendor was told to reason."""
    if vendor == "anthropic":
        return body["thinking"]["budget_tokens"]
    if vendor == "google":
        return body["extra_body"]["google"]["thinking_config"]["thinking_budget"]
    return body["reasoning_effort"]


def effort(tokens: int) -> str:
    return "low" if tokens <= 2048 else "medium" if tokens <= 5000 else "high"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("budget", BUDGETS)
def test_rows_110_to_119_each_vendor_is_told_how_much_to_reason(
    tmp_path: Path, vendor: str, budget: str
) -> None:
    ran, requests = asked(
        tmp_path,
        thinking(tagged=vendor == "google"),
        *("--provider", vendor, "--model", VENDORS[vendor], "--reasoning-budget", budget),
    )
    tokens = BUDGETS[budget]
    wanted = effort(tokens) if vendor == "openai" else tokens
    assert [told(vendor, seen.body) for seen in requests] == [wanted] * 2
    assert ran.one("completeRun")["usage"]["reasoningTokens"] > 0
    thoughts = [event["text"] for event in ran.all(COMPLETE)]
    assert thoughts == ["First this.", "Then that."]


@pytest.mark.parametrize(
    ("vendor", "model"),
    [("openai", "gpt-4.1"), ("anthropic", "claude-haiku-4-5"), ("google", "gemini-2.5-flash")],
)
def test_rows_127_to_129_each_provider_completes_with_text(
    tmp_path: Path, vendor: str, model: str
) -> None:
    ran, requests = asked(tmp_path, silent(), "--provider", vendor, "--model", model)
    assert ran.one("completeRun")["text"] == "All good."
    assert {seen.body["model"] for seen in requests} == {model}
