"""A registry on loopback that answers what a test says: truncated, slow, huge, wrong.

It speaks just enough HTTP/1.1 by hand that it can also speak it badly. One request a connection.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Json = dict[str, Any]
Fault = Callable[[socket.socket], None]

_WAIT_S: Final = 20
_NEVER: Final = threading.Event()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came. `target` is not decoded, header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Wire:
    """What was asked, and what is answered: `answers` in turn, of which the last one stays."""

    url: str
    answers: list[Fault]
    asked: list[Asked] = field(default_factory=list[Asked])

    def then(self, *answers: Fault) -> None:
        """Answer this from now on."""
        self.answers[:] = answers


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def registry_wire(*answers: Fault, tls: Path | None = None) -> Generator[Wire]:
    """Serve until the block ends. With `tls`, a folder: behind a certificate that nobody signed."""
    context = _context(tls) if tls else None
    turn = threading.Lock()
    wire = Wire("", list(answers))

    def handle(stream: socket.socket) -> None:
        if context is not None:
            stream = context.wrap_socket(stream, server_side=True)
        asked = asked_on(stream)
        with turn:
            wire.asked.append(asked)
            said = wire.answers.pop(0) if len(wire.answers) > 1 else wire.answers[0]
        said(stream)

    with listening(handle) as port:
        wire.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        yield wire


@contextmanager
def listening(handle: Callable[[socket.socket], None]) -> Generator[int]:
    """Hand each connection to `handle`, in a thread of its own; gives the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            stream: socket.socket = self.request
            stream.settimeout(_WAIT_S)
            with suppress(OSError, EOFError):
                handle(stream)

    with _Server(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


# ---------------------------------------------------------------- what it can answer


def answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None, *, cut: int = 0
) -> Fault:
    """Answer JSON (bytes as they are); `cut`: so many of the bytes promised never come."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    head = _head(status, {"Content-Length": str(len(body)), **(headers or {})})

    def send(stream: socket.socket) -> None:
        stream.sendall(head + body[: len(body) - cut])

    return send


def refusal(status: int, reason: object = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with the registry's error body."""
    body = {"code": status, "error": f"Error {status}", "reason": reason}
    return answer(body if reason is not None else b"", status, headers)


def endless() -> Fault:
    """Answer with a body that never ends, as fast as it is taken."""

    def send(stream: socket.socket) -> None:
        stream.sendall(_head(200, {}) + b'{"data": "')
        while True:
            stream.sendall(b"x" * 65_536)

    return send


def drip(*, head: bool = False) -> Fault:
    """Answer with a body, or with a head, that comes byte by byte and never ends."""

    def send(stream: socket.socket) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\nX-Long: " if head else _head(200, {}))
        while True:
            stream.sendall(b"x")
            _NEVER.wait(0.01)  # the pace of the wire

    return send


def reset() -> Fault:
    """Break the connection off, with nothing said."""

    def send(stream: socket.socket) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        stream.close()

    return send


def silent(stream: socket.socket) -> None:
    """Say nothing until the other side goes."""
    stream.recv(1)


def expert(name: str = "tic-tac-toe", version: str = "1.0.0", **said: object) -> Json:
    """Return an Expert as a registry tells it."""
    return {
        "type": "registryExpert",
        "id": "exp1",
        "key": f"{name}@{version}",
        "name": name,
        "version": version,
        "minRuntimeVersion": "v1.0",
        "description": "Plays.",
        "instruction": "Play tic-tac-toe.",
        "skills": {"@perstack/base": {"type": "baseSkill"}},
        "delegates": [],
        "tags": ["latest"],
        "status": "available",
        "owner": {"name": "acme", "organizationId": "org1", "createdAt": "2026-01-01T00:00:00Z"},
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        **said,
    }


def one(name: str = "tic-tac-toe", version: str = "1.0.0", **said: object) -> Json:
    """Return the envelope of an Expert."""
    return {"data": {"expert": expert(name, version, **said)}}


def listed(*versions: str, name: str = "tic-tac-toe", latest: str | None = None) -> Json:
    """Return the envelope of an Expert's versions."""
    told: list[Json] = [{"key": f"{name}@{each}", "version": each, "tags": []} for each in versions]
    return {"data": {"versions": told, "latest": latest}, "meta": {"total": len(told)}}


def page(*experts: Json, total: int | None = None) -> Json:
    """Return the envelope of a page."""
    meta = {"total": len(experts) if total is None else total, "take": 100, "skip": 0}
    return {"data": {"experts": list(experts)}, "meta": meta}


# ---------------------------------------------------------------- internals


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def asked_on(stream: socket.socket) -> Asked:
    """Read a request whose body has the length that is said."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _received(stream)
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        body += _received(stream)
    return Asked(method, target, headers, body)


def _received(stream: socket.socket) -> bytes:
    if piece := stream.recv(65_536):
        return piece
    raise EOFError


def _context(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2125, 1, 1, tzinfo=UTC))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "nobody.pem"
    file.write_bytes(private + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
