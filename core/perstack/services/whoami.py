"""Who runs this process: asked by much that needs nothing else of the services."""

from __future__ import annotations

import os
import socket


def whoami() -> str:
    """Return user@host of this process, from the system rather than the environment."""
    try:
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
