"""Files that are not TOML, and characters that must not reach a terminal."""

from __future__ import annotations

import pytest

from tests.unit.config.reading import WRITER, read, refusal


def test_windows_line_ends_and_a_byte_order_mark_are_read() -> None:
    config = read("\ufeff" + WRITER.replace("\n", "\r\n"))
    assert list(config.experts) == ["writer"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "a = 1\nb = x\n",
            "perstack.toml is not valid TOML at line 2, column 5: Invalid value",
            "correct line 2; text needs quotes, and \\ in it is written \\\\",
        ),
        (
            'a = """\nb\n',
            "perstack.toml is not valid TOML at its end: Unterminated string",
            'look for a string, a """ or a bracket that is not closed',
        ),
        (
            "a = " + "[" * 5000,
            "perstack.toml is nested too deeply",
            "remove some of its brackets",
        ),
        (
            "\n" + "a." * 100 + "b = 1",
            "perstack.toml: line 2 has a key of more than 64 parts",
            "shorten line 2",
        ),
    ],
)
def test_a_syntax_error_names_line_and_column(text: str, message: str, hint: str) -> None:
    error = refusal(text)
    assert (error.message, error.hint) == (message, hint)


def test_control_characters_never_reach_a_message_raw() -> None:
    for text in ("a = \x1b[31m", 'runtime = "\\u001b[31m\\u202e"', '"\\u001b" = 1\nmaxSteps = 0'):
        assert "\x1b" not in refusal(text).message
        assert "\u202e" not in refusal(text).message
    (warning,) = read('"\\u001b[31m" = 1').warnings
    assert warning.key == '"\\x1b[31m"'
