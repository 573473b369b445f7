"""Which secrets of the settings are not written down with a run or shown."""

from __future__ import annotations

from perstack.config.interpolate import is_reference
from perstack.config.secrets import REDACTED
from perstack.domain.coordination import CoordinationSettings
from perstack.domain.settings import Settings


def without_secrets(settings: Settings) -> Settings:
    """Return the settings fit for storing: header values, webhooks and tokens are left out."""
    provider = settings.provider
    headers = dict.fromkeys(provider.headers, REDACTED)
    notify = settings.notify
    if notify.webhook is not None:
        notify = notify.model_copy(update={"webhook": REDACTED})
    return settings.model_copy(
        update={
            "provider": provider.model_copy(update={"headers": headers}),
            "notify": notify,
            "coordination": _without_literals(settings.coordination),
        }
    )


def _without_literals(coordination: CoordinationSettings) -> CoordinationSettings:
    """Leave out what may hold a secret, unless it is a `${NAME}` and nothing else."""
    slack, github = coordination.slack, coordination.github
    kept = {
        "slack": slack.model_copy(update={"webhook_url": _unless_literal(slack.webhook_url)}),
        "github": github.model_copy(
            update={
                "token": _unless_literal(github.token),
                "base_url": _without_query(github.base_url),
            }
        ),
    }
    return coordination.model_copy(update=kept)


def _unless_literal(text: str | None) -> str | None:
    return text if text is None or is_reference(text) else REDACTED


def _without_query(url: str | None) -> str | None:
    address, asks, _ = (url or "").partition("?")
    return f"{address}?{REDACTED}" if asks else url
