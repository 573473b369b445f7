"""perstack with a watch on its event loop: python -m bench.stalls FILE [ARGUMENT...]

Each callback of the loop that took 10 ms or more is a line of FILE: when it ended (Unix seconds),
and how long it took in milliseconds.
"""

from __future__ import annotations

import sys
import time
from asyncio import events
from pathlib import Path
from typing import Final

from perstack.cli.main import main

_NOTED_MS: Final = 10.0


def _watch(file: Path) -> None:
    run = events.Handle._run  # noqa: SLF001 - there is no public hook
    written = file.open("w", buffering=1)

    def timed(handle: events.Handle) -> None:
        began = time.perf_counter()
        run(handle)
        took_ms = 1000 * (time.perf_counter() - began)
        if took_ms >= _NOTED_MS:
            written.write(f"{time.time():.3f} {took_ms:.1f}\n")

    events.Handle._run = timed  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    _watch(Path(sys.argv[1]))
    sys.argv = ["perstack", *sys.argv[2:]]
    main()
