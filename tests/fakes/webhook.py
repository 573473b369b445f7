"""A real HTTP server on loopback that keeps the JSON it is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pydantic import JsonValue


class Webhook:
    """What was received. It answers with `status`, once `answering` is set."""

    def __init__(self) -> None:
        self.bodies: list[JsonValue] = []
        self.paths: list[str] = []
        self.status = 200
        self.location: str | None = None
        self.answering = threading.Event()
        self.answering.set()
        self.url = ""


@contextmanager
def webhook() -> Generator[Webhook]:
    """Serve on a port of loopback while the block runs."""
    received = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.paths.append(self.path)
            received.bodies.append(json.loads(body))
            received.answering.wait(20)
            self.send_response(received.status)
            if received.location is not None:
                self.send_header("location", received.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its base's name
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield received
    finally:
        received.answering.set()
        server.shutdown()
        thread.join()
        server.server_close()
