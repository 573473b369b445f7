"""Text into the numbers of a BERT vocabulary: words, and pieces of those that it does not know."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

MOST_TOKENS: Final = 256
# More than any text of that many tokens needs; what is behind it is not read.
MOST_CHARS: Final = 8_192

_LONGEST_WORD: Final = 100
_SPACED: Final = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPiece:
    """The tokenizer of uncased BERT models. `vocabulary` gives each piece its number."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._unknown = vocabulary["[UNK]"]
        self._first = vocabulary["[CLS]"]
        self._last = vocabulary["[SEP]"]

    def numbers(self, text: str) -> list[int]:
        """Return at most `MOST_TOKENS` numbers, the marks of beginning and end among them."""
        found: list[int] = []
        for word in _words(text[:MOST_CHARS]):
            found += self._pieces(word)
            if len(found) >= MOST_TOKENS - 2:
                break
        return [self._first, *found[: MOST_TOKENS - 2], self._last]

    def _pieces(self, word: str) -> list[int]:
        """Take the longest known piece from the front again and again."""
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            lead = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._vocabulary.get(lead + word[start:end])
                if number is not None:
                    found.append(number)
                    start = end
                    break
            else:
                return [self._unknown]
        return found


def _words(text: str) -> Iterator[str]:
    word = ""
    for character in _plain(text):
        if character.isspace():
            if word:
                yield word
            word = ""
        elif _stands_alone(character):
            if word:
                yield word
            yield character
            word = ""
        else:
            word += character
    if word:
        yield word


def _plain(text: str) -> str:
    """Return the text in lower case, without accents, control characters as spaces or nothing."""
    kept = (
        " " if c in "\t\n\r" else c
        for c in text
        if c in "\t\n\r" or not (c in "\0\ufffd" or unicodedata.category(c) in ("Cc", "Cf", "Cs"))
    )
    bare = unicodedata.normalize("NFD", "".join(kept).lower())
    return "".join(c for c in bare if unicodedata.category(c) != "Mn")


def _stands_alone(character: str) -> bool:
    code = ord(character)
    if code < 128:
        return not character.isalnum()
    if unicodedata.category(character).startswith("P"):
        return True
    return any(first <= code <= last for first, last in _SPACED)
