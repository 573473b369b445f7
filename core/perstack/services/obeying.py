"""What each kind of order means to the helm of a run."""

from __future__ import annotations

import logging
from typing import Final, assert_never

from pydantic import ValidationError

from perstack.domain.agents import Order
from perstack.domain.orders import DefinitionOrder, Raise, RetryOrder
from perstack.ports.desk import Helm

_LOG: Final = logging.getLogger(__name__)


def obey(helm: Helm, order: Order) -> None:
    """Hand an order to the run; one that cannot be read is logged and does nothing."""
    try:
        _obey(helm, order, order.text or "")
    except ValidationError:
        _LOG.warning("an order of %s (%s) cannot be read", order.by, order.kind)


def _obey(helm: Helm, order: Order, text: str) -> None:
    by = order.by
    match order.kind:
        case "stop":
            helm.stop(by)
        case "stopNow":
            helm.stop(by, now=True)
        case "pause":
            helm.pause(by, order.text)
        case "resume":
            helm.resume(by)
        case "steer":
            helm.steer(text, by)
        case "model":
            helm.change_model(text, by)
        case "definition":
            helm.take_definition(DefinitionOrder.model_validate_json(text).experts, by)
        case "budget":
            helm.raise_budget(Raise.model_validate_json(text), by)
        case "retry":
            helm.retry(RetryOrder.model_validate_json(text), by)
        case _:
            assert_never(order.kind)
