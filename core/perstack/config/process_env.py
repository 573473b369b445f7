"""The environment that this process was started with, whole, whatever hides parts of it just now.

The vendors' SDKs look there for further credentials, headers and addresses as they make a client,
while in the same process another project may be reading its key from it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_WHOLE: Final = threading.Lock()


def process_environment() -> dict[str, str]:
    """Return a copy of the environment; waits while some of it is hidden (for milliseconds)."""
    with _WHOLE:
        return dict(os.environ)


@contextmanager
def hidden_variables(prefixes: tuple[str, ...]) -> Generator[None]:
    """Hide the variables whose names begin so; one thread at a time, so do nothing slow in it."""
    with _WHOLE:
        hidden = {name: value for name, value in os.environ.items() if name.startswith(prefixes)}
        for name in hidden:
            del os.environ[name]
        try:
            yield
        finally:
            os.environ.update(hidden)
