"""The terminal and the look: mouse, pictures, settings, stepping aside for the shell."""

from __future__ import annotations

from perstack_tui.deeds.table import Deed, Group
from perstack_tui.ports.host import Host


class Dressing:
    """What has to do with the terminal, not with runs."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def group(self) -> Group:
        """Return the deeds."""
        return {
            "mouse": Deed(self._host.set_mouse),
            "svg": Deed(self._host.save_picture),
            "settings": Deed(self._host.edit_settings),
            "suspend": Deed(self._host.step_aside),
        }
