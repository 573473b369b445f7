"""Which of two semantic versions is the higher one (semver.org, §11)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from perstack.domain.registry import is_version

_RELEASE: Final = b"\x02"
_PRE_RELEASE: Final = b"\x01"
_NUMBER: Final = b"\x01"
_WORD: Final = b"\x02"
_END: Final = b"\x00"
_LEADING_ZERO: Final = re.compile(r"0\d")


def order_of(version: str) -> bytes:
    """Return bytes that sort as the versions do: `1.2.0-b.2`, `1.2.0-b.11`, `1.2.0`, `1.10.0`.

    Versions that differ only in what follows `+` are in the order of that text: of two different
    versions one is always the higher.
    """
    rest, _, build = version.partition("+")
    numbers, _, pre_release = rest.partition("-")
    parts = [b"".join(b"%09d" % int(number) for number in numbers.split("."))]
    if pre_release:
        parts.append(_PRE_RELEASE)
        parts += [_identifier(each) for each in pre_release.split(".")]
    else:
        parts.append(_RELEASE)
    if build:
        parts.append(_END + build.encode())
    return b"".join(parts)


def _identifier(text: str) -> bytes:
    if not text.isdecimal():
        return _WORD + text.encode() + _END
    digits = text.lstrip("0") or "0"
    return _NUMBER + len(digits).to_bytes(2, "big") + digits.encode()


def is_pre_release(version: str) -> bool:
    """Tell whether a `-` and more follow the three numbers."""
    return "-" in version.partition("+")[0]


def is_canonical(version: str) -> bool:
    """Tell whether it is the only way to write that version: no number begins with a zero."""
    if not is_version(version):
        return False
    numbers, _, pre_release = version.partition("+")[0].partition("-")
    identifiers = [each for each in pre_release.split(".") if each.isdecimal()]
    return not any(_LEADING_ZERO.match(each) for each in (*numbers.split("."), *identifiers))


def highest(versions: Iterable[str]) -> str | None:
    """Return the highest of them that is no pre-release; of those only if there is nothing else."""
    known = sorted(versions, key=order_of)
    releases = [each for each in known if not is_pre_release(each)]
    return (releases or known or [None])[-1]
