"""Links in what a tool was given or answered."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from perstack.projection.views import EntryView

MOST: Final = 9
# Of what can be seen only: a link that hides something is none.
_LINK: Final = re.compile(r"https?://[!#-&(-;=?-\[\]-_a-z|~]{3,2000}")
_BEHIND: Final = ".,;:!?)]|*_"


def links_in(entry: EntryView) -> tuple[str, ...]:
    """Return the entry's links, at most nine, each once: of the call first, then of its result."""
    call = entry.call
    texts = ("" if call is None else call.args, entry.title, entry.text)
    found = (match.group().rstrip(_BEHIND) for text in texts for match in _LINK.finditer(text))
    return tuple(dict.fromkeys(link for link in found if site_of(link)))[:MOST]


def site_of(link: str) -> str:
    """Return the machine that a link leads to, empty when it names none."""
    try:
        return urlsplit(link).hostname or ""
    except ValueError:
        return ""
