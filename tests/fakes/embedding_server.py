"""A real HTTP server on loopback that makes vectors as OpenAI and Ollama do, or fails to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back. `body` is JSON, or bytes as they are. `hang`: nothing is, ever."""

    body: Json | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hang: bool = False


class EmbeddingServer:
    """What was asked, and what is answered: `replies` first, one each, then vectors.

    A text's vector is its length and one; OpenAI's come in reverse order, as they may.
    """

    def __init__(self) -> None:
        self.url = ""
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.bodies: list[Json] = []
        self.replies: list[Reply] = []
        self.ended = threading.Event()

    def answer(self, path: str, key: str | None, body: Json) -> Reply:
        """Return the next reply."""
        self.paths.append(path)
        self.keys.append(key)
        self.bodies.append(body)
        if self.replies:
            return self.replies.pop(0)
        vectors = [[float(len(text)), 1.0] for text in body["input"]]
        if path.endswith("/api/embed"):
            return Reply({"model": body["model"], "embeddings": vectors})
        data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        return Reply({"object": "list", "data": data[::-1]})


@contextmanager
def embedding_server() -> Generator[EmbeddingServer]:
    """Serve on a port of loopback while the block runs."""
    served = EmbeddingServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served.answer, served.ended))
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(
    answer: Callable[[str, str | None, Json], Reply], ended: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = answer(self.path, self.headers.get("authorization"), body)
            if reply.hang:
                ended.wait(30)
                self.close_connection = True
                return
            said = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            self.send_header("content-length", str(len(said)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its base's name
            pass

    return Handler
