"""How often a password may be guessed."""

from __future__ import annotations

from perstack.serving.http.limits import Buckets


class LoginLimits:
    """How often a password may be guessed: from an address, and for an account."""

    def __init__(self) -> None:
        what = "Too many attempts to sign in"
        self._addresses = Buckets(per_s=20 / 60, burst=20, what=what)
        self._accounts = Buckets(per_s=10 / 60, burst=10, what=what)

    def attempt(self, address: str, account: str) -> None:
        """Count an attempt.

        Raises:
            SlowDownError: there were too many.
        """
        self._addresses.take(address)
        self._accounts.take(account)

    def succeeded(self, address: str, account: str) -> None:
        """Say that the attempt was none of somebody who guesses."""
        self._addresses.give_back(address)
        self._accounts.give_back(account)
