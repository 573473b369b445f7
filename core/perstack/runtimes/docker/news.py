"""What is told of builds, containers and the proxy: a line of the log, and its parts for JSON.

The parts have upstream's names (`dockerBuildProgress`, `dockerContainerStatus`, `proxyAccess`).
"""

from __future__ import annotations

import logging
from typing import Final, Literal

from perstack.runtimes.docker.proxy import Access

# What `--verbose` shows.
LOG: Final = logging.getLogger("perstack.containers")
NEWS: Final = "news"


def tell_build(stage: Literal["pulling", "building", "complete", "error"], message: str) -> None:
    """Tell how an image comes to be."""
    news = {"type": "dockerBuildProgress", "stage": stage, "service": "image", "message": message}
    LOG.info("build: %s", message, extra={NEWS: news})


def tell_container(
    status: Literal["starting", "running", "stopped", "error"], message: str
) -> None:
    """Tell how the job's container fares, or what it says."""
    news = {
        "type": "dockerContainerStatus",
        "status": status,
        "service": "runtime",
        "message": message,
    }
    LOG.info("container: %s", message, extra={NEWS: news})


def tell_access(access: Access) -> None:
    """Tell what the proxy let pass, or not."""
    news: dict[str, str | int] = {
        "type": "proxyAccess",
        "action": access.action,
        "domain": access.domain,
    }
    if access.port is not None:
        news["port"] = access.port
    if access.reason is not None:
        news["reason"] = access.reason
    LOG.info("proxy: %s", access, extra={NEWS: news})
