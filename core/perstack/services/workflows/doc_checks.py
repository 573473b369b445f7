"""What can be checked of documents without a model. Blocks: call it in a worker thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Final
from urllib.parse import unquote

from pydantic import JsonValue

from perstack.domain.documents import Document, Reference, anchors, read_document
from perstack.domain.workflows import Finding, FindingSeverity
from perstack.services.workflows.files import Files

MAX_SHOWN: Final = 500


@dataclass(frozen=True)
class Shelf:
    """All documents as they stand now, by path. `unread` could not be read, `cut`: too many."""

    files: Files
    documents: Mapping[str, Document]
    hashes: Mapping[str, str]
    unread: tuple[str, ...]
    missing: bool
    cut: bool

    @cached_property
    def _sources(self) -> frozenset[str]:
        """Every source, by every tail of its path, since documents leave out where it begins."""
        tails: set[str] = set()
        for path in self.files.sources().paths:
            parts = path.split("/")
            tails.update("/".join(parts[start:]) for start in range(len(parts)))
        return frozenset(tails)

    def stale_references(self, severity: FindingSeverity) -> list[Finding]:
        """Return a finding for each source file that a document names and that is not there."""
        return [
            Finding(
                claim=f"{document.path} refers to `{reference.target}`",
                contradiction=f"There is no file {reference.target}",
                severity=severity,
                evidence=(f"{document.path}:{reference.line}",),
                file=document.path,
                line=reference.line,
            )
            for document in self.documents.values()
            for reference in document.code_references
            if not self._has_source(reference, document)
        ]

    def broken_links(self) -> list[Finding]:
        """Return a finding for each link that leads nowhere, and each fence that is not closed."""
        found = [
            _link_finding(document, reference, why, severity)
            for document in self.documents.values()
            for reference in document.links
            if (said := self._broken(document, reference)) is not None
            for why, severity in (said,)
        ]
        found.extend(
            _fence_finding(document.path, document.open_fence)
            for document in self.documents.values()
            if document.open_fence is not None
        )
        return found

    def inventory(self) -> list[JsonValue]:
        """Return what is known of each document, for the report."""
        return [
            {
                "path": document.path,
                "type": document.type,
                "intent": document.intent,
                "codeReferences": [one.target for one in document.code_references],
                "languages": list(document.languages),
            }
            for document in list(self.documents.values())[:MAX_SHOWN]
        ]

    def _has_source(self, reference: Reference, document: Document) -> bool:
        target = reference.target
        if self.files.is_there(target, document=document.path):
            return True
        return target.lstrip("./").removeprefix("~/") in self._sources

    def _broken(
        self, document: Document, reference: Reference
    ) -> tuple[str, FindingSeverity] | None:
        path, _, anchor = reference.target.partition("#")
        path = unquote(path.partition("?")[0])
        if path and not self.files.is_there(path, document=document.path):
            return f"There is no file {path}", "medium"
        there = document if not path else self._document(path, document)
        if anchor and there is not None and unquote(anchor).lower() not in anchors(there):
            return f"{there.path} has no heading #{anchor}", "low"
        return None

    def _document(self, path: str, document: Document) -> Document | None:
        folder = document.path.rpartition("/")[0]
        parts: list[str] = folder.split("/") if folder and not path.startswith("/") else []
        for part in path.split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return self.documents.get("/".join(parts))


def take_stock(files: Files) -> Shelf:
    """Read all documents."""
    found = files.documents()
    documents: dict[str, Document] = {}
    hashes: dict[str, str] = {}
    unread: list[str] = []
    for path in found.paths if found is not None else ():
        text = files.read(path) if path.isprintable() else None
        if text is None:
            # A name that is no plain text would be no plain text in a prompt either.
            unread.append(path.encode("utf-8", "replace").decode())
        else:
            documents[path] = read_document(path, text)
            hashes[path] = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Shelf(
        files,
        documents,
        hashes,
        tuple(unread),
        missing=found is None,
        cut=found is not None and found.cut,
    )


def by_document(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Return the findings that are about a document, by its path."""
    about: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.file is not None:
            about.setdefault(finding.file, []).append(finding)
    return about


def _link_finding(
    document: Document, reference: Reference, why: str, severity: FindingSeverity
) -> Finding:
    return Finding(
        claim=f"{document.path} links to {reference.target}",
        contradiction=why,
        severity=severity,
        evidence=(f"{document.path}:{reference.line}",),
        file=document.path,
        line=reference.line,
    )


def _fence_finding(path: str, line: int) -> Finding:
    return Finding(
        claim=f"{path} opens a code block",
        contradiction="It is never closed",
        severity="low",
        evidence=(f"{path}:{line}",),
        file=path,
        line=line,
    )
