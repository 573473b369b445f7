"""A real Chromium without a window, driven over its debugging socket."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
import pyte

BOUND_S: Final = 45.0
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
# Keeps what the server sends to the terminal, so that the screen can be read as a terminal has it.
_LISTEN: Final = """
window.__heard = "";
const Plain = window.WebSocket;
window.WebSocket = class extends Plain {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", async (event) => {
      if (typeof event.data === "string") return;
      const bytes = new Uint8Array(await new Response(event.data).arrayBuffer());
      window.__heard += Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
    });
  }
};
"""
_KEYS: Final = {"enter": ("Enter", 13, "\r"), "escape": ("Escape", 27, "")}


class Tab:
    """A page. All waits are bounded."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        with anyio.fail_after(BOUND_S):
            while True:
                message = json.loads(await self._socket.receive_str())
                if message.get("id") == number:
                    assert "error" not in message, message
                    return message["result"]

    async def open(self, url: str) -> None:
        """Go to an address."""
        await self.ask("Page.enable")
        await self.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        await self.ask("Page.addScriptToEvaluateOnNewDocument", source=_LISTEN)
        await self.ask("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        """Return what an expression is in the page."""
        result = await self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return result["result"].get("value")

    async def screen(self, columns: int = 400, rows: int = 200) -> list[str]:
        """Return the lines of the terminal in the page."""
        heard = str(await self.value("window.__heard || ''"))
        screen = pyte.Screen(columns, rows)
        pyte.ByteStream(screen).feed(heard.encode("latin-1"))
        return [line.rstrip() for line in screen.display]

    async def until(self, condition: Callable[[str], bool]) -> str:
        """Wait until the screen's text is as wanted; return it."""
        text = ""
        with anyio.move_on_after(BOUND_S):
            while True:
                text = "\n".join(await self.screen())
                if condition(text):
                    return text
                await anyio.sleep(0.05)
        raise AssertionError(f"the screen never came to it:\n{text}")

    async def press(self, key: str) -> None:
        """Press a key."""
        name, code, text = _KEYS.get(key, (key, ord(key[0].upper()), key))
        down = {"key": name, "windowsVirtualKeyCode": code}
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **down)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **down)

    async def picture(self, path: Path) -> None:
        """Save what the page looks like."""
        result = await self.ask("Page.captureScreenshot", format="png")
        await anyio.Path(path).write_bytes(base64.b64decode(result["data"]))


@asynccontextmanager
async def browser(home: Path) -> AsyncGenerator[Tab]:
    """Open Chromium with one tab."""
    assert CHROMIUM is not None
    process = await anyio.open_process(
        [
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-dev-shm-usage", "--disable-background-networking"),
            *("--window-size=1400,900", f"--user-data-dir={home / 'profile'}"),
            *("--remote-debugging-port=0", "about:blank"),
        ],
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = await _port(home / "profile" / "DevToolsActivePort")
        async with aiohttp.ClientSession() as client:
            async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in await answer.json() if one["type"] == "page"]
            async with client.ws_connect(
                pages[0]["webSocketDebuggerUrl"], max_msg_size=1 << 26
            ) as socket:
                yield Tab(socket)
    finally:
        process.kill()
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            await process.wait()


async def _port(file: Path) -> int:
    with anyio.fail_after(BOUND_S):
        while True:
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            await anyio.sleep(0.05)
