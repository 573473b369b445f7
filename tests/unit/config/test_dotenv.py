from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.dotenv import parse_env
from perstack.errors import ConfigError


def parse(text: str) -> dict[str, str]:
    return parse_env(Path(".env"), text.encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("A = b c \n", "b c"),
        ("export A=b", "b"),
        ("  export  A=b", "b"),
        ("A=", ""),
        ("A= # note", ""),
        ("A=b # note", "b"),
        ("A=b#c", "b#c"),
        ("A='b # $c \\n'", "b # $c \\n"),
        ('A="b # c" # note', "b # c"),
        ('A="b\\n\\t\\"\\\\\\$"', 'b\n\t"\\$'),
        ('A="\\q"', "\\q"),
        ('A="one\ntwo"\n', "one\ntwo"),
        ("A='one\ntwo'\n", "one\ntwo"),
        ("# note\n\n\t\nA=b\r\n", "b"),
        ("\ufeffA=b", "b"),
        ("A=1\nA=b", "b"),
        ("A=$HOME/b", "$HOME/b"),
        ("A=b=c", "b=c"),
    ],
)
def test_an_assignment_is_read(text: str, value: str) -> None:
    assert parse(text) == {"A": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=b\nsecret value", ".env: line 2 is not NAME=value"),
        ("1A=b", ".env: line 1 is not NAME=value"),
        ("A='1\n2'\nB C=1", ".env: line 3 is not NAME=value"),
        ("A='secret", ".env: line 1 has a quote that is not closed"),
        ('\nA="secret\\"', ".env: line 2 has a quote that is not closed"),
        ("A='secret' more", ".env: line 1 has text after the closing quote"),
        ("A=secret\0", ".env: line 1 holds a NUL character"),
    ],
)
def test_a_wrong_line_is_refused_without_showing_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.message == message
    assert "secret" not in str(caught.value.hint)


def test_text_that_is_not_utf8_is_refused_by_line() -> None:
    with pytest.raises(ConfigError, match=r"^\.env: line 2 is not UTF-8 text$"):
        parse_env(Path(".env"), b"A=b\n\xff\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        told = "".join(parse_env(Path(".env"), data))
    except ConfigError as error:
        told = error.message
    assert told.isprintable()


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text("ab #$'\n\t")))
def test_what_was_quoted_reads_back(variables: dict[str, str]) -> None:
    text = "".join(f'{name}="{value}"\n' for name, value in variables.items())
    assert parse(text) == variables
