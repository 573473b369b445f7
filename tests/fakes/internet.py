"""An internet for one container engine: names, sites behind TLS, and what nobody should reach.

Every name there is resolves, and every address answers, on ports 80, 443 and others: whatever is
not reached was refused on its way and did not fail by itself. All that arrives is kept, down to
a mere connection and a mere question of a name.

A test of its own has nothing to do with it: `Internet` is served from a network namespace, by the
threads of this process.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.fakes.netns import inside

# Of a range that is for documents: public, as far as rules go, and nobody's.
UNLISTED_AT: Final = "203.0.113.66"
METADATA_AT: Final = "169.254.169.254"
INTRANET_AT: Final = "10.99.0.5"
# What each of the places says to whoever reaches it.
METADATA_SECRET: Final = "ami-id instance-id AKIA-METADATA-CANARY"
INTRANET_SECRET: Final = "the intranet's own canary"
PLAIN_PORTS: Final = (80, 2375, 3000, 8080, 10255)
TLS_PORTS: Final = (443, 6443, 8443)
_WAIT_S: Final = 20
_LONGEST: Final = 1_000_000

Kind = Literal["name", "connection", "request"]
# Beyond the engine's machine, or on it.
Side = Literal["outside", "host"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that came: a question of a name, a connection, or a request over one.

    `name` is what was asked for, the server's name in TLS, or the Host of a plain request.
    """

    kind: Kind
    side: Side
    address: str
    port: int
    name: str = ""
    text: str = ""


@dataclass
class Internet:
    """The places of one test network. `names` says where names lead; all others are `UNLISTED_AT`.

    `relays` are names of which the (decrypted) stream goes on to a port of this machine's loopback.
    """

    names: Mapping[str, str]
    context: ssl.SSLContext
    relays: dict[str, int] = field(default_factory=dict[str, int])
    _came: list[Arrival] = field(default_factory=list[Arrival])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def came(self, kind: Kind | None = None) -> list[Arrival]:
        """Return what came so far, all of it or of one kind, in order."""
        with self._lock:
            return [each for each in self._came if kind in {None, each.kind}]

    def keep(self, arrival: Arrival) -> None:
        """Take note of something that came."""
        with self._lock:
            self._came.append(arrival)

    def address_of(self, name: str) -> str:
        """Return where a name leads."""
        return self.names.get(name.lower(), UNLISTED_AT)


@contextmanager
def internet(
    folder: Path, names: Mapping[str, str], *, host: int, outside: int
) -> Generator[Internet]:
    """Serve an internet until the block ends, in the networks of two processes.

    `host` is a process in the network of the engine's machine, which answers questions of names at
    127.0.0.1. `folder` gets `ca.pem`, which vouches for every site.
    """
    world = Internet(names, _context(folder, names))
    closing: list[socket.socket] = []
    sides: tuple[tuple[Side, int, str], ...] = (
        ("host", host, "127.0.0.1"),
        ("outside", outside, ""),
    )
    try:
        for side, pid, dns in sides:
            for port in (*PLAIN_PORTS, *TLS_PORTS):
                listener = inside(pid, lambda port=port: _listener(port))
                closing.append(listener)
                _in_thread(_accept, world, side, listener, port in TLS_PORTS)
            questions = inside(pid, lambda dns=dns: _datagrams(dns))
            closing.append(questions)
            _in_thread(_answer_names, world, side, questions)
        yield world
    finally:
        for each in closing:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def _in_thread(work: Callable[..., None], *given: object) -> None:
    threading.Thread(target=work, args=given, daemon=True).start()


def _listener(port: int) -> socket.socket:
    return socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
    )


def _datagrams(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, 53))
    return made


# ---------------------------------------------------------------- sites


def _accept(world: Internet, side: Side, listener: socket.socket, is_tls: bool) -> None:
    while True:
        try:
            stream, _ = listener.accept()
        except OSError:
            return
        _in_thread(_serve, world, side, stream, is_tls)


def _serve(world: Internet, side: Side, stream: socket.socket, is_tls: bool) -> None:
    address, port, *_ = stream.getsockname()
    here = Arrival("connection", side, str(address).removeprefix("::ffff:"), port)
    world.keep(here)
    stream.settimeout(_WAIT_S)
    _here.name = ""
    with suppress(OSError, ValueError), stream:
        if not is_tls:
            _site(world, stream, here)
            return
        with world.context.wrap_socket(stream, server_side=True) as decrypted:
            name = _here.name
            if name in world.relays:
                decrypted.settimeout(None)
                _relay(decrypted, world.relays[name])
            else:
                _site(world, decrypted, here)


class _Here(threading.local):
    """The name that this thread's client asked for in TLS."""

    name = ""


_here = _Here()


def _heed(_stream: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    _here.name = name or ""


def _site(world: Internet, stream: socket.socket, here: Arrival) -> None:
    """Answer one request with what the place has to say."""
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _LONGEST:
        piece = stream.recv(65_536)
        if not piece:
            return
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (li.partition(":") for li in lines)
    }
    missing = int(headers.get("content-length", "0")) - len(body)
    while missing > 0 and (piece := stream.recv(65_536)):
        body += piece
        missing -= len(piece)
    host = headers.get("host", "")
    text = f"{first}\n{body.decode('latin-1')}"
    world.keep(replace(here, kind="request", name=host, text=text))
    said = json.dumps({"site": host, "asked": first, "says": _words(here)}).encode() + b"\n"
    stream.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(said), said)
    )


def _words(here: Arrival) -> str:
    if here.address == METADATA_AT:
        return METADATA_SECRET
    return "welcome" if here.address.startswith("203.0.113.") else INTRANET_SECRET


def _relay(stream: ssl.SSLSocket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), _WAIT_S) as there:
        there.settimeout(None)
        back = threading.Thread(target=_pour, args=(there, stream), daemon=True)
        back.start()
        _pour(stream, there)
        back.join(_WAIT_S)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


# ---------------------------------------------------------------- names


def _answer_names(world: Internet, side: Side, questions: socket.socket) -> None:
    while True:
        try:
            asked, who = questions.recvfrom(4096)
        except OSError:
            return
        with suppress(ValueError, IndexError, struct.error, OSError):
            questions.sendto(_answer(world, side, asked), who)


def _answer(world: Internet, side: Side, asked: bytes) -> bytes:
    """Answer a question of a name: with an address, or with none if it is not one of IPv4."""
    labels: list[str] = []
    at = 12
    while length := asked[at]:
        labels.append(asked[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    (kind,) = struct.unpack("!H", asked[at + 1 : at + 3])
    question = asked[12 : at + 5]
    name = ".".join(labels)
    address = world.address_of(name)
    world.keep(Arrival("name", side, address, 53, name))
    records = b""
    if kind == 1:
        records = (
            b"\xc0\x0c\x00\x01\x00\x01" + struct.pack("!IH", 1, 4) + IPv4Address(address).packed
        )
    flags = struct.pack("!HHHHH", 0x8180, 1, 1 if records else 0, 0, 0)
    return asked[:2] + flags + question + records


# ---------------------------------------------------------------- certificates


def _context(folder: Path, names: Mapping[str, str]) -> ssl.SSLContext:
    authority = ec.generate_private_key(ec.SECP256R1())
    site = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Tests' own authority")])
    root = _signed(issuer, authority, issuer, authority, None)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "site")])
    # What no list holds is covered, too: a certificate must not be what stops anybody.
    known = [*names, *(f"*.{name}" for name in names), "evil.example", "*.evil.example"]
    leaf = _signed(issuer, authority, subject, site, known)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    chain, key = folder / "site.pem", folder / "site-key.pem"
    chain.write_bytes(leaf.public_bytes(pem))
    plain = serialization.NoEncryption()
    key.write_bytes(site.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.sni_callback = _heed
    return context


def _signed(
    issuer: x509.Name,
    authority: ec.EllipticCurvePrivateKey,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    names: list[str] | None,
) -> x509.Certificate:
    """Sign a certificate: a site's for `names`, or an authority's own if there are none."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2125, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names is not None:
        named = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(named, critical=False)
    else:
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(authority, hashes.SHA256())
