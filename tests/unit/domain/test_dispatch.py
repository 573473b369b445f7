"""Reading what a model chose."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from perstack.domain.coordination import DispatcherSettings
from perstack.domain.dispatch import MIDDLING, Choice, choice_in, decide, read_reply

SETTINGS = DispatcherSettings()
TYPES = ("coder", "tester", "Team/Docs_Writer")
WILD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_reply_leads_to_a_decision(text: str) -> None:
    decision = decide(read_reply(text), TYPES, SETTINGS)
    assert decision.agent_type in {*TYPES, SETTINGS.fallback_agent_type}
    assert 0 <= decision.confidence <= 1


@given(WILD, WILD, WILD)
def test_any_fields_lead_to_a_decision(agent_type: object, confidence: object, why: object) -> None:
    fields = {"agentType": agent_type, "confidence": confidence, "reasoning": why}
    choice = choice_in(json.loads(json.dumps(fields)))
    assert choice is None or 0 <= choice.confidence <= 1


@given(
    st.sampled_from(TYPES),
    st.floats(SETTINGS.confidence_threshold, 1),
    st.text(alphabet="ab{}`\n ", max_size=30).filter(lambda text: "{" not in text),
)
def test_an_object_is_found_wherever_it_stands(named: str, confidence: float, around: str) -> None:
    reply = json.dumps({"agentType": named, "confidence": confidence})
    decision = decide(read_reply(f"{around}{reply}{around}"), TYPES, SETTINGS)
    assert (decision.agent_type, decision.confidence) == (named, confidence)


def test_braces_before_the_object_are_passed_over() -> None:
    choice = read_reply('I {think} that: {"agentType": "tester"}')
    assert choice == Choice("tester", MIDDLING, "No reasoning provided")


def test_a_number_beyond_all_bounds_is_cut() -> None:
    assert choice_in({"agentType": "tester", "confidence": 10**400}) == Choice(
        "tester", 1.0, "No reasoning provided"
    )


def test_what_is_no_number_counts_as_no_confidence() -> None:
    odd: tuple[JsonValue, ...] = ("0.9", True, None, float("nan"), ["0.9"])
    for said in odd:
        choice = choice_in({"agentType": "tester", "confidence": said})
        assert choice is not None
        assert choice.confidence == MIDDLING
