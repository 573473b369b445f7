"""What whoever was not first gets to hear."""

from __future__ import annotations

import pytest

from perstack.storage.database.consensus_rows import decided, expired, too_late
from perstack.storage.database.text import safe_text
from tests.fakes.consensus import NOW_MS, make_checkpoint, make_decision


@pytest.mark.parametrize(
    ("elapsed_ms", "ago"),
    [
        (-9_000, "0 s ago"),
        (999, "0 s ago"),
        (4_000, "4 s ago"),
        (59_999, "59 s ago"),
        (60_000, "1 min ago"),
        (3_600_000, "1 h ago"),
        (200_000_000, "2 d ago"),
    ],
)
def test_the_loser_is_told_by_whom_and_how_long_ago(elapsed_ms: int, ago: str) -> None:
    found = decided(make_checkpoint(), make_decision(approved=False), now=NOW_MS)
    error = too_late(found, now=NOW_MS + elapsed_ms)
    assert error.message == f"consensus checkpoint k1 was already rejected by ana, {ago}"


def test_an_expiry_counts_from_the_deadline_not_from_the_sweep() -> None:
    due = make_checkpoint(expires_at=NOW_MS)
    found = expired(due, now=NOW_MS + 60_000, auto_reject=False)
    assert "expired 2 min ago" in too_late(found, now=NOW_MS + 120_000).message


def test_an_automatic_rejection_is_told_as_one() -> None:
    found = expired(make_checkpoint(expires_at=NOW_MS), now=NOW_MS, auto_reject=True)
    assert "was already rejected by system" in too_late(found, now=NOW_MS).message


def test_text_keeps_what_every_database_takes() -> None:
    assert safe_text("grün 🎉\n\x1b") == "grün 🎉\n\x1b"
    assert safe_text("\U0001f389 \ud83c") == "\U0001f389 \ufffd\ufffd\ufffd"
