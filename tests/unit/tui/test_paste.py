"""What the terminal sends while something is pasted, through Textual's own parser."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import assume, example, given
from hypothesis import strategies as st
from textual import events
from textual.message import Message

from perstack_tui.driver import SturdyParser
from perstack_tui.paste import END, START, PasteGuard, clean_paste

# Pieces that attack the markers, between arbitrary text.
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["\x1b", "\x1b[", "\x1b[20", "\x1b[31m", START, "\x9b201~", "\r", "a", "q"]
        ),
    ),
    max_size=8,
).map("".join)


def chunked(text: str, cuts: Iterable[int]) -> list[str]:
    at = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(at)]


def told(parser: SturdyParser, chunks: Iterable[str]) -> list[Message]:
    return [event for chunk in chunks for event in parser.take(chunk)]


def pastes(found: Iterable[Message]) -> list[str]:
    return [event.text for event in found if isinstance(event, events.Paste)]


def keys(found: Iterable[Message]) -> list[str]:
    return [event.key for event in found if isinstance(event, events.Key)]


def after_timeout(parser: SturdyParser) -> list[Message]:
    """Wait until the parser gives up waiting for the rest of a sequence."""
    while not (found := list(parser.tick())):
        pass
    return found


@given(TEXTS, st.lists(st.integers(0, 200), max_size=8))
@example("see \x1b[31m note \x1b[0m a", [])
@example("q\x1b[2", [10])
@example("a", [3])
def test_paste_is_one_event_without_keys_however_it_is_cut(text: str, cuts: list[int]) -> None:
    assume(END not in text)
    found = told(SturdyParser(), chunked(START + text + END, cuts))
    wanted = clean_paste(text)
    assert pastes(found) == ([wanted] if wanted else [])
    assert keys(found) == []


@given(st.text(st.sampled_from("a\x1b[201~q"), max_size=20), st.lists(st.integers(0, 200)))
def test_text_outside_a_paste_passes_at_once(text: str, cuts: list[int]) -> None:
    guard = PasteGuard()
    for chunk in chunked(text.replace("0", ""), cuts):
        assert guard.feed(chunk) == chunk


def test_keys_after_a_paste_are_keys_again() -> None:
    found = told(SturdyParser(), ["j", START + "one", END + "k" + START + "two" + END, "l"])
    assert pastes(found) == ["one", "two"]
    assert keys(found) == ["j", "k", "l"]


def test_start_marker_that_the_parser_gave_up_on_still_begins_a_paste() -> None:
    parser = SturdyParser()
    told(parser, [START[:4]])
    after_timeout(parser)
    found = told(parser, [START[4:] + "aq", "x" + END])
    assert pastes(found) == ["aqx"]
    assert not {"a", "q", "x"} & set(keys(found))


def test_start_marker_that_arrives_late_but_in_time_gives_no_stray_key() -> None:
    found = told(SturdyParser(), [*START, "aq", *END])
    assert (pastes(found), keys(found)) == (["aq"], [])


def test_a_large_paste_arrives_whole() -> None:
    text = "line \x1b[0m of text\n" * 20_000
    found = told(SturdyParser(), chunked(START + text + END, range(4096, 400_000, 4096)))
    assert pastes(found) == [clean_paste(text)]


def test_escape_and_a_quick_key_are_an_alt_key_and_no_sign() -> None:
    parser = SturdyParser()
    assert keys(told(parser, ["\x1b3", "\x1b-"])) == ["alt+3", "alt+minus"]
    told(parser, ["\x1b/"])
    assert keys(after_timeout(parser)) == ["alt+slash"]
    assert keys(told(parser, ["£", "3"])) == ["pound_sign", "3"]
