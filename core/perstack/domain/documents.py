"""What a Markdown document says of the files around it: pure reading, no Markdown parser.

Lines in fences are not read, but for their languages and diagrams.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

DocumentType = Literal["readme", "changelog", "adr", "api", "ops", "architecture", "guide", "other"]

MAX_REFERENCES: Final = 500

_FENCE: Final = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]{0,40})")
_HEADING: Final = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*$")
_CODE: Final = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]{1,300})\1(?!`)")
_SOURCE: Final = re.compile(
    r"((?:[\w@.~-]*/)*[\w@.~-]*\w\.(?:ts|js|py|go|rs|java|tsx|jsx))(?::\d+(?:-\d+)?)?"
)
_LINK: Final = re.compile(
    r"!?\[[^\]\n]{0,300}\]\(<?([^)\s>]{1,500})>?(?:[ \t]+[\"'(][^\n)]{0,300})?\)"
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")
_SLUG_DROPS: Final = re.compile(r"[^\w\- ]")
_DIAGRAMS: Final = ("mermaid", "plantuml", "dot", "graphviz", "d2")
# Names that end like a file and are none.
_PRODUCTS: Final = frozenset(
    f"{name}.js"
    for name in (
        "node", "next", "vue", "nuxt", "react", "express", "three", "d3", "ember", "angular",
        "backbone", "chart", "electron", "deno",
    )
)  # fmt: skip
_TYPES: Final[tuple[tuple[DocumentType, re.Pattern[str]], ...]] = (
    ("readme", re.compile(r"(^|/)readme[^/]*$")),
    ("changelog", re.compile(r"(^|/)(changelog|changes|history)[^/]*$")),
    ("adr", re.compile(r"(^|/)(adrs?|decisions)/|(^|/)adr[-_]")),
    ("api", re.compile(r"(^|/)api[-_./]")),
    ("ops", re.compile(r"(^|/)(ops|runbooks?|deploy(ment|ing)?|operations)[-_./]")),
    ("architecture", re.compile(r"(^|/)(architecture|design)[-_./]")),
    ("guide", re.compile(r"(^|/)(guides?|tutorials?|how-?to|getting-started)[-_./]")),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A file or address that is named in a document, and the line (from 1) it is named in."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """What is known of a document."""

    path: str
    type: DocumentType
    intent: str
    headings: tuple[str, ...]
    code_references: tuple[Reference, ...]
    links: tuple[Reference, ...]
    languages: tuple[str, ...]
    diagrams: int
    open_fence: int | None


def read_document(path: str, text: str) -> Document:
    """Read a document; `path` is relative, with slashes."""
    headings: list[str] = []
    code: list[Reference] = []
    links: list[Reference] = []
    languages: Counter[str] = Counter()
    fence, opened = "", None
    for number, line in enumerate(text.splitlines(), start=1):
        mark = _FENCE.match(line)
        if fence:
            if mark is not None and _closes(line, fence):
                fence, opened = "", None
        elif mark is not None:
            fence, opened = mark[1], number
            languages[mark[2].lower()] += 1
        else:
            headings.extend(found[2] for found in _HEADING.finditer(line))
            code.extend(Reference(target, number) for target in _sources(line))
            links.extend(Reference(target, number) for target in _links(line))
    return Document(
        path=path,
        type=_type_of(path, headings),
        intent=headings[0][:200] if headings else "",
        headings=tuple(headings),
        code_references=tuple(code[:MAX_REFERENCES]),
        links=tuple(links[:MAX_REFERENCES]),
        languages=tuple(sorted(filter(None, languages))),
        diagrams=sum(languages[name] for name in _DIAGRAMS),
        open_fence=opened,
    )


def anchors(document: Document) -> frozenset[str]:
    """Return the anchors that links to a document's headings may name."""
    seen: Counter[str] = Counter()
    made: set[str] = set()
    for heading in document.headings:
        slug = _SLUG_DROPS.sub("", heading.lower()).strip().replace(" ", "-")
        made.add(slug if not seen[slug] else f"{slug}-{seen[slug]}")
        seen[slug] += 1
    return frozenset(made)


@dataclass(frozen=True, slots=True)
class Change:
    """How a document changed."""

    sections_added: int
    sections_removed: int
    diagrams_updated: int


def compare(before: str, after: str) -> Change:
    """Return how many sections and diagrams differ between two texts of a document."""
    old, new = read_document("", before), read_document("", after)
    was, now = Counter(old.headings), Counter(new.headings)
    old_diagrams, new_diagrams = Counter(_diagrams(before)), Counter(_diagrams(after))
    changed = max((old_diagrams - new_diagrams).total(), (new_diagrams - old_diagrams).total())
    return Change((now - was).total(), (was - now).total(), changed)


def _sources(line: str) -> Iterator[str]:
    for span in _CODE.finditer(line):
        found = _SOURCE.fullmatch(span[2].strip())
        if found is not None and found[1].lower() not in _PRODUCTS:
            yield found[1]


def _links(line: str) -> Iterator[str]:
    for found in _LINK.finditer(_CODE.sub("", line)):
        if _SCHEME.match(found[1]) is None:
            yield found[1]


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(fence) and set(stripped) == {fence[0]}


def _type_of(path: str, headings: list[str]) -> DocumentType:
    lowered = path.lower()
    for kind, pattern in _TYPES:
        if pattern.search(lowered):
            return kind
    title = headings[0].lower() if headings else ""
    if "architecture" in title:
        return "architecture"
    if "api" in title.split():
        return "api"
    return "guide" if "guide" in title else "other"


def _diagrams(text: str) -> Iterator[str]:
    """Yield the text of each diagram."""
    fence, language = "", ""
    block: list[str] = []
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence and mark is not None and _closes(line, fence):
            if language in _DIAGRAMS:
                yield "\n".join(block)
            fence, block = "", []
        elif fence:
            block.append(line)
        elif mark is not None:
            fence, language = mark[1], mark[2].lower()
