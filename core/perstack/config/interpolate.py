"""`${NAME}` in a text of `perstack.toml`: filled in from the environment where the text is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_REFERENCE: Final = re.compile(r"\$\{([A-Za-z0-9_][A-Za-z0-9_-]*)\}")


def filled(text: str, env: Mapping[str, str]) -> str:
    """Return `text` with the variables' values; one that is not set is the empty text.

    A `$` that begins no `${NAME}` stays, and values are not looked through again.
    """
    return _REFERENCE.sub(lambda found: env.get(found[1], ""), text)


def variables_in(text: str) -> tuple[str, ...]:
    """Return the names that `text` takes from the environment, each once, in order."""
    return tuple(dict.fromkeys(_REFERENCE.findall(text)))


def is_reference(text: str) -> bool:
    """Tell whether `text` is one `${NAME}` and nothing else, so that it holds no secret itself."""
    return _REFERENCE.fullmatch(text) is not None
