"""What people sign in with."""

from __future__ import annotations

from dataclasses import dataclass

from perstack.services.users import UserService
from perstack.serving.rest.limits import LoginLimits
from perstack.serving.rest.signing import Signer


@dataclass(frozen=True, slots=True)
class SignIn:
    """The users, who signs for them, and how often a password may be guessed."""

    users: UserService
    signer: Signer
    limits: LoginLimits
