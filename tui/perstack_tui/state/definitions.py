"""What is wrong with `perstack.toml`, in a form that fits a line: file and line number first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from perstack.domain.ids import ExpertKey
from perstack_tui.ports.gateway import DefinitionsUpdate

_LINE: Final = re.compile(r"\bline (\d+)")
_BULLET: Final = "\n  - "


def definitions_problem(definitions: DefinitionsUpdate) -> str:
    """Return `perstack.toml:26: …` for the first problem, "" when there is none.

    A problem with another file, say `.env`, begins with that file's name.
    """
    error, path = definitions.error, definitions.path or Path("perstack.toml")
    if not error:
        return ""
    if error.startswith(f"{path.parent}/") and str(path) not in error:
        return shortened(error, path)
    return _placed(error, path)


def shortened(message: str, path: Path) -> str:
    """Return `message` without the folder of `path`; one about the file itself, its line first."""
    if str(path) in message:
        return _placed(message, path)
    return message.replace(f"{path.parent}/", "")


def is_here(definitions: DefinitionsUpdate, expert: ExpertKey) -> bool:
    """Say whether an Expert needs no registry: it is one's own, and delegates to one's own."""
    known = {one.key: one for one in (*definitions.builtins, *definitions.experts)}
    waiting, seen = [expert], set[ExpertKey]()
    while waiting:
        key = waiting.pop()
        if key not in known:
            return False
        if key not in seen:
            seen.add(key)
            waiting.extend(known[key].delegates)
    return True


def _placed(error: str, path: Path) -> str:
    line = _LINE.search(problems_in(error)[0])
    place = f"{path.name}:{line.group(1)}" if line is not None else path.name
    return f"{place}: {_what(error.replace(str(path), '', 1), line.group() if line else '')}"


def _what(error: str, line: str) -> str:
    first, *more = problems_in(error)
    what = first.strip(" :").removeprefix("is ").replace(f" ({line})", "", 1)
    others = f" (and {len(more)} more: ^r)" if more else ""
    return what.removeprefix(f"{line}: ") + others


def problems_in(error: str) -> list[str]:
    """Return the problems that the error lists; the one that says what was meant comes first.

    A key that is misspelt is missing, too: what was meant tells more than that.
    """
    found = error.partition("Validation failed:")[2] or error
    each = found.removeprefix(_BULLET).split(_BULLET)
    return sorted(each, key=lambda one: "did you mean" not in one)
