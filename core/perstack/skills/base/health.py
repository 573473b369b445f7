"""The `healthCheck` tool."""

from __future__ import annotations

import os
import time

from pydantic import JsonValue

from perstack.skills.base.arguments import NoArguments
from perstack.skills.base.paths import Workspace

_MEGABYTE = 1024 * 1024


def health_check(workspace: Workspace, _args: NoArguments) -> dict[str, JsonValue]:
    """Return that the tools answer, where they work, and what the program uses."""
    import psutil

    process = psutil.Process()
    memory = process.memory_info()
    return {
        "status": "ok",
        "workspace": str(workspace.path),
        "uptime": f"{time.time() - process.create_time():.0f}s",
        "memory": {
            "heapUsed": f"{memory.rss // _MEGABYTE}MB",
            "heapTotal": f"{memory.vms // _MEGABYTE}MB",
        },
        "pid": os.getpid(),
    }
