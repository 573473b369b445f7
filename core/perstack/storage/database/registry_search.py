"""Looking for Experts in the tables of a registry."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from perstack.domain.registry import ExpertQuery, SortKey
from perstack.storage.database.registry_tables import NAMES, RECORD, VERSIONS
from perstack.storage.database.text import safe_text

_ESCAPE: Final = "!"
_BY: Final[dict[SortKey, sa.ColumnElement[object]]] = {
    # By the characters' numbers, whatever language a server speaks.
    "name": sa.cast(VERSIONS.c.name, sa.LargeBinary),
    "version": VERSIONS.c.precedence,
    "createdAt": VERSIONS.c.created_at,
    "updatedAt": VERSIONS.c.updated_at,
}


def page_query(
    query: ExpertQuery,
) -> tuple[sa.Select[tuple[object, ...]], sa.Select[int]]:
    """Return what finds the rows of a page, and what counts all of them."""
    found = sa.select(*RECORD).join(NAMES, NAMES.c.latest_id == VERSIONS.c.id)
    if query.organization_id is not None:
        found = found.where(NAMES.c.organisation_id == safe_text(query.organization_id))
    for word in safe_text(query.filter or "").casefold().split():
        found = found.where(VERSIONS.c.words.contains(word, autoescape=True, escape=_ESCAPE))
    count = sa.select(sa.func.count()).select_from(found.subquery())
    by = _BY[query.sort]
    order = by.desc() if query.order == "desc" else by.asc()
    page = found.order_by(order, _BY["name"].asc()).limit(query.take).offset(query.skip)
    return page, count
