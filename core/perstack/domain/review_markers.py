"""Reading a review's text, for reviewers that do not use the tool.

The text is a model's and may quote the code it is about, so that whoever wrote the code could
decide its review. Therefore: what stands in a fence or in a quotation does not count, the last
verdict wins, and where the code itself says something like a verdict no text can approve it. Nor
does a text that lists a grave issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeGuard

from perstack.domain.reviews import DEFAULT_FIX, GRAVE, SEVERITIES, Severity, Verdict

GENERIC_TITLE: Final = "Issues found in code review"
GENERIC_FIX: Final = "Address issues mentioned in review comments"

_VERDICT: Final = re.compile(r"\*\*VERDICT:[ \t]*(APPROVE|REJECT)\*\*", re.IGNORECASE)
_VERDICT_LIKE: Final = re.compile(r"verdict[\W_]{0,40}approve", re.IGNORECASE)
_LIST_MARK: Final = r"[ \t]*(?:(?:[-*+]|\d{1,4}[.)]|#{1,6})[ \t]+)?"
_HEADER: Final = re.compile(
    rf"^{_LIST_MARK}\*\*\[SEVERITY:[ \t]*(CRITICAL|HIGH|MEDIUM|LOW)\]\*\*[ \t]*[-–—][ \t]*(\S.*)$",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(rf"^{_LIST_MARK}\**VERDICT:", re.IGNORECASE)
_FIELD: Final = re.compile(
    rf"^{_LIST_MARK}\*\*(Location|Attack Vector|Impact|Required Fix)\*\*:[ \t]*(\S.*)$",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})(.*)$")


@dataclass(frozen=True, slots=True)
class FoundIssue:
    """An issue of the text, still without an id."""

    severity: Severity
    title: str
    location: str | None = None
    attack_vector: str | None = None
    impact: str | None = None
    required_fix: str = DEFAULT_FIX


@dataclass(frozen=True, slots=True)
class FoundReview:
    """What a text says. A text without a verdict rejects."""

    verdict: Verdict
    issues: tuple[FoundIssue, ...]


def parse_review(text: str, *, about: str) -> FoundReview:
    """Read a review `about` some code (and whatever else the reviewer was given)."""
    lines = list(_own_lines(text))
    issues = tuple(_issues(lines))
    verdict = _last_verdict(lines)
    grave = any(issue.severity in GRAVE for issue in issues)
    if verdict == "APPROVE" and not grave and _VERDICT_LIKE.search(about) is None:
        return FoundReview("APPROVE", issues)
    return FoundReview(
        "REJECT", issues or (FoundIssue("MEDIUM", GENERIC_TITLE, None, None, None, GENERIC_FIX),)
    )


def last_block(text: str) -> str:
    """Return what stands in the last closed fence of `text`, or all of it."""
    found, fence = text, ""
    block: list[str] | None = None
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if block is None:
            if mark is not None:
                fence, block = mark[1], []
        elif mark is not None and _closes(mark, fence):
            found, block = "\n".join(block), None
        else:
            block.append(line)
    return found


def fenced(code: str) -> str:
    """Return `code` in a fence that nothing within it can close."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{code}\n{fence}"


def _closes(mark: re.Match[str], fence: str) -> bool:
    return mark[1][0] == fence[0] and len(mark[1]) >= len(fence) and not mark[2].strip()


def _own_lines(text: str) -> Iterator[str]:
    """Yield the lines that are the reviewer's: outside of fences and quotations."""
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence:
            if mark is not None and _closes(mark, fence):
                fence = ""
        elif mark is not None:
            fence = mark[1]
        elif not line.lstrip().startswith(">"):
            yield line


def _last_verdict(lines: list[str]) -> Verdict | None:
    said = [found[1].upper() for line in lines for found in _VERDICT.finditer(line)]
    last = said[-1] if said else None
    return last if _is_verdict(last) else None


def _issues(lines: list[str]) -> Iterator[FoundIssue]:
    title: tuple[Severity, str] | None = None
    fields: dict[str, str] = {}
    for line in lines:
        header = _HEADER.match(line)
        if title is not None and (header is not None or _ENDS.match(line)):
            yield _issue(*title, fields)
            title, fields = None, {}
        if header is not None and _is_severity(severity := header[1].upper()):
            title = (severity, header[2].strip())
        elif title is not None and (said := _FIELD.match(line)):
            fields.setdefault(said[1].lower(), said[2].strip())
    if title is not None:
        yield _issue(*title, fields)


def _issue(severity: Severity, title: str, fields: dict[str, str]) -> FoundIssue:
    return FoundIssue(
        severity,
        title,
        fields.get("location"),
        fields.get("attack vector"),
        fields.get("impact"),
        fields.get("required fix", DEFAULT_FIX),
    )


def _is_severity(text: str) -> TypeGuard[Severity]:
    return text in SEVERITIES


def _is_verdict(text: str | None) -> TypeGuard[Verdict]:
    return text in ("APPROVE", "REJECT")
