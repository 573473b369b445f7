"""Reading documents: what they refer to, and how they changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perstack.domain.documents import Reference, anchors, compare, read_document

TEXT = """\
# The guide to it

Look at `src/app.py`, at `lib/x.ts:12` and ``a/b.go``; `pip install x`, `Node.js` and `*.py` are no
files. See [the API](api.md#calls "title"), [the web](https://x.org/a.md) and ![one](img/a.png).

```python
`src/not_read.py`
```

~~~mermaid
graph TD
~~~

## Setting `it` up!
## Setting `it` up!
"""


def test_references_links_headings_and_languages_are_found() -> None:
    document = read_document("docs/guide.md", TEXT)
    assert document.code_references == (
        Reference("src/app.py", 3),
        Reference("lib/x.ts", 3),
        Reference("a/b.go", 3),
    )
    assert document.links == (Reference("api.md#calls", 4), Reference("img/a.png", 4))
    assert document.intent == "The guide to it"
    assert document.languages == ("mermaid", "python")
    assert (document.diagrams, document.open_fence) == (1, None)
    assert anchors(document) == {"the-guide-to-it", "setting-it-up", "setting-it-up-1"}


def test_a_million_titles_that_are_not_closed_are_read_in_bounded_time() -> None:
    assert read_document("a.md", '[a](b "' * 140_000).links == ()
    assert read_document("a.md", f'[a](b "{"t" * 300}")').links == ()
    assert read_document("a.md", f'[a](b "{"t" * 299}")').links == (Reference("b", 1),)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("README.md", "readme"),
        ("docs/CHANGELOG.mdx", "changelog"),
        ("docs/adr/0001-x.md", "adr"),
        ("docs/api.md", "api"),
        ("docs/runbooks/x.md", "ops"),
        ("docs/architecture.md", "architecture"),
        ("docs/guides/x.md", "guide"),
        ("docs/x.md", "other"),
    ],
)
def test_documents_have_a_type(path: str, kind: str) -> None:
    assert read_document(path, "# X").type == kind


def test_a_fence_that_is_not_closed_is_found() -> None:
    assert read_document("a.md", "x\n```\n~~~\n``` python\n").open_fence == 2


def test_a_change_is_counted_by_sections_and_diagrams() -> None:
    after = TEXT.replace("graph TD", "graph LR").replace("## Setting `it` up!\n", "", 1)
    change = compare(TEXT, after + "## New\n## Newer\n")
    assert (change.sections_added, change.sections_removed, change.diagrams_updated) == (2, 1, 1)
    assert compare(TEXT, TEXT) == compare("", "")


@given(st.text(alphabet="`~#[]()! ab./\n\"'<>*:-", max_size=400))
def test_any_text_can_be_read(text: str) -> None:
    document = read_document("a.md", text)
    lines = len(text.splitlines())
    assert all(1 <= one.line <= lines for one in (*document.code_references, *document.links))
    compare(text, "")
    anchors(document)
