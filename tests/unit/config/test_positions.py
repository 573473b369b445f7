from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.positions import KeyPath, locate_keys
from perstack.config.table import is_table


def test_headers_keys_and_prefixes_are_placed() -> None:
    text = 'a = 1\n\n[b."c d".e] # note\nf.g = 2\n\n[[h]]\ni = 3\n'
    assert locate_keys(text) == {
        ("a",): 1,
        ("b",): 3,
        ("b", "c d"): 3,
        ("b", "c d", "e"): 3,
        ("b", "c d", "e", "f"): 4,
        ("b", "c d", "e", "f", "g"): 4,
        ("h",): 6,
        ("h", "i"): 7,
    }


def test_keys_inside_strings_are_no_keys() -> None:
    text = 'a = """\n[x]\ny = 1\n\\"""\n"""\nb = \'\'\'\nz = "\n\'\'\'\nc = 1\n'
    assert locate_keys(text) == {("a",): 1, ("b",): 6, ("c",): 9}


def test_inline_tables_in_arrays_share_the_path_of_the_array() -> None:
    text = "a = [\n  {b = 1, c = {d = [2, 3]}},\n  {e = 4},\n]\nf = 5\n"
    assert locate_keys(text) == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 2,
        ("a", "c", "d"): 2,
        ("a", "e"): 3,
        ("f",): 5,
    }


def test_escaped_quoted_keys_are_the_keys_that_toml_sees() -> None:
    assert locate_keys('"a\\"b\\u00e9".\'c"\' = 1') == {('a"bé',): 1, ('a"bé', 'c"'): 1}


@pytest.mark.parametrize(
    "text", ["= 1\na = 2", "[", '"', "a = {", "a = [[\n", "a = '''", "\x00\n="]
)
def test_text_that_is_not_toml_ends_the_search(text: str) -> None:
    locate_keys(text)


@dataclass
class _Writer:
    """Writes TOML and remembers on which line each key was written first."""

    lines: list[str] = field(default_factory=list[str])
    places: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])

    def note(self, path: KeyPath, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.places.setdefault(path[:length], line)

    def header(self, path: KeyPath) -> None:
        self.note(path, self.next_line)
        self.lines.append(f"[ {' . '.join(map(_quoted, path))} ]  # [no.header]")

    def assignment(self, table: KeyPath, key: str, value: str) -> None:
        self.note((*table, key), self.next_line)
        self.lines.extend(f"{_quoted(key)} = {value}".split("\n"))

    @property
    def next_line(self) -> int:
        return len(self.lines) + 1


def _quoted(key: str) -> str:
    return key if key.isascii() and key.isalnum() else json.dumps(key).replace("\x7f", "\\u007f")


KEYS = st.text(st.sampled_from('ab.[]="#\n\\é '), min_size=1, max_size=4)
VALUES = st.sampled_from(
    [
        "1",
        '"x = 1 # \\" ["',
        "'c = [\"'",
        '"""\n[header]\nkey = 1\n"quoted" ""\n"""',
        "'''\n'a' = {\n'''",
        "[\n  1, # ]\n  [2],\n]",
        "2020-01-01T00:00:00Z",
        "true # = no",
    ]
)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_every_key_of_a_written_document_is_found_on_its_line(
    tables: dict[str, dict[str, str]],
) -> None:
    writer = _Writer()
    for name, values in tables.items():
        writer.header((name, "inner"))
        for key, value in values.items():
            writer.assignment((name, "inner"), key, value)
            writer.lines.append("# comment = [1")
    text = "\n".join(writer.lines)
    assert is_table(tomllib.loads(text))
    assert locate_keys(text) == writer.places
