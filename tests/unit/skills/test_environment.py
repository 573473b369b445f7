from __future__ import annotations

from pathlib import Path

import pytest

from perstack.domain.ids import JobId, RunId
from perstack.errors import ConfigError
from perstack.ports.skills import RunContext
from perstack.skills.environment import for_command, for_server


def _context(**env: str) -> RunContext:
    return RunContext(job_id=JobId("j"), run_id=RunId("r"), workspace=Path("/"), env=env)


MARKS = {"PERSTACK_RUN_ID": "r", "PERSTACK_JOB_ID": "j"}


def test_a_server_gets_the_proxies_and_a_command_only_those_without_a_password() -> None:
    context = _context(PATH="/bin", HTTP_PROXY="http://me:secret@proxy", NO_PROXY="x", KEY="k")
    passed = {"PATH": "/bin", "HTTP_PROXY": "http://me:secret@proxy", "NO_PROXY": "x"}
    assert for_server("s", (), context) == passed | MARKS
    assert for_command({}, context) == ({"PATH": "/bin", "NO_PROXY": "x"} | MARKS, [])


def test_a_server_knows_whose_certificates_are_trusted() -> None:
    context = _context(SSL_CERT_FILE="/ca.pem", NODE_EXTRA_CA_CERTS="/ca.pem", CA_KEY="secret")
    passed = {"SSL_CERT_FILE": "/ca.pem", "NODE_EXTRA_CA_CERTS": "/ca.pem"}
    assert for_server("s", (), context) == passed | MARKS
    assert for_command({}, context) == (MARKS, [])


@pytest.mark.parametrize("name", ["LD_AUDIT", "node_options", "BASH_ENV", "PERSTACK_RUN_ID"])
def test_a_protected_variable_is_not_passed_even_if_required(name: str) -> None:
    assert for_server("s", (name,), _context(**{name: "x"})) == MARKS


def test_a_key_of_perstack_itself_can_be_required() -> None:
    context = _context(PERSTACK_API_KEY="k", GIT_TOKEN="t")
    required = ("PERSTACK_API_KEY", "GIT_TOKEN")
    assert for_server("s", required, context) == MARKS | dict(context.env)


def test_what_is_required_and_missing_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        for_server("search", ("EXA_API_KEY",), _context())
    assert caught.value.message == "Skill search requires environment variable EXA_API_KEY"
    assert caught.value.hint is not None


@pytest.mark.parametrize("name", ["PATH", "Git_Dir", "PYTHONHOME", "https_proxy", "PERSTACK_X"])
def test_a_model_cannot_set_what_steers_programs(name: str) -> None:
    assert for_command({name: "x", "OK": "y"}, _context()) == (MARKS | {"OK": "y"}, [name])


def test_the_language_is_passed() -> None:
    context = _context(LANG="de_DE.UTF-8", LC_TIME="C")
    assert for_command({}, context)[0] == MARKS | dict(context.env)
