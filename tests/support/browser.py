"""Chromium without a screen, driven through chromedriver's own HTTP interface (W3C WebDriver).

`with chromium(folder) as browser:` gives one, or skips the test and says what is missing.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.consent import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element's reference; WebDriver, section 12.1
TAB, ENTER = "\ue004", "\ue007"
_QUIET = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


class BrowserError(AssertionError):
    """The driver could not do what it was asked for."""


class Browser:
    """One window."""

    def __init__(self, driver: str, session: str, http: requests.Session) -> None:
        self._http, self._base = http, f"{driver}/session/{session}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(
            method, self._base + path, json={} if method == "POST" and body is None else body
        )
        value = answer.json()["value"]
        if not answer.ok:
            raise BrowserError(f"{method} {path}: {value}")
        return value

    def open(self, url: str) -> None:
        self.ask("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self.ask("GET", "/url"))

    @property
    def source(self) -> str:
        return str(self.ask("GET", "/source"))

    def find(self, css: str) -> str:
        return str(self.ask("POST", "/element", {"using": "css selector", "value": css})[ELEMENT])

    def all(self, css: str) -> list[str]:
        return [
            found[ELEMENT] for found in self.ask("POST", "/elements", {"using": "css selector", "value": css})
        ]

    def text(self, css: str) -> str:
        return str(self.ask("GET", f"/element/{self.find(css)}/text"))

    def sees(self, css: str, wanted: str) -> None:
        """Wait until an element has this text: what a key or a click leads to comes when it comes."""
        end, last = time.monotonic() + 20, ""
        while time.monotonic() < end:
            try:
                last = self.text(css)
            except BrowserError as error:  # not there yet, or of the page before
                last = str(error)
            if last == wanted:
                return
            time.sleep(0.05)
        raise AssertionError(f"{css} never said {wanted!r}, but at last {last!r}")

    def texts(self, css: str) -> list[str]:
        return [str(self.ask("GET", f"/element/{found}/text")) for found in self.all(css)]

    def click(self, css: str) -> None:
        self.ask("POST", f"/element/{self.find(css)}/click")

    def link(self, words: str) -> None:
        found = self.ask("POST", "/element", {"using": "link text", "value": words})[ELEMENT]
        self.ask("POST", f"/element/{found}/click")

    def type(self, css: str, text: str) -> None:
        self.ask("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Press keys one after the other, on what has the focus."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    def run(self, script: str, *args: Any) -> Any:
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(args)})

    def dark(self, *, on: bool) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self.ask(
            "POST",
            "/goog/cdp/execute",
            {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}},
        )

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile below `folder`; it and its driver end with the block."""
    binary = next(
        (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
    )
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    port, profile = free_port(), folder / "profile"
    profile.mkdir()
    http = requests.Session()
    http.trust_env = False
    process = subprocess.Popen(
        [driver, f"--port={port}", "--silent"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    session = None
    try:
        _until_ready(http, address)
        options = {
            "binary": binary,
            "args": [*_QUIET, f"--user-data-dir={profile}", "--window-size=1200,900"],
        }
        wanted = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options}
        answer = http.post(f"{address}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
        assert answer.ok, answer.text
        session = answer.json()["value"]["sessionId"]
        yield Browser(address, session, http)
    finally:
        if session is not None:
            http.delete(f"{address}/session/{session}", timeout=30)
        process.terminate()
        process.wait(timeout=30)
        http.close()


def _until_ready(http: requests.Session, address: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            if http.get(f"{address}/status", timeout=5).json()["value"]["ready"]:
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < end, "chromedriver does not answer"
        time.sleep(0.05)
