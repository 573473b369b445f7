from __future__ import annotations

import json

import pytest

from perstack.config.kept_settings import without_secrets
from perstack.config.secrets import REDACTED, redact, secret_values
from perstack.domain.settings import NotifySettings, ProviderSettings, Settings

VALUE = "sk-canary-0123"


@pytest.mark.parametrize(
    "name",
    [
        "ANTHROPIC_API_KEY",
        "openai_api_key",
        "GITHUB_TOKEN",
        "DB_PASSWORD",
        "APIKEY",
        "JWT_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "KEY2",
        "MY_KEYS",
        "SENTRY_DSN",
        "PASSPHRASE",
    ],
)
def test_names_that_say_secret_are_found(name: str) -> None:
    assert secret_values({name: VALUE}) == (VALUE,)


@pytest.mark.parametrize(
    "name", ["PATH", "PWD", "KEYBOARD_LAYOUT", "SSH_AUTH_SOCK", "GIT_AUTHOR_NAME", "TOKENIZER_DIR"]
)
def test_ordinary_names_are_not(name: str) -> None:
    assert secret_values({name: VALUE}) == ()


def test_short_values_are_left_alone() -> None:
    assert secret_values({"A_KEY": "1234567"}) == ()


def test_passwords_in_urls_and_lines_of_keys_are_found() -> None:
    pem = "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG\n-----END-----"
    found = secret_values({"DATABASE_URL": "postgres://u:p4ssw0rd@h/db", "TLS_KEY": pem})
    assert found == (pem, "MIIEvQIBADANBgkqhkiG", "p4ssw0rd")


def test_redact_hides_plain_json_and_url_forms() -> None:
    secret = 'a"b/c\\d é+1'
    text = f"{secret} {json.dumps(secret)} a%22b%2Fc%5Cd%20%C3%A9%2B1"
    assert redact(text, [secret]) == f'{REDACTED} "{REDACTED}" {REDACTED}'


def test_redact_hides_the_longer_of_two_overlapping_secrets_whole() -> None:
    secrets = secret_values({"A_KEY": "12345678", "B_KEY": "1234567890"})
    assert redact("x 1234567890 y 12345678", secrets) == f"x {REDACTED} y {REDACTED}"


def test_stored_settings_hold_no_header_value_and_no_webhook() -> None:
    settings = Settings(
        provider=ProviderSettings(headers={"Authorization": VALUE}),
        notify=NotifySettings(webhook=f"https://hooks.example/{VALUE}"),
    )
    stored = without_secrets(settings)
    assert VALUE not in stored.model_dump_json()
    assert list(stored.provider.headers) == ["Authorization"]
    assert without_secrets(Settings()) == Settings()
