"""MCP skills: servers at an address, and what servers may ask."""

from __future__ import annotations

import pytest

from perstack.domain.expert import McpHttpSkill, McpSseSkill, McpStdioSkill, SkillSpec
from perstack.domain.ids import ExpertKey
from tests.unit.config.reading import WRITER, read, refused_lines, warned

STDIO = (
    WRITER + '[experts.writer.skills.web]\ntype = "mcpStdioSkill"\ncommand = "a"\nargs = ["b"]\n'
)
SSE = WRITER + '[experts.writer.skills.web]\ntype = "mcpSseSkill"\n'
HTTP = WRITER + '[experts.writer.skills.web]\ntype = "mcpHttpSkill"\n'
AT = 'endpoint = "https://mcp.example/x"\n'


def web(text: str) -> SkillSpec:
    return read(text).experts[ExpertKey("writer")].skills["web"]


def test_a_remote_skill_is_read_whole() -> None:
    rest = AT + (
        'description = "d"\nrule = "r"\npick = ["p", "think"]\nomit = ["o"]\nlazyInit = true\n'
        'requireApproval = ["send"]\nsampling = "allow"\nelicitation = "deny"\n'
        'bearerTokenEnv = "MCP_TOKEN"\nheaders = { X-Team = "docs" }\n'
        'headerEnv = { X-Api-Key = "MCP_KEY" }\nallowPrivate = true\n'
    )
    expected = McpHttpSkill(
        description="d",
        rule="r",
        pick=("p", "think"),
        omit=("o",),
        lazy_init=True,
        require_approval=("send",),
        sampling="allow",
        elicitation="deny",
        endpoint="https://mcp.example/x",
        bearer_token_env="MCP_TOKEN",
        headers={"X-Team": "docs"},
        header_env={"X-Api-Key": "MCP_KEY"},
        allow_private=True,
    )
    assert web(HTTP + rest) == expected
    assert web(SSE + rest) == McpSseSkill.model_validate(
        expected.model_dump() | {"type": "mcpSseSkill"}
    )
    assert warned(HTTP + rest) == warned(SSE + rest) == []


def test_what_a_started_server_may_ask_is_read() -> None:
    usual = web(STDIO)
    assert isinstance(usual, McpStdioSkill)
    assert (usual.lazy_init, usual.sampling, usual.elicitation) == (False, "ask", "ask")
    strict = web(STDIO + 'lazyInit = true\nsampling = "deny"\nelicitation = "deny"\n')
    assert isinstance(strict, McpStdioSkill)
    assert (strict.lazy_init, strict.sampling, strict.elicitation) == (True, "deny", "deny")


@pytest.mark.parametrize(
    "url",
    [
        "https://mcp.example/sse",
        "https://mcp.example:8443/x?y=1",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/x",
    ],
)
@pytest.mark.parametrize("kind", [SSE, HTTP])
def test_public_https_endpoints_are_accepted(kind: str, url: str) -> None:
    skill = web(kind + f'endpoint = "{url}"\n')
    assert isinstance(skill, McpSseSkill | McpHttpSkill)
    assert skill.endpoint == url


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.8.9.1",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "mcp.localhost",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
@pytest.mark.parametrize("kind", [SSE, HTTP])
def test_endpoints_on_this_machine_need_allow_private(kind: str, host: str, scheme: str) -> None:
    """S6: a file from elsewhere does not reach what listens here, however it is spelt."""
    given = f'endpoint = "{scheme}://{host}:3001/sse"\n'
    for refused in (given, given + "allowPrivate = false\n"):
        (line,) = refused_lines(kind + refused)
        assert line == (
            "experts.writer.skills.web.endpoint (line 5): leads to this machine; add "
            "allowPrivate = true if the server is your own"
        )
    skill = web(kind + given + "allowPrivate = true\n")
    assert isinstance(skill, McpSseSkill | McpHttpSkill)
    assert skill.endpoint == f"{scheme}://{host}:3001/sse"


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/sse",
        "https://192.168.0.1",
        "https://169.254.169.254/",
        "https://[fe80::1]/",
        "https://[fd12::1]/",
        "https://[::ffff:192.168.0.1]/",
        "https://100.64.1.1",
        "https://0.0.0.0/",
        "http://10.0.0.1/sse",
        "https://intranet",
        "https://mcp.internal",
    ],
)
@pytest.mark.parametrize("kind", [SSE, HTTP])
def test_private_endpoints_need_allow_private(kind: str, url: str) -> None:
    """S6, as far as the text of the file tells; names are looked at again when connecting."""
    (line,) = refused_lines(kind + f'endpoint = "{url}"\n')
    assert line == (
        "experts.writer.skills.web.endpoint (line 5): leads into a private network; add "
        "allowPrivate = true if the server is your own"
    )
    assert read(kind + f'endpoint = "{url}"\nallowPrivate = true\n')


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("", "endpoint (line 3): must be given: the server's address"),
        ('endpoint = ""', "endpoint (line 5): must have 1 to 2,048 characters; it has 0"),
        (
            f'endpoint = "https://mcp.example/{"x" * 2_048}"',
            "endpoint (line 5): must have 1 to 2,048 characters; it has 2,068",
        ),
        ("endpoint = 1", "endpoint (line 5): must be a string, not 1"),
        ('endpoint = "http://mcp.example"', "endpoint (line 5): must be https, or lead to this"),
        (
            'endpoint = "http://mcp.example"\nallowPrivate = true',
            "endpoint (line 5): must be https, or lead to this",
        ),
        ('endpoint = "https://me:pw@mcp.example"', "endpoint (line 5): must not hold a user name"),
        *(
            (f'endpoint = "https://{host}"{more}', "endpoint (line 5): must name its host plainly")
            for host in ("127.1", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.0x1", "0177.0.0.1")
            for more in ("", "\nallowPrivate = true")
        ),
        ('endpoint = "ws://mcp.example"', "endpoint (line 5): must be a URL such as https://"),
        (
            AT + 'allowPrivate = "yes"',
            'allowPrivate (line 6): must be true or false, not "yes"',
        ),
        (
            AT + 'bearerTokenEnv = "$TOKEN"',
            'bearerTokenEnv (line 6): is "$TOKEN", which is not the name of a variable',
        ),
        (
            AT + 'headerEnv = { X-Key = "A B" }',
            'headerEnv.X-Key (line 6): is "A B", which is not the name of a variable',
        ),
        (
            AT + 'headerEnv = { "X Key" = "AB" }',
            "headerEnv.\"X Key\" (line 6): is not a header name: use letters, digits and '-'",
        ),
        (
            AT + 'headers = { a = "\\n" }',
            "headers.a (line 6): must be printable ASCII text",
        ),
        (
            AT + 'headerEnv = { Authorization = "A" }\nbearerTokenEnv = "B"',
            "headerEnv (line 6): sets authorization twice; remove one of them",
        ),
        (
            AT + 'headers = { X-a = "1" }\nheaderEnv = { x-A = "B" }',
            "headerEnv (line 7): sets x-a twice; remove one of them",
        ),
        (AT + 'sampling = "yes"', 'sampling (line 6): must be one of deny, ask, allow, not "yes"'),
        (
            AT + 'elicitation = "allow"',
            'elicitation (line 6): must be one of deny, ask, not "allow"',
        ),
        (AT + "samplng = 'deny'", "samplng (line 6): unknown key; did you mean sampling?"),
        (AT + "pics = ['x']", "pics (line 6): unknown key; did you mean pick?"),
    ],
)
@pytest.mark.parametrize("kind", [SSE, HTTP])
def test_a_wrong_remote_skill_is_refused(kind: str, rest: str, problem: str) -> None:
    (line,) = refused_lines(kind + rest)
    assert line.startswith(f"experts.writer.skills.web.{problem}")


def test_a_secret_written_as_a_header_is_told_where_it_belongs() -> None:
    config = read(HTTP + AT + 'headers = { Authorization = "Bearer canary" }\n')
    (warning,) = config.warnings
    assert warning.key == "experts.writer.skills.web.headers.Authorization"
    assert warning.message == "looks like a secret, which does not belong into this file"
    assert warning.hint == "name a variable in bearerTokenEnv or headerEnv"


def test_keys_of_a_started_server_have_no_effect_at_an_address() -> None:
    text = HTTP + AT + 'command = "npx"\npackageName = "x"\nargs = []\nrequiredEnv = ["A"]\n'
    assert [one.partition(" (")[0].rpartition(".")[2] for one in warned(text)] == [
        "requiredEnv",
        "command",
        "packageName",
        "args",
    ]


@pytest.mark.parametrize("key", ["headers", "headerEnv"])
def test_more_headers_than_anybody_sends_are_refused_before_each_is_compared(key: str) -> None:
    heap = ", ".join(f'X-{number} = "A"' for number in range(256))
    [refused] = refused_lines(f"{HTTP}{AT}{key} = {{ {heap} }}\n")
    assert f"{key} (line 6): may have at most 255 headers; it has 256" in refused
