"""GitHub's failures as ours."""

from __future__ import annotations

from perstack.config.secrets import redact
from perstack.errors import ProviderError

_LONGEST = 500


def failed(
    what: str,
    *,
    token: str | None,
    hint: str | None = None,
    status: int | None = None,
    retry_after_s: float | None = None,
) -> ProviderError:
    """Return the error that says what went wrong, in one line and without the token."""
    text = redact(what, [token] if token else [])
    line = " ".join(text.split())[:_LONGEST] or "it says nothing of why"
    return ProviderError(
        f"GitHub command failed: {line}", hint=hint, status=status, retry_after_s=retry_after_s
    )
