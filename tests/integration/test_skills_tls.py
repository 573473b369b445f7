"""Skills over https: the certificate must be the name's, although an address is connected to."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from perstack.domain.expert import McpHttpSkill, McpSseSkill
from perstack.errors import SkillError
from perstack.skills.opener import Skills
from tests.fakes.mcp_http import mcp_http
from tests.unit.skills.support import QUICK, Notices, context_for, expert_with, text

pytestmark = pytest.mark.anyio

NAME = "mcp.example"
FAR_OFF = datetime(2125, 1, 1, tzinfo=UTC)
PAST = datetime(2021, 1, 1, tzinfo=UTC)


async def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def certificate_for(
    name: str, folder: Path, *, until: datetime = FAR_OFF
) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate that vouches for itself; return its file and a server's context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context


@pytest.mark.parametrize("kind", ["mcp", "sse"])
async def test_a_name_is_proven_by_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    trusted, context = certificate_for(NAME, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with mcp_http(tls=context) as server:
        endpoint = f"https://{NAME}:{server.url.rpartition(':')[2]}/{kind}"
        model = McpSseSkill if kind == "sse" else McpHttpSkill
        skill = model(endpoint=endpoint, allow_private=True)
        opener = Skills(QUICK, resolve=here)
        async with opener.open(expert_with(far=skill), context_for(tmp_path), Notices()) as skills:
            assert text(await skills.call("echo", {"text": "x"})) == "x"


async def test_a_certificate_of_another_name_is_refused_before_a_header_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = certificate_for("other.example", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with mcp_http(tls=context) as server:
        endpoint = f"https://{NAME}:{server.url.rpartition(':')[2]}/mcp"
        skill = McpHttpSkill(endpoint=endpoint, allow_private=True, headers={"X-Key": "secret"})
        opener = Skills(QUICK, resolve=here)
        with pytest.raises(SkillError, match=r"could not be reached: .*(?i:hostname mismatch)"):
            async with opener.open(expert_with(far=skill), context_for(tmp_path), Notices()):
                pytest.fail("opened")
        assert server.asked == []


def skill_at(url: str, kind: str) -> McpHttpSkill | McpSseSkill:
    """A skill that would send a secret to the server of `url`, under its name."""
    model = McpSseSkill if kind == "sse" else McpHttpSkill
    endpoint = f"https://{NAME}:{url.rpartition(':')[2]}/{kind}"
    return model(endpoint=endpoint, allow_private=True, headers={"X-Key": "secret"})


async def refusal(skill: McpHttpSkill | McpSseSkill, folder: Path) -> str:
    """Return why a server could not be used."""
    opener = Skills(QUICK, resolve=here)
    with anyio.fail_after(15), pytest.raises(SkillError, match="could not be reached") as caught:
        async with opener.open(expert_with(far=skill), context_for(folder), Notices()):
            pytest.fail("opened")
    assert "secret" not in caught.value.message + str(caught.value.hint)
    return caught.value.message


@pytest.mark.parametrize("kind", ["mcp", "sse"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, kind: str) -> None:
    _, context = certificate_for(NAME, tmp_path)
    async with mcp_http(tls=context) as server:
        why = await refusal(skill_at(server.url, kind), tmp_path)
        assert server.asked == []
    assert "self-signed certificate" in why or "self signed certificate" in why


async def test_a_certificate_that_has_expired_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, context = certificate_for(NAME, tmp_path, until=PAST)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    async with mcp_http(tls=context) as server:
        assert "expired" in await refusal(skill_at(server.url, "mcp"), tmp_path)
        assert server.asked == []


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""], ids=["http", "nothing"]
)
@pytest.mark.parametrize("kind", ["mcp", "sse"])
async def test_a_server_that_speaks_no_tls_gets_no_secret(
    tmp_path: Path, kind: str, said: bytes
) -> None:
    heard = b""

    async def answer(stream: SocketStream) -> None:
        nonlocal heard
        async with stream:
            heard += await stream.receive()
            await stream.send(said)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        port = listener.extra(SocketAttribute.local_port)
        await refusal(skill_at(f"https://127.0.0.1:{port}", kind), tmp_path)
        group.cancel_scope.cancel()
    assert b"secret" not in heard
