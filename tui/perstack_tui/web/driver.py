"""Textual's driver for browsers, made to survive bad bytes and a browser that reads no more.

Textual 8.2.8 writes to the server from the event loop, so that a browser which is suspended would
hold up every run of the process, and dies on a byte that is not UTF-8.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Mapping
from typing import Any

from textual.drivers._byte_stream import ByteStream
from textual.drivers._input_reader import InputReader
from textual.drivers.web_driver import WebDriver

from perstack_tui.driver import OnTerminal, SturdyParser
from perstack_tui.terminal_writer import TerminalWriter


class SturdyWebDriver(WebDriver):
    """Speaks with the server through its standard streams; leaves in good order when that ends."""

    def start_application_mode(self) -> None:
        """Begin; from now on a thread writes."""
        writer = TerminalWriter(self.fileno, self._resumed)
        self._writer = writer
        self._write = writer.put
        super().start_application_mode()

    def close(self) -> None:
        """Have all that was written reach the server, if it takes it within a second."""
        super().close()
        self._writer.close()

    def run_input_thread(self) -> None:
        """Dispatch what the browser sends until told to stop, or until the server is gone."""
        parser = SturdyParser(self._debug)
        decode = getincrementaldecoder("utf-8")(errors="replace").decode
        packets = ByteStream()
        reader = InputReader()
        self._input_reader = reader
        for data in reader:
            # Nothing means that a tenth of a second has passed; fed, it would be the end.
            for kind, payload in packets.feed(data) if data else ():
                if kind == "D":
                    for event in parser.take(decode(payload)):
                        self.process_message(event)
                else:
                    self._on_meta(kind, payload)
            for event in parser.tick():
                self.process_message(event)
            if self.exit_event.is_set():
                return
        self._hang_up()

    def on_meta(self, packet_type: str, payload: Mapping[str, Any]) -> None:
        """Take what the server says; when the browser went, leave as if a terminal had gone."""
        if packet_type == "quit":
            self._hang_up()
        else:
            super().on_meta(packet_type, dict(payload))

    def _hang_up(self) -> None:
        app = self._app
        if isinstance(app, OnTerminal):
            app.hang_up()

    def _resumed(self) -> None:
        app = self._app
        if isinstance(app, OnTerminal):
            app.repaint()
