"""HTTP headers in `perstack.toml`: their names, their values, and those that are secrets."""

from __future__ import annotations

import re
from typing import Final

from perstack.config import limits
from perstack.config.table import Table

_SECRET: Final = re.compile(
    r"(?:.*[-_])?(?:auth(?:orization)?|cookie|credentials?|passw(?:or)?d|(?:api)?[-_]?key|secret|token)s?",
    re.IGNORECASE,
)


def read_headers(table: Table, *, instead: str) -> dict[str, str]:
    """Read `headers`, sent as they stand.

    A header that seems to hold a secret is warned of; `instead` is where secrets belong.
    """
    headers = table.table("headers")
    if headers is None or are_too_many(headers):
        return {}
    read: dict[str, str] = {}
    for name in headers.keys:
        value = headers.text(name)
        check_header_name(headers, name)
        if value is None:
            continue
        if not value.isascii() or not value.isprintable():
            headers.problem(name, "must be printable ASCII text")
        elif holds_secret(name):
            headers.warn(name, "looks like a secret, which does not belong into this file", instead)
        read[name] = value
    return read


def holds_secret(name: str) -> bool:
    """Tell whether a header's name says that its value is a secret."""
    return _SECRET.fullmatch(name) is not None


def are_too_many(headers: Table) -> bool:
    """Report more headers than anybody sends; tell whether there are."""
    count = len(headers.keys)
    if count > limits.LIST_ITEMS:
        headers.report.problem(
            headers.at, f"may have at most {limits.LIST_ITEMS} headers; it has {count:,}"
        )
    return count > limits.LIST_ITEMS


def check_header_name(headers: Table, name: str) -> None:
    """Report a key that is no header's name."""
    if not limits.HEADER_NAME.fullmatch(name) or len(name) > limits.NAME_LENGTH:
        headers.problem(name, "is not a header name: use letters, digits and '-'")
