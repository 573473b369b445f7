"""What is known of models by name: the shipped table, and what the user states on top of it.

A figure that no source states is None: unknown, and shown so.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from perstack.domain.base import Model
from perstack.domain.settings import ProviderName, is_of_plugin
from perstack.domain.usage import ModelFacts

OWN_SOURCE: Final = "perstack.toml"

_FILE: Final = Path(__file__).with_name("models.data.toml")
_SNAPSHOT: Final = re.compile(r"-latest|-\d{4}-\d{2}-\d{2}|[-@]\d{8}|@default|-\d{3}")
# What clouds and gateways put around a name: us.anthropic.claude-…-v1:0, models/gemini-….
_WRAPPED: Final = re.compile(
    r"(?:(?:[a-z]+\.)?anthropic\.|models/|(?:anthropic|openai|google|deepseek)/)?"
    r"(?P<name>.+?)(?:-v\d+(?::\d+)?)?"
)


class _Entry(ModelFacts):
    """One model of the data file."""

    retires: date | None = None
    price_until: date | None = None


class _Section(Model):
    """One vendor of the data file."""

    source: str
    retired: tuple[str, ...] = ()
    models: dict[str, _Entry]


@dataclass(frozen=True, slots=True)
class _Known:
    """A model of the table. `vendor` makes it."""

    vendor: str
    entry: _Entry
    source: str

    @property
    def facts(self) -> ModelFacts:
        """What the table states of it."""
        return ModelFacts(
            context_window=self.entry.context_window,
            max_output_tokens=self.entry.max_output_tokens,
            thinks=self.entry.thinks,
            price=self.entry.price,
            source=self.entry.source or self.source,
        )


def facts_of(
    model: str,
    own: Mapping[str, ModelFacts],
    *,
    provider: ProviderName | None = None,
    elsewhere: bool = False,
    now_ms: int | None = None,
) -> ModelFacts:
    """Return what is known of `model`; what the user states in `own` wins, key by key.

    The table's price is the vendor's own: it is left out where another `provider` serves the
    model, where requests go `elsewhere` than to the vendor's address, and, at `now_ms` (Unix ms),
    after the last day that it is said to hold. What a plugin's provider serves under a name is
    known to nobody else.
    """
    known = None if provider is not None and is_of_plugin(provider) else _find(model)
    facts = known.facts if known else ModelFacts()
    if known is not None and (
        elsewhere or provider not in {None, known.vendor} or _is_over(known.entry, now_ms)
    ):
        facts = facts.model_copy(update={"price": None})
    stated = own.get(model)
    return facts if stated is None else _joined(stated, facts)


def models_of(provider: ProviderName, *, now_ms: int) -> list[str]:
    """Return the models that the provider makes, and serves at `now_ms` (Unix ms), newest first."""
    section = _sections().get(provider)
    today = datetime.fromtimestamp(now_ms / 1000, tz=UTC).date()
    if section is None:
        return []
    return [
        name
        for name, entry in section.models.items()
        if entry.retires is None or entry.retires > today
    ]


def vendor_of(model: str) -> str | None:
    """Return the provider whose own model it is, None where the table does not know it."""
    known = _find(model)
    return known.vendor if known else None


def retirement(model: str) -> date | None:
    """Return the day from which its vendor serves the model no longer, None if none is said."""
    known = _find(model)
    return known.entry.retires if known else None


def is_retired(model: str) -> bool:
    """Tell whether the model is of a generation that is gone without a date of its own."""
    return model.startswith(tuple(start for part in _sections().values() for start in part.retired))


def _joined(stated: ModelFacts, facts: ModelFacts) -> ModelFacts:
    own = {key: value for key, value in stated if value is not None and key != "source"}
    if not own:
        return facts
    source = stated.source or OWN_SOURCE
    if facts.source and any(
        value is not None for key, value in facts if key not in {*own, "source"}
    ):
        source = f"{source}; {facts.source}"
    return facts.model_copy(update={**own, "source": source})


def _is_over(entry: _Entry, now_ms: int | None) -> bool:
    if entry.price_until is None or now_ms is None:
        return False
    return datetime.fromtimestamp(now_ms / 1000, tz=UTC).date() > entry.price_until


def _find(model: str) -> _Known | None:
    """Find the model by its name as it stands, else by that of which it is a snapshot."""
    table = _table()
    wrapped = _WRAPPED.fullmatch(model)
    name = wrapped["name"] if wrapped else model
    for whole in (model, name):
        if whole in table:
            return table[whole]
    cuts = (at for at in range(len(name) - 1, 0, -1) if _SNAPSHOT.fullmatch(name, at))
    return next((table[name[:at]] for at in cuts if name[:at] in table), None)


@lru_cache(maxsize=1)
def _sections() -> dict[str, _Section]:
    with _FILE.open("rb") as file:
        return {name: _Section.model_validate(said) for name, said in tomllib.load(file).items()}


@lru_cache(maxsize=1)
def _table() -> dict[str, _Known]:
    return {
        name: _Known(vendor, entry, section.source)
        for vendor, section in _sections().items()
        for name, entry in section.models.items()
    }
