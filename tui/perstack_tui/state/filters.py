"""What a filter means: every word must be found, `!word` must not, `~letters` in their order."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

LONGEST: Final = 200
_LEAST_ID: Final = 16


@lru_cache(maxsize=64)
def words_of(needle: str) -> tuple[str, ...]:
    """Return the words of a filter, without regard to case; a sign alone is not one yet."""
    return tuple(word for word in needle[:LONGEST].casefold().split() if word not in ("!", "~"))


def found_in(hay: str, needle: str) -> bool:
    """Say whether `hay` passes the filter `needle`."""
    words = words_of(needle)
    if not words:
        return True
    folded = hay.casefold()
    return all(_passes(folded, word) for word in words)


def _passes(hay: str, word: str) -> bool:
    if word.startswith("!"):
        return not _passes(hay, word[1:])
    if word.startswith("~") and len(word) > 1:
        return any(in_order(one, word[1:]) for one in hay.split() if not _is_id(one))
    return word in hay


def _is_id(word: str) -> bool:
    """Say whether a word is a row of random letters, in which nearly any few are found."""
    return len(word) >= _LEAST_ID and any(letter.isdigit() for letter in word)


def in_order(hay: str, letters: str) -> bool:
    """Say whether `letters` all occur in `hay`, one behind the other."""
    at = 0
    for letter in letters:
        at = hay.find(letter, at) + 1
        if not at:
            return False
    return True


def fuzzy_score(hay: str, needle: str) -> float:
    """Return how well every word of `needle` is found in `hay`, 0 for not at all.

    Both are casefolded. Beginnings of words count most, then whole pieces, then letters in order.
    """
    total = 0.0
    for word in needle.split():
        score = _word_score(hay, word)
        if not score:
            return 0.0
        total += score
    return total or 1.0


def _word_score(hay: str, word: str) -> float:
    at = hay.find(word)
    if at == 0:
        return 4.0 + len(word) / (len(hay) + 1)
    if at > 0:
        begins = hay.find(" " + word) >= 0 or not hay[at - 1].isalnum()
        return (3.0 if begins else 2.0) + len(word) / (len(hay) + 1)
    if len(word) < 2 or not in_order(hay, word):
        return 0.0
    return _spread(hay, word)


def _spread(hay: str, word: str) -> float:
    """Return 0.1 to 1.5: letters that begin words or follow each other are worth more."""
    at, worth = -1, 0.0
    for letter in word:
        found = hay.find(letter, at + 1)
        together = found == at + 1 and at >= 0
        begins = found == 0 or not hay[found - 1].isalnum()
        worth += 1.0 if begins or together else 0.2
        at = found
    return max(0.1, 1.5 * worth / len(word))


def best_of(words: Iterable[str], wanted: str) -> str | None:
    """Return the word nearest to what was typed: for `did you mean`."""
    import difflib

    near = difflib.get_close_matches(wanted.casefold(), list(words), 1, 0.5)
    return near[0] if near else None
