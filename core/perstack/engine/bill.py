"""What one generation used, as its event tells it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Final

from perstack.domain.usage import NO_USAGE, Usage, cost_usd
from perstack.ports.model import ChatModel, Generation


@dataclass(frozen=True, slots=True)
class Bill:
    """Tokens, USD and the share of the context window that was filled; None is unknown."""

    usage: Usage = NO_USAGE
    cost_usd: float | None = None
    context_window_usage: float | None = None


NO_BILL: Final = Bill()


def bill_for(answer: Generation, model: ChatModel) -> Bill:
    """Return what the answer used.

    An answer that took several requests costs what each of them does, as prices go by the length
    of a request; the window holds what the last of them read and wrote.
    """
    requests = [usage.believable() for usage in answer.requests or (answer.usage,)]
    costs = [cost_usd(usage, model.price) for usage in requests]
    known = [usd for usd in costs if usd is not None]
    last, window = requests[-1], model.context_window
    return Bill(
        usage=reduce(Usage.plus, requests),
        cost_usd=sum(known) if len(known) == len(costs) else None,
        context_window_usage=(
            round(last.total_tokens / window, 4) if window and not last.partial else None
        ),
    )
