"""What of a running command's output is shown, and in which pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perstack.skills.base.live import (
    MAX_LIVE_CHARS,
    MAX_UNBROKEN_CHARS,
    REST_IS_SILENT,
    LiveLines,
    LiveOutput,
)

SECRET = "sk-ant-0123456789"


def test_what_comes_between_two_updates_is_one_update() -> None:
    shown: list[str] = []
    live = LiveOutput(shown.append)
    for number in range(500):
        live.take(f"{number}\n")
    live.flush()
    live.flush()
    assert shown == ["".join(f"{number}\n" for number in range(500))]


@given(
    st.text(max_size=300).map(str.encode) | st.binary(max_size=300),
    st.lists(st.integers(1, 40), max_size=30),
)
def test_whatever_the_pieces_nothing_is_lost_and_lines_stay_whole(
    data: bytes, sizes: list[int]
) -> None:
    shown: list[str] = []
    live = LiveOutput(shown.append)
    lines = LiveLines(live)
    rest = data
    for size in sizes:
        lines.add(rest[:size])
        live.flush()
        rest = rest[size:]
    assert all(text.endswith(("\n", "\r")) for text in shown)
    lines.add(rest)
    lines.finish()
    live.flush()
    assert "".join(shown) == data.decode(errors="replace")


@given(
    st.integers(0, len(SECRET)),
    st.integers(0, 3 * MAX_UNBROKEN_CHARS),
    st.sampled_from(["word ", '"k":1,', "[1,2]", "key\t", "<td>"]),
)
def test_a_word_is_not_cut_in_two_however_long_the_line(at: int, before: int, filling: str) -> None:
    shown: list[str] = []
    live = LiveOutput(shown.append)
    lines = LiveLines(live)
    text = f"{filling * (before // 5)}{SECRET}{filling}and more"
    for piece in (text[: before + at], text[before + at :]):
        lines.add(piece.encode())
        live.flush()
    lines.finish()
    live.flush()
    assert any(SECRET in piece for piece in shown)
    assert "".join(shown) == text


def test_a_line_without_any_break_is_shown_in_parts() -> None:
    shown: list[str] = []
    lines = LiveLines(live := LiveOutput(shown.append))
    lines.add(b"x" * MAX_UNBROKEN_CHARS)
    live.flush()
    assert shown == []
    lines.add(b"x")
    live.flush()
    assert shown == ["x" * (MAX_UNBROKEN_CHARS + 1)]


def test_after_its_bound_it_says_so_once_and_falls_silent() -> None:
    shown: list[str] = []
    lines = LiveLines(live := LiveOutput(shown.append))
    for _ in range(50):
        lines.add((b"x" * 99 + b"\n") * 1_000)
        live.flush()
    lines.finish()
    live.flush()
    text = "".join(shown)
    assert text.count(REST_IS_SILENT) == 1
    assert text.endswith(REST_IS_SILENT)
    assert MAX_LIVE_CHARS - 100_000 <= len(text) <= MAX_LIVE_CHARS + len(REST_IS_SILENT)
