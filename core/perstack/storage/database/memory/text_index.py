"""The words of all entries: FTS5 on SQLite, tsvector on PostgreSQL. Any text is a literal query."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

import sqlalchemy as sa

from perstack.domain.memory import Scope, SearchMode
from perstack.storage.database.memory.rows import Shape, limits, shape_of, values, within
from perstack.storage.database.memory.tables import ENTRIES
from perstack.storage.database.schema.dialect import is_sqlite
from perstack.storage.database.text import safe_text

CANDIDATES: Final = 5_000
"""Of how many matches, the newest, the best are looked for."""

_TERMS: Final = 64
_SMALL_NAMESPACE: Final = 2_000
_WORD: Final = re.compile(r"[^\W_]+")
# A tsvector holds a megabyte; what stands further back in a content is not found by its words.
_INDEXED_CHARS: Final = 150_000
_E: Final = ENTRIES.c

Ranked = Sequence[tuple[int, float]]
"""Numbers of entries and their scores, 0..1, best first."""


class TextIndex(Protocol):
    """Keeps the index in the transaction that changes the entries."""

    def add(self, connection: sa.Connection, number: int, key: str, content: str) -> None:
        """Index an entry that is not in the index."""
        ...

    def remove(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
        """Take entries out, before they are changed or deleted."""
        ...

    def find(
        self, connection: sa.Connection, query: TextQuery, scope: Scope, *, limit: int
    ) -> Ranked:
        """Return the best of those that fit."""
        ...


class TextQuery:
    """What is looked for: parts between spaces, each one or more words in order."""

    def __init__(self, parts: Sequence[str], *, any_part: bool = False, prefix: bool = False):
        self.parts = parts
        self.any_part = any_part
        self.prefix = prefix


def text_index(connection: sa.Connection) -> TextIndex:
    """Return the index of the kind of database."""
    return _Fts5() if is_sqlite(connection) else _TsVector()


def queries(text: str, mode: SearchMode) -> Sequence[TextQuery]:
    """Return what to look for, in turn until something is found; nothing if there is no word."""
    parts = list(dict.fromkeys(part for part in safe_text(text).split() if _WORD.search(part)))
    if not parts:
        return ()
    if mode == "phrase":
        return (TextQuery([safe_text(text)]),)
    parts = parts[:_TERMS]
    if mode == "prefix":
        return (TextQuery(parts, prefix=True),)
    every = TextQuery(parts)
    return (every, TextQuery(parts, any_part=True)) if len(parts) > 1 else (every,)


_FTS: Final = sa.table(
    "memory_text",
    sa.column("memory_text", sa.Text),
    sa.column("rowid", sa.BigInteger),
    sa.column("key", sa.Text),
    sa.column("content", sa.Text),
)
_FTS_INSERT: Final = _FTS.insert()


class _Fts5:
    """The table holds no texts of its own: what is taken out is named as it was put in."""

    def add(self, connection: sa.Connection, number: int, key: str, content: str) -> None:
        connection.execute(_FTS_INSERT, {"rowid": number, "key": key, "content": content})

    def remove(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
        gone = sa.select(sa.literal("delete"), _E.number, _E.key, _E.content).where(where)
        names = ["memory_text", "rowid", "key", "content"]
        connection.execute(_FTS.insert().from_select(names, gone))

    def find(
        self, connection: sa.Connection, query: TextQuery, scope: Scope, *, limit: int
    ) -> Ranked:
        filled: dict[str, str | int] = {
            **values(scope),
            "match": _match(query),
            "most": limit,
            "looked_at": CANDIDATES,
        }
        small = False
        if scope.namespace is not None:
            place = {
                "in_namespace": filled["in_namespace"],
                "counted": _SMALL_NAMESPACE + 1,
            }
            number, least, greatest = connection.execute(_bounds(), place).one()
            if not number:
                return []
            small = number <= _SMALL_NAMESPACE
            if small:
                filled.update(least=least, greatest=greatest)
        rows = connection.execute(_fts_query(shape_of(scope), small), filled)
        return [(int(row[0]), _score(float(row[1]))) for row in rows]


def _match(query: TextQuery) -> str:
    quoted = ['"' + part.replace('"', '""') + '"' for part in query.parts]
    return (" OR " if query.any_part else " ").join(quoted) + (" *" if query.prefix else "")


@cache
def _bounds() -> sa.Select[*tuple[int, ...]]:
    """Count a namespace's entries, up to one more than make a small one, and where they lie."""
    in_namespace = _E.namespace == sa.bindparam("in_namespace", type_=sa.Text)
    few = sa.select(_E.number).where(in_namespace).limit(sa.bindparam("counted")).subquery()
    return sa.select(sa.func.count(), sa.func.min(few.c.number), sa.func.max(few.c.number))


@cache
def _fts_query(shape: Shape, small: bool) -> sa.Select[int, float]:
    """Rank the newest matches within a scope.

    Looking up each match's entry is slow where a common word meets a small namespace: its numbers
    are a set then, and of the index only the part between the least and the greatest is read.
    """
    rank = sa.func.bm25(sa.literal_column("memory_text"), 4.0, 1.0).label("rank")
    match = _FTS.c.memory_text.op("MATCH")(sa.bindparam("match", type_=sa.Text))
    found = sa.select(_FTS.c.rowid, rank).where(match)
    if small:
        part = _FTS.c.rowid.between(sa.bindparam("least"), sa.bindparam("greatest"))
        # The plus keeps SQLite from searching anew for each number.
        number = sa.literal_column("+memory_text.rowid", sa.BigInteger)
        found = found.where(part, number.in_(sa.select(_E.number).where(*limits(shape))))
    elif limits(shape):
        joined = _FTS.join(ENTRIES, _E.number == _FTS.c.rowid)
        found = found.select_from(joined).where(*limits(shape, indexed=False))
    newest = found.order_by(_FTS.c.rowid.desc()).limit(sa.bindparam("looked_at")).subquery()
    best = sa.select(newest.c.rowid, newest.c.rank)
    return best.order_by(newest.c.rank, newest.c.rowid.desc()).limit(sa.bindparam("most"))


def _score(bm25: float) -> float:
    # BM25 is better the lower it is, and close to -1e-6 for words that most entries have.
    root = max(-bm25, 1e-12) ** 0.25
    return round(root / (1 + root), 6)


class _TsVector:
    _table: Final = sa.table("memory_text", sa.column("entry", sa.BigInteger), sa.column("words"))
    _language: Final[sa.ColumnElement[str]] = sa.literal_column(
        "'perstack_text'::regconfig", sa.Text
    )

    def add(self, connection: sa.Connection, number: int, key: str, content: str) -> None:
        words = self._weighed(key, "A").op("||")(self._weighed(content, "D"))
        connection.execute(self._table.insert().values(entry=number, words=words))

    def remove(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> None:
        gone = self._table.c.entry.in_(sa.select(_E.number).where(where))
        connection.execute(self._table.delete().where(gone))

    def find(
        self, connection: sa.Connection, query: TextQuery, scope: Scope, *, limit: int
    ) -> Ranked:
        table = self._table
        wanted = self._wanted(query)
        found = (
            sa.select(table.c.entry, sa.func.ts_rank_cd(table.c.words, wanted, 33).label("rank"))
            .join(ENTRIES, _E.number == table.c.entry)
            .where(table.c.words.op("@@")(wanted), *within(scope))
        )
        newest = found.order_by(table.c.entry.desc()).limit(CANDIDATES).subquery()
        best = sa.select(newest).order_by(newest.c.rank.desc(), newest.c.entry.desc())
        rows = connection.execute(best.limit(limit))
        return [(int(row[0]), round(float(row[1]), 6)) for row in rows]

    def _weighed(self, text: str, weight: str) -> sa.ColumnElement[str]:
        # Cut once more: one character may stand for eighteen.
        words = " ".join(_plain_words(text[:_INDEXED_CHARS]))[:_INDEXED_CHARS]
        vector = sa.func.to_tsvector(self._language, words)
        return sa.func.setweight(vector, sa.literal_column(f"'{weight}'"))

    def _wanted(self, query: TextQuery) -> sa.ColumnElement[str]:
        parts = [_plain_words(part) for part in query.parts]
        asked: sa.ColumnElement[str] | None = None
        for place, words in enumerate(parts):
            last = query.prefix and place == len(parts) - 1
            one = (
                sa.func.to_tsquery(
                    self._language, " <-> ".join(f"'{word}'" for word in words) + ":*"
                )
                if last
                else sa.func.phraseto_tsquery(self._language, " ".join(words))
            )
            asked = one if asked is None else asked.op("||" if query.any_part else "&&")(one)
        return sa.func.to_tsquery("") if asked is None else asked


def _plain_words(text: str) -> Sequence[str]:
    """Return the words without accents, as FTS5 sees them."""
    bare = "".join(
        mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark)
    )
    return _WORD.findall(bare)
