from __future__ import annotations

import pytest

from perstack.domain.ids import MessageId
from perstack.domain.messages import TextPart, UserMessage
from perstack.projection.messages import Messages


def said(number: int) -> UserMessage:
    return UserMessage(id=MessageId(f"m{number}"), contents=(TextPart(text=str(number)),))


def test_what_is_forgotten_still_counts() -> None:
    whole = Messages(said(number) for number in range(5))
    short = whole.forgetting(3)
    assert len(short) == len(whole) == 5
    assert short[-1] == whole[4]
    assert short[3] == whole[3]
    assert short.since(1) == whole.since(3)
    assert short.since(4) == whole.since(4)
    assert list(short) == list(whole)[3:]
    with pytest.raises(IndexError):
        short[2]


def test_a_shortened_history_grows_and_the_whole_one_is_not_touched() -> None:
    whole = Messages(said(number) for number in range(3))
    short = whole.forgetting(2)
    grown, other = short.plus(said(3)), short.plus(said(4), said(5))
    assert (len(grown), len(other), len(short), len(whole)) == (4, 5, 3, 3)
    assert grown[3] == said(3)
    assert other.since(2) == (said(2), said(4), said(5))
    assert grown.forgetting(1) is grown
