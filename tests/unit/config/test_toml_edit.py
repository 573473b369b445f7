"""A change to the text of a `perstack.toml` says what was meant, and keeps everything else."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.config.toml_edit import add_delegate, with_experts
from perstack.config.toml_text import toml_key, toml_value
from perstack.errors import ConfigError

KEY = "@acme/researcher@1.2.3"
FORMS = {
    "a table": '[experts.a]\ninstruction = "x" # why\n\n[experts.b]\ninstruction="y"\n',
    "a table with skills": '[experts.a]\ninstruction = "x"\n[experts.a.skills.z]\ntype="mcp"\n',
    "only skills": '[experts.a.skills.z]\ntype="mcp"\n',
    "a list": '[experts.a]\ndelegates = ["b"] # who\n',
    "an empty list": "[experts.a]\ndelegates = []\n",
    "a list over lines": '[experts.a]\ndelegates = [\n    "b", # one\n    # two\n]\nx = 1\n',
    "no comma at its end": '[experts.a]\ndelegates = [\n  "b", # a, "b" ]\n  "c" # c ]\n] # e\n',
    "closed on a line": '[experts.a]\ndelegates = [\n  "b",\n  "c" ]\n',
    "an empty one over lines": "[experts.a]\ndelegates = [ # none yet\n]\n",
    "an inline table": 'experts = { a = { instruction = "x" }, b = {} }\n',
    "inline in a table": '[experts]\na = { instruction = "x", delegates = ["b"] } # c\n',
    "dotted keys": 'experts.a.instruction = "x" # c\nexperts.b.instruction = "y"\n[t]\nz = 1\n',
    "dotted in a table": '[experts]\na.delegates = ["x"] # c\nb.instruction = "y"\n',
    "tables in any order": "[experts.a]\nx=1\n[p]\nz=1\n[experts.b]\n\n[experts.a.skills.q]\nt=1",
    "quoted names": "[\"experts\".'a']\n'instruction' = '''\nx\n'''\n",
    "letters of the world": '# ÄÖ 世界\n[experts.a]\ninstruction = "Grüße, 世界 🌍" # ß\n',
    "tabs": '[experts.a]\n\tdelegates = [\n\t\t"b",\n\t]\n',
}


def _comments(text: str) -> list[str]:
    # No form above has a '#' in a string.
    return re.findall(r"#[^\r\n]*", text)


def _with(text: str, expert: str, delegate: str) -> dict[str, Any]:
    meant = tomllib.loads(text)
    meant["experts"][expert].setdefault("delegates", []).append(delegate)
    return meant


@pytest.mark.parametrize("break_", ["\n", "\r\n"])
@pytest.mark.parametrize("form", FORMS)
def test_a_delegate_is_added_in_every_form_and_all_comments_stay(form: str, break_: str) -> None:
    text = FORMS[form].replace("\n", break_)
    written = add_delegate(text, "a", KEY)
    assert tomllib.loads(written) == _with(text, "a", KEY)
    assert sorted(_comments(written)) == sorted(_comments(text))
    assert written.count("\n") == written.count(break_)


def test_a_byte_order_mark_stays() -> None:
    written = add_delegate("\ufeff" + FORMS["a table"], "a", KEY)
    assert written.startswith("\ufeff# " if FORMS["a table"].startswith("#") else "\ufeff[")
    assert written[1:] == add_delegate(FORMS["a table"], "a", KEY)


def test_only_the_new_line_is_new() -> None:
    text = FORMS["no comma at its end"]
    before, after = text.splitlines(), add_delegate(text, "a", KEY).splitlines()
    assert [line for line in after if line not in before] == ['  "c", # c ]', f'  "{KEY}"']


@pytest.mark.parametrize(
    ("text", "expert", "said"),
    [
        ('[experts.a]\ndelegates = ["b"]\n', "a", "delegates to b already"),
        ("[experts.a]\nx = 1\n", "c", "does not define c"),
        ("x = 1\n", "a", "does not define a"),
        ("[experts.a\n", "a", "not valid TOML"),
        ("experts = 3\n", "a", "no table"),
        ("[experts.a]\ndelegates = 3\n", "a", "no list"),
    ],
)
def test_what_cannot_be_added_is_said(text: str, expert: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        add_delegate(text, expert, "b")


_WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="#", exclude_categories=("Cs", "Cc")),
    max_size=12,
)
_NAMES = st.one_of(st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True), _WORDS.filter(bool))
_COMMENT = st.from_regex(r"# [a-z,\]\"' ]{0,9}", fullmatch=True)


@st.composite
def _arrays(draw: st.DrawFn) -> str:
    values = draw(st.lists(_WORDS, max_size=4))
    if draw(st.booleans()):
        return toml_value([*values])
    lines = [f"[{draw(st.sampled_from(['', ' # first']))}"]
    for at, value in enumerate(values):
        comma = "," if at < len(values) - 1 or draw(st.booleans()) else ""
        space = draw(st.sampled_from(["", "  ", "\t"]))
        lines.append(f"{space}{toml_value(value)}{comma}{draw(st.sampled_from(['', ' # b,']))}")
        if draw(st.booleans()):
            lines.append(draw(_COMMENT))
    return "\n".join([*lines, f"{draw(st.sampled_from(['', '  ']))}]"])


@st.composite
def _files(draw: st.DrawFn) -> tuple[str, str]:
    names = draw(st.lists(_NAMES, min_size=1, max_size=4, unique=True))
    lines = draw(st.lists(_COMMENT, max_size=2))
    for name in names:
        if draw(st.booleans()):
            lines += ["", draw(_COMMENT)]
        lines.append(f"[experts.{toml_key(name)}]")
        lines.append(f"instruction = {toml_value(draw(_WORDS))}")
        if draw(st.booleans()):
            lines.append(f"delegates = {draw(_arrays())}")
        if draw(st.booleans()):
            lines += [f"[experts.{toml_key(name)}.skills.x]", 'type = "mcp" # t']
        if draw(st.booleans()):
            lines += [f"[other.{toml_key(name)}]", "z = 1"]
    text = "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n# end\n"]))
    return draw(st.sampled_from([text, text.replace("\n", "\r\n")])), draw(st.sampled_from(names))


@given(_files())
def test_whatever_the_file_it_differs_by_the_delegate_alone(made: tuple[str, str]) -> None:
    text, expert = made
    written = add_delegate(text, expert, KEY)
    assert tomllib.loads(written) == _with(text, expert, KEY)
    assert sorted(_comments(written)) == sorted(_comments(text))


@given(_files(), _files())
def test_drafted_experts_take_the_place_of_their_own(
    made: tuple[str, str], drafted: tuple[str, str]
) -> None:
    text, draft = made[0], drafted[0]
    meant = tomllib.loads(text)
    meant["experts"].update(tomllib.loads(draft)["experts"])
    assert tomllib.loads(with_experts(text, draft)) == meant


@pytest.mark.parametrize("form", FORMS)
def test_experts_are_replaced_and_added_in_every_form(form: str) -> None:
    draft = (
        '[experts.a]\ninstruction = """\none\ntwo"""\n[experts.a.skills.w]\ntype = "mcp"\n'
        '[experts."né w"]\ninstruction = "n" # new\n'
    )
    meant = tomllib.loads(FORMS[form])
    meant["experts"].update(tomllib.loads(draft)["experts"])
    assert tomllib.loads(with_experts(FORMS[form], draft)) == meant


def test_what_an_expert_says_as_before_keeps_its_comment() -> None:
    text = (
        "# the team\nmodel = 'm' # ours\n\n[experts.a] # first\ninstruction = 'x' # old\n"
        "version = '1.0.0' # kept\n\n# about b\n[experts.b]\ninstruction = 'b'\n"
    )
    draft = (
        '[experts.a]\nversion = "1.0.0"\ninstruction = """\nnew\nlines"""\n\n'
        '# drafted\n[experts.c]\ninstruction = "c" # why\n'
    )
    assert with_experts(text, draft) == (
        '# the team\nmodel = \'m\' # ours\n\n[experts.a] # first\ninstruction = """\nnew\n'
        'lines""" # old\nversion = \'1.0.0\' # kept\n\n# about b\n[experts.b]\n'
        "instruction = 'b'\n\n[experts.c]\ninstruction = \"c\" # why\n"
    )


def test_experts_of_an_empty_file_are_those_drafted() -> None:
    assert with_experts("", '[experts.a]\ninstruction = "x"\n') == (
        '[experts.a]\ninstruction = "x"\n'
    )
    assert with_experts("# mine\n", "") == "# mine\n"
