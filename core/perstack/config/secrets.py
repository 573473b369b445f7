"""Keeps secrets out of what is shown, logged or stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

from perstack.config.interpolate import is_reference
from perstack.domain.coordination import CoordinationSettings
from perstack.domain.settings import Settings

REDACTED: Final = "[redacted]"

_SECRET_NAME: Final = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASS|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|DSN)S?(?:_?\d+)?"
    r"(?:_(?:ID|B64|BASE64|JSON|PEM|PROD|DEV|TEST|LIVE|VALUE))*$",
    re.IGNORECASE,
)
_URL_PASSWORD: Final = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
_SHORTEST: Final = 8
_SHORTEST_LINE: Final = 16


def secret_values(env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values, longest first, of variables whose names or contents say secret.

    Values shorter than 8 characters are left out: hiding them would garble ordinary text.
    Passwords inside URLs and the lines of multi-line keys count as values of their own.
    """
    found: set[str] = set()
    for name, value in env.items():
        found.update(_URL_PASSWORD.findall(value))
        if _names_secret(name):
            found.add(value.strip())
            lines = value.split("\n")
            found.update(line for line in lines[1:-1] if len(line) >= _SHORTEST_LINE)
    return tuple(sorted((each for each in found if len(each) >= _SHORTEST), key=_by_length))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every occurrence of a secret, plain or as JSON or a URL writes it."""
    for secret in secrets:
        for form in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
            if form in text:
                text = text.replace(form, REDACTED)
    return text


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


def _names_secret(name: str) -> bool:
    """Tell whether a variable's name ends in a word for secrets: `MY_API_KEY`, `apikey2`."""
    return _SECRET_NAME.search(name[-128:]) is not None


def _by_length(text: str) -> tuple[int, str]:
    return -len(text), text
