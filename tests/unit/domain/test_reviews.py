"""How a review loop goes from state to state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.reviews import ACTIVE, Verdict, after_review, failed, with_code
from tests.fakes.consensus import NOW_MS
from tests.fakes.reviewing import make_loop, make_review

VERDICTS = st.sampled_from(["APPROVE", "REJECT"])


@given(most=st.integers(1, 10), verdicts=st.lists(VERDICTS, min_size=10, max_size=10))
def test_a_loop_ends_with_the_first_approval_or_the_last_iteration(
    most: int, verdicts: list[Verdict]
) -> None:
    loop = make_loop(max_iterations=most)
    for number, verdict in enumerate(verdicts, start=1):
        loop = with_code(loop, f"version {number}", None)
        assert (loop.status, loop.iteration) == ("reviewing", number)
        review = make_review(verdict, iteration=number)
        loop = after_review(loop, review, now_ms=NOW_MS + number)
        if loop.status != "fixing":
            break
        assert loop.completed_at is None
        assert loop.final_verdict is None
    used = verdicts[: len(loop.reviews)]
    assert loop.status not in ACTIVE
    assert loop.final_verdict == used[-1]
    assert used.count("APPROVE") == (loop.status == "approved")
    assert len(used) == (most if loop.status == "max_iterations_reached" else len(used))
    assert loop.completed_at == NOW_MS + len(used)


def test_a_loop_that_failed_says_why() -> None:
    loop = failed(make_loop(), "no vendor", now_ms=NOW_MS)
    assert (loop.status, loop.error, loop.completed_at) == ("failed", "no vendor", NOW_MS)
