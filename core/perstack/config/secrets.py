"""Keeps secrets out of what is shown, logged or stored. Loads no models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

REDACTED: Final = "[redacted]"

_SECRET_NAME: Final = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|DSN)S?(?:_?\d+)?"
    r"(?:_(?:ID|B64|BASE64|JSON|PEM|PROD|DEV|TEST|LIVE|VALUE))*$",
    re.IGNORECASE,
)
_URL_PASSWORD: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_SHORTEST: Final = 8
_SHORTEST_LINE: Final = 16


def secret_values(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values, longest first, of variables whose names or contents say secret.

    Values shorter than 8 characters are left out: hiding them would garble ordinary text.
    Passwords inside URLs and the lines of multi-line keys count as values of their own.
    """
    found: set[str] = set()
    for name, value in env.items():
        found.update(_URL_PASSWORD.findall(value))
        if _names_secret(name):
            found.add(value.strip())
            lines = value.split("\n")
            found.update(line for line in lines[1:-1] if len(line) >= _SHORTEST_LINE)
    return tuple(sorted((each for each in found if len(each) >= _SHORTEST), key=_by_length))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every occurrence of a secret, plain or as JSON or a URL writes it."""
    for secret in secrets:
        for form in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
            if form in text:
                text = text.replace(form, REDACTED)
    return text


def _names_secret(name: str) -> bool:
    """Tell whether a variable's name ends in a word for secrets: `MY_API_KEY`, `apikey2`."""
    return _SECRET_NAME.search(name[-128:]) is not None


def _by_length(text: str) -> tuple[int, str]:
    return -len(text), text
