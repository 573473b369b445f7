"""What an adapter is made from; the same for every vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from perstack.domain.settings import ProviderSettings
from perstack.domain.usage import ModelFacts
from perstack.providers.models import ReasoningBudget


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that says which model is asked, where and how.

    `env` alone is looked at for keys and addresses. `timeout_s` bounds every wait for the vendor;
    `facts` is what is known of the model.
    """

    settings: ProviderSettings
    model: str
    env: Mapping[str, str] = field(repr=False)
    reasoning_budget: ReasoningBudget = "low"
    timeout_s: float = 300.0
    facts: ModelFacts = field(default_factory=ModelFacts)
