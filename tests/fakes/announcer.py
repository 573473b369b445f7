"""A channel that keeps what it is told."""

from __future__ import annotations

from perstack.ports.announcements import Announcement


class HeardAnnouncer:
    """Implements `ports.announcements.Announcer`."""

    def __init__(self) -> None:
        self.heard: list[Announcement] = []

    @property
    def kinds(self) -> list[str]:
        return [said.kind for said in self.heard]

    def announce(self, said: Announcement) -> None:
        self.heard.append(said)
