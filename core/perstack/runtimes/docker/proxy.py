"""The proxy beside a container: its configuration, and what its log says.

It is the only way out. Names are judged before anything is looked up, so that no name that is not
listed reaches a name server; addresses that they lead to are judged after that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

PORT: Final = 3128
NAME: Final = "proxy"
CONF: Final = "/etc/perstack-proxy"
EXACT: Final = "allowed_domains.txt"
BELOW: Final = "allowed_subdomains.txt"
NOT_LISTED: Final = "Domain not in allowlist"

_PRIVATE: Final = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("224.0.0.0/4", "240.0.0.0/4"),
)
# Squid takes an IPv4 address that is mapped into IPv6 for what it is, so the list above has those.
_PRIVATE_6: Final = (
    *("::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32"),
    *("2002::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)
_PORT: Final = re.compile(r":(\d{1,5})$", re.ASCII)
_LINE: Final = re.compile(
    r"(?P<status>[A-Z_]+) (?P<code>\d{3}) (?P<method>[A-Z]+) (?P<where>\S+) (?P<to>\S+)"
)

DOCKERFILE: Final = """\
FROM {base}
RUN set -eu; command -v squid >/dev/null 2>&1 || {{ \\
      apt-get update; DEBIAN_FRONTEND=noninteractive \\
      apt-get install -y --no-install-recommends squid; rm -rf /var/lib/apt/lists/*; }}; \\
    mkdir -p {conf} && chmod 755 {conf}
COPY squid.conf start.sh {conf}/
RUN chmod 644 {conf}/squid.conf && chmod 755 {conf}/start.sh \\
 && (chmod 000 /etc/shadow /etc/shadow- /etc/gshadow /etc/gshadow- 2>/dev/null || true)
USER 13:13
ENTRYPOINT ["{conf}/start.sh"]
"""

START: Final = f"""\
#!/bin/sh
set -eu
PATH="$PATH:/usr/sbin:/sbin"
exec squid -N -f {CONF}/squid.conf
"""


def dockerfile(base: str) -> str:
    """Return the Dockerfile of the proxy's image; nothing is fetched if `base` has squid."""
    return DOCKERFILE.format(base=base, conf=CONF)


def squid_conf() -> str:
    """Return squid's configuration; which names are allowed stands in two files beside it."""
    return "\n".join(
        (
            f"http_port {PORT}",
            "visible_hostname perstack-proxy",
            "pid_filename none",
            "pinger_enable off",
            "icp_port 0",
            "cache deny all",
            "cache_mem 8 MB",
            "max_filedescriptors 4096",
            "shutdown_lifetime 0 seconds",
            "connect_timeout 15 seconds",
            "coredump_dir /tmp",
            "via off",
            "forwarded_for delete",
            "logformat perstack %Ss %03>Hs %rm %ru %<a",
            "access_log stdio:/dev/stdout perstack",
            "cache_log /dev/stderr",
            "acl tls port 443",
            # -n: an address is never looked up backwards, where anybody could call it anything.
            f'acl listed dstdomain -n "{CONF}/{EXACT}"',
            f'acl below dstdom_regex -n -i "{CONF}/{BELOW}"',
            f"acl private dst {' '.join(_PRIVATE)}",
            f"acl private dst {' '.join(_PRIVATE_6)}",
            "http_access deny !CONNECT",
            "http_access deny !tls",
            "http_access deny !listed !below",
            "http_access deny private",
            "http_access allow CONNECT listed",
            "http_access allow CONNECT below",
            "http_access deny all",
            "",
        )
    )


def lists(domains: Iterable[str]) -> dict[str, str]:
    """Return the files of allowed names: `*.example.com` stands for what is below it."""
    exact: set[str] = set()
    below: set[str] = set()
    for domain in domains:
        name = domain.lower().rstrip(".")
        if name.startswith("*."):
            below.add(rf"^[a-z0-9._-]+{re.escape(name[1:])}$")
        else:
            exact.add(name)
    return {EXACT: _listed(exact), BELOW: _listed(below)}


@dataclass(frozen=True, slots=True)
class Access:
    """One decision of the proxy. `where` is as it was asked for, `reason` why it was blocked."""

    action: Literal["allowed", "blocked", "failed"]
    where: str
    reason: str | None = None

    @property
    def domain(self) -> str:
        """The host's name alone."""
        host = self.where.partition("://")[2].partition("/")[0] or self.where
        return host.rpartition(":")[0] if self.port is not None else host

    @property
    def port(self) -> int | None:
        """The port, None where none was named."""
        named = _PORT.search(self.where.partition("://")[2].partition("/")[0] or self.where)
        return None if named is None else int(named[1])

    def __str__(self) -> str:
        return f"{self.action} {self.where}" + (f" ({self.reason})" if self.reason else "")


def decision(line: str) -> Access | None:
    """Return what a line of the proxy's log says, None if it is none of its decisions."""
    found = _LINE.fullmatch(line.strip())
    if found is None or found["where"].startswith("error:"):
        return None
    where = found["where"]
    if "DENIED" not in found["status"]:
        return Access("allowed" if found["code"] == "200" else "failed", where)
    if found["method"] != "CONNECT":
        return Access("blocked", where, "only HTTPS is let through")
    return Access("blocked", where, f"{NOT_LISTED}, or it leads to a private address")


def _listed(names: set[str]) -> str:
    # Squid warns of a list without an entry; this name is nobody's.
    return "".join(f"{name}\n" for name in sorted(names) or ["nothing.invalid"])
