"""The proxy for model vendors, as it is set."""

from __future__ import annotations

import pytest

from perstack.errors import ConfigError
from perstack.providers.proxy import read_proxy

URL = "http://user:p%40ss-canary@proxy.example:3128"


def test_without_the_variable_there_is_none() -> None:
    assert read_proxy({}) is None
    assert read_proxy({"PERSTACK_PROXY_URL": " "}) is None


@pytest.mark.parametrize(
    "value", ["proxy.example:3128", "socks5://h:1", "http://@", "ftp://x", "http://h:x", "http://é"]
)
def test_what_is_no_proxys_url_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(ConfigError, match="PERSTACK_PROXY_URL") as caught:
        read_proxy({"PERSTACK_PROXY_URL": value})
    assert value not in f"{caught.value.message} {caught.value.hint}"


def test_its_password_is_a_secret_in_both_spellings() -> None:
    proxy = read_proxy({"PERSTACK_PROXY_URL": URL})
    assert proxy is not None
    assert proxy.secrets == ("p%40ss-canary", "p@ss-canary")
    assert "canary" not in repr(proxy)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", ()),
        ("localhost, 127.0.0.1,::1", ("all://localhost", "all://127.0.0.1", "all://[::1]")),
        ("[::1]", ("all://[::1]",)),
        (".example.com,*.example.org", ("all://*.example.com", "all://*.example.org")),
        ("example.com", ("all://*example.com",)),
        ("*", ("all://",)),
        ("10.0.0.0/8", ()),
    ],
)
def test_hosts_of_no_proxy_are_reached_directly(no_proxy: str, direct: tuple[str, ...]) -> None:
    proxy = read_proxy({"PERSTACK_PROXY_URL": URL, "NO_PROXY": no_proxy})
    assert proxy is not None
    assert proxy.direct == direct
