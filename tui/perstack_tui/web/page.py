"""The page that holds the terminal. It loads nothing from anywhere else."""

from __future__ import annotations

from html import escape
from string import Template
from typing import Final

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self' {socket}; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
# The class names are what the terminal's script switches when the first byte came, and at the end.
_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>$title</title>
    <link rel="stylesheet" href="/static/css/xterm.css">
    <link rel="stylesheet" href="/page.css">
    <script src="/static/js/textual.js"></script>
    <script src="/page.js" defer></script>
  </head>
  <body>
    <p class="opening">Opening the cockpit…</p>
    <p class="ended">The session has ended. Its runs stopped with their checkpoints kept.
      <a href="/">Open it again</a></p>
    <div id="terminal" class="textual-terminal"
      data-session-websocket-url="$socket" data-font-size="$font_size"></div>
  </body>
</html>
""")
# The terminal is made once its fonts are there; without the focus it would hear no key.
SCRIPT: Final = """
const focus = () => document.querySelector("#terminal textarea")?.focus();
const made = new MutationObserver(() => {
  focus();
  if (document.activeElement.tagName === "TEXTAREA") made.disconnect();
});
made.observe(document.getElementById("terminal"), { childList: true, subtree: true });
addEventListener("focus", focus);
"""
STYLE: Final = """
@font-face { font-family: "Roboto Mono";
  src: url("/static/fonts/RobotoMono-VariableFont_wght.ttf"); }
html, body { margin: 0; height: 100%; background: #101418; color: #c8d0d8; overflow: hidden;
  font: 16px "Roboto Mono", monospace; }
.opening, .ended { position: absolute; top: 40%; width: 100%; text-align: center; }
.ended { display: none; z-index: 10; padding: 1em 0; background: #101418; }
.ended a { color: #7fb4ff; }
body.-first-byte .opening { display: none; }
body.-closed .ended { display: block; }
body.-closed .opening { display: none; }
"""


def page(title: str, socket: str, font_size: int) -> str:
    """Return the page; `socket` is where the terminal's web socket is."""
    return _PAGE.substitute(title=escape(title), socket=escape(socket), font_size=font_size)
