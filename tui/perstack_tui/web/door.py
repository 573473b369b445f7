"""Who may come in: the holder of a token that counts once, then of a cookie, from this machine."""

from __future__ import annotations

import hmac
import secrets
from typing import Final

_COOKIE: Final = "perstack-cockpit"
_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


class Door:
    """One for a server. The token is printed; the cookie is given for it, and never printed."""

    def __init__(self, port: int) -> None:
        self._hosts = frozenset(f"{name}:{port}" for name in _NAMES)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        # Cookies know names, no ports: servers beside each other must not take each other's.
        self.cookie_name = f"{_COOKIE}-{port}"
        self._token: str | None = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        self.address = f"http://127.0.0.1:{port}/"

    @property
    def invitation(self) -> str:
        """The address to open, with the token; once it was used, without."""
        return f"{self.address}?token={self._token}" if self._token else self.address

    def is_here(self, host: str | None) -> bool:
        """Say whether the browser was told this very server's name, not another that leads here."""
        return host in self._hosts

    def is_own_page(self, origin: str | None) -> bool:
        """Say whether a page of this server asks: others may open web sockets to anywhere."""
        return origin in self._origins

    def admit(self, token: str) -> str | None:
        """Return the cookie for the token, None when it is wrong or was used."""
        if self._token is None or not _same(token, self._token):
            return None
        self._token = None
        return self._cookie

    def knows(self, cookie: str | None) -> bool:
        """Say whether it is the cookie that was given for the token."""
        return cookie is not None and self._token is None and _same(cookie, self._cookie)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
