"""What the user states of models: `[models."name"]` of `perstack.toml`."""

from __future__ import annotations

from perstack.config import limits
from perstack.config.table import Table
from perstack.domain.usage import ModelFacts, ModelPrice


def read_models(top: Table) -> dict[str, ModelFacts]:
    """Read the facts by model name; what is not stated stays unknown."""
    table = top.table("models")
    if table is None:
        return {}
    if len(table.keys) > limits.LIST_ITEMS:
        top.problem("models", f"may have {limits.LIST_ITEMS} models; it has {len(table.keys)}")
    read: dict[str, ModelFacts] = {}
    for name, entry in table.tables():
        if not 1 <= len(name) <= limits.NAME_LENGTH or not name.isprintable():
            table.problem(name, f"has 1 to {limits.NAME_LENGTH} printable characters")
        read[name] = _read_facts(entry)
    return read


def _read_facts(entry: Table) -> ModelFacts:
    read = ModelFacts(
        context_window=entry.integer("contextWindow", limits.MODEL_TOKENS),
        max_output_tokens=entry.integer("maxOutputTokens", limits.MODEL_TOKENS),
        thinks=entry.flag("thinks"),
        price=_read_price(entry),
        source=entry.text("source"),
    )
    entry.close()
    return read


def _read_price(entry: Table) -> ModelPrice | None:
    table = entry.table("price")
    if table is None:
        return None
    for key in ("input", "output"):
        if key not in table:
            table.problem(key, "must be given: USD for a million tokens")
    read = ModelPrice(
        input=table.number("input", limits.PRICE_USD) or 0.0,
        output=table.number("output", limits.PRICE_USD) or 0.0,
        cached_input=table.number("cachedInput", limits.PRICE_USD),
        cache_write=table.number("cacheWrite", limits.PRICE_USD),
    )
    # A misspelt price would make a budget in USD count too little.
    table.close(gates=("input", "output", "cachedInput", "cacheWrite"))
    return read
