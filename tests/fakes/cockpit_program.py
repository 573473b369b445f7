"""A program that shows the cockpit over the fake gateway, for tests with a real terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from perstack.domain.ids import RunId
from perstack.ports.frontend import CockpitRequest
from perstack.ports.history import FeedBatch
from perstack_tui.cli import show
from perstack_tui.ports.gateway import Gateway
from tests.fakes.gateway import FakeGateway, Said, ShownFold, busy_view, definitions, local


class BreakableFold(ShownFold):
    """Fails once there is a file `break` in the home folder."""

    def live(self, run_id: RunId) -> Said:
        if Path("~/break").expanduser().exists():
            raise RuntimeError("the fold broke")
        return super().live(run_id)


def main() -> int:
    gateway = FakeGateway()

    async def open_gateway() -> Gateway:
        gateway.say(definitions(provider="scripted"))
        gateway.say(local("job-8f3a"))
        gateway.say(FeedBatch(caught_up=True))
        return gateway

    request = CockpitRequest(Path("/w/release-notes"))
    code = show(request, open_gateway, lambda: BreakableFold(busy_view()))
    sys.stdout.write(f"{len(gateway.calls)} commands were given\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
