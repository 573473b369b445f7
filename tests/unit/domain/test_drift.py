"""What becomes of a task by its likeness to an ancestor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.coordination import DriftSettings
from perstack.domain.drift import DriftAction, action_for, unjudged

WARN = DriftSettings(enabled=True, threshold=0.9, warning_threshold=0.8)
PREVENT = WARN.model_copy(update={"behavior": "prevent"})


@pytest.mark.parametrize(
    ("similarity", "settings", "action"),
    [
        (1.0, WARN, "warned"),
        (0.9, WARN, "warned"),
        (0.9, PREVENT, "prevented"),
        (0.899, PREVENT, "warned"),
        (0.8, PREVENT, "warned"),
        (0.799, PREVENT, "allowed"),
        (0.85, WARN.model_copy(update={"warning_threshold": None}), "allowed"),
    ],
)
def test_thresholds_are_reached_by_what_equals_them(
    similarity: float, settings: DriftSettings, action: DriftAction
) -> None:
    assert action_for(similarity, settings) == action


@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([WARN, PREVENT]))
def test_more_likeness_is_never_treated_more_kindly(
    one: float, other: float, settings: DriftSettings
) -> None:
    severity = {"allowed": 0, "warned": 1, "prevented": 2}
    low, high = sorted([one, other])
    assert severity[action_for(low, settings)] <= severity[action_for(high, settings)]


def test_what_was_not_judged_passes_only_where_a_warning_is_enough() -> None:
    assert unjudged("why", 2, WARN).action == "allowed"
    assert unjudged("why", 2, PREVENT).action == "prevented"
    assert unjudged("why", 2, WARN).verdict == "pending"
