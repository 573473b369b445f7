"""Addresses a key may be sent to."""

from __future__ import annotations

import pytest

from perstack.errors import ConfigError
from perstack.providers.urls import check_base_url


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("HTTPS://api.example.com", "HTTPS://api.example.com"),
        ("http://localhost:11434/v1", "http://localhost:11434/v1"),
        ("http://localhost.", "http://localhost."),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]"),
    ],
)
def test_https_anywhere_and_http_on_this_machine_are_accepted(url: str, kept: str) -> None:
    assert check_base_url(url) == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://2130706433",
        "http://0.0.0.0",
        "http://[::]",
        "http://192.168.0.1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "api.example.com",
        "https://",
        "https:///v1",
        "https://host:99999",
        "https://host:x",
        "https://user:pw@host",
        "http://127.0.0.1@evil.example",
        "https://host/?key=1",
        "https://host/#x",
        "https://ho\tst",
        "https://host\n",
        "https://h st",
        "https://hóst",
        "http://[::1",
        "",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_base_url(url, source="SOME_URL")
    assert caught.value.message.startswith("SOME_URL ")
    assert caught.value.hint


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        check_base_url("http://user:hunter2@example.com")
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"
