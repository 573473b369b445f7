"""Which environment variables another agent's program gets: what is usual, and what is asked for.

No key is among the usual ones, so that a login that the user has with the program is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_USUAL: Final = (
    *("PATH", "HOME", "SHELL", "TERM", "TMPDIR", "LANG", "TZ", "USER", "LOGNAME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)
RUN_ID: Final = "PERSTACK_RUN_ID"
JOB_ID: Final = "PERSTACK_JOB_ID"


def program_environment(
    env: Mapping[str, str], *, usual: Iterable[str], asked: Iterable[str], job_id: str, run_id: str
) -> dict[str, str]:
    """Return the variables of a program: the `usual` ones of it, those `asked` for, our marks.

    By the marks its processes are known to be the run's, which may not decide its own approvals.
    """
    found = filtered_environment(env, usual=usual, asked=asked)
    return found | {JOB_ID: job_id, RUN_ID: run_id}


def filtered_environment(
    env: Mapping[str, str], *, usual: Iterable[str], asked: Iterable[str]
) -> dict[str, str]:
    """Return the same without marks, for what is no run."""
    names = dict.fromkeys((*_USUAL, *usual, *asked))
    found = {name: env[name] for name in names if name in env}
    return found | {name: value for name, value in env.items() if name.startswith("LC_")}
