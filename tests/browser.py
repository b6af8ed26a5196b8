"""A browser for tests: headless Chromium, driven through a pipe by its DevTools protocol."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 30.0
_CODES = {" ": "Space", "Enter": "Enter", "ArrowLeft": "ArrowLeft", "ArrowRight": "ArrowRight", "Escape": "Escape"}


class Tab:
    """One page. What fails in it, as an exception or against its policy, fails the test that asks for it."""

    def __init__(self, process: subprocess.Popen[bytes], downloads: Path) -> None:
        self._process, self._rest, self._number, self._session = process, b"", 0, ""
        self.downloads = downloads
        self.problems: list[str] = []
        self._events: list[dict[str, Any]] = []
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        answer = self._until(lambda said: said.get("id") == number)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path) -> None:
        """Load a page from the disk."""
        self._events.clear()
        self.ask("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def wait_for(self, event: str, **fields: Any) -> None:
        """Wait until an event has come since the page was opened or the last wait, with these fields."""

        def is_it(said: dict[str, Any]) -> bool:
            return said.get("method") == event and fields.items() <= said["params"].items()

        if not any(map(is_it, self._events)):
            self._until(is_it)
        self._events.clear()

    def value(self, expression: str) -> Any:
        """Value of an expression in the page; of a promise, what it comes to."""
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, *keys: str, ctrl: bool = False) -> None:
        """Press keys one after the other, by their names or letters."""
        for key in keys:
            common = {"key": key, "code": _CODES.get(key, ""), "modifiers": 2 if ctrl else 0}
            text = {"text": key} if len(key) == 1 and not ctrl else {"text": "\r"} if key == "Enter" else {}
            self.ask("Input.dispatchKeyEvent", type="keyDown", **common, **text)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def resize(self, width: int, height: int) -> None:
        """Give the window a size, in px."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def _until(self, is_it: Any) -> dict[str, Any]:
        end = time.monotonic() + _SECONDS
        while True:
            while b"\0" not in self._rest:
                if not self._selector.select(max(0.0, end - time.monotonic())):
                    raise TimeoutError("the browser does not answer")
                assert self._process.stdout is not None
                read = os.read(self._process.stdout.fileno(), 1 << 20)
                if not read:
                    raise EOFError("the browser has ended")
                self._rest += read
            first, _, self._rest = self._rest.partition(b"\0")
            said: dict[str, Any] = json.loads(first)
            if said.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(said["params"]["exceptionDetails"]))
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.problems.append(str(said["params"]["entry"]))
            if "method" in said:
                self._events.append(said)
            if is_it(said):
                return said


@contextmanager
def open_browser(folder: Path) -> Iterator[Tab]:
    """Run a browser inside the block; skip the test, aloud, where none is installed.

    Args:
        folder: Where it may write; downloads go to ``downloads`` in it.
    """
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        message = "no Chromium is installed; tests of pages in a browser are SKIPPED"
        warnings.warn(message, stacklevel=1)
        pytest.skip(message)
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    options = [
        "--headless", "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "--no-first-run",
        "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--disable-background-networking",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]  # fmt: skip
    through_pipe = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null'
    process = subprocess.Popen(
        ["/bin/sh", "-c", through_pipe, "sh", program, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Tab(process, downloads)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
