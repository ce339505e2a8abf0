"""A real Chromium without a window, driven by its DevTools protocol over a pipe.

It knows no host but 127.0.0.1, and a tab keeps all that the browser asked for and complained of.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from tests.rig.wait import wait_until

_COMMAND = [
    "/usr/bin/chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
]  # fmt: skip
_ANSWER_SECONDS = 20.0


class Browser:
    """One process, for the time of a `with` block."""

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="smtpguard-browser-", ignore_cleanup_errors=True)
        (read_here, write_there), (read_there, write_here) = _pipe(), _pipe()
        # It reads from descriptor 3 and writes to 4.
        shell = f'exec "$@" 3<&{read_there} 4>&{write_there} {read_there}<&- {write_there}>&-'
        self._log = Path(self._home.name, "stderr")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "/bin/bash", "-c", shell, "chromium", *_COMMAND, f"--user-data-dir={self._home.name}/profile",
                    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank",
                ],
                pass_fds=(read_there, write_there), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "HOME": self._home.name}, start_new_session=True,
            )  # fmt: skip
        os.close(read_there)
        os.close(write_there)
        self._to = os.fdopen(write_here, "wb")
        self._from = os.fdopen(read_here, "rb")
        self._numbers = count(1)
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, where: TracebackType | None
    ) -> None:
        self.ask("Browser.close")
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._to.close()
        self._from.close()
        self._home.cleanup()

    def _read(self) -> None:
        left = b""
        while octets := self._from.read1(1 << 16):
            *messages, left = (left + octets).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    self._answers.pop(message["id"]).put(message)
                elif tab := self._tabs.get(message.get("sessionId", "")):
                    tab.told(message["method"], message["params"])

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers."""
        number = next(self._numbers)
        answer = self._answers[number] = SimpleQueue()
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        try:
            told = answer.get(timeout=_ANSWER_SECONDS)
        except Empty:
            raise AssertionError(f"{method}: no answer\n{self._log.read_text(errors='replace')}") from None
        assert "result" in told, f"{method}: {told}"
        result: dict[str, Any] = told["result"]
        return result

    @contextmanager
    def tab(self, width: int = 1280, height: int = 900, scheme: str = "light", script: bool = True) -> Iterator[Tab]:
        """Open a tab of a size, for who likes it light or dark, with scripts or without."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.ask(f"{domain}.enable")
        tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        tab.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        if not script:
            tab.ask("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield tab
        finally:
            del self._tabs[session]
            self.ask("Target.closeTarget", targetId=target)


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, whose numbers are none that the browser wants for them."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


class Tab:
    """One page that is looked at."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = threading.Event()
        self.requests: list[str] = []
        """Addresses that were asked for."""
        self.complaints: list[str] = []
        """Errors, warnings, violations of the content security policy, uncaught exceptions."""

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return what the browser answers for this tab."""
        return self._browser.ask(method, self._session, **parameters)

    def told(self, method: str, what: dict[str, Any]) -> None:
        """Take what the browser tells of its own accord."""
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(what["request"]["url"])
            case "Log.entryAdded" if what["entry"]["level"] in {"error", "warning"}:
                self.complaints.append(what["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(what["args"]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(what["exceptionDetails"]))

    def open(self, address: str) -> None:
        """Go there, and wait until all of it is loaded."""
        self._loaded.clear()
        assert "errorText" not in self.ask("Page.navigate", url=address)
        assert self._loaded.wait(_ANSWER_SECONDS), f"{address} is not loaded"

    def value(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript; works where the page's own scripts do not run, too."""
        told = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, expression: str, seconds: float = 15) -> Any:
        """Wait until it is true."""
        found: Callable[[], Any] = lambda: self.value(expression)  # noqa: E731
        return wait_until(found, expression, seconds, lambda: str(self.value("document.body.innerText"))[:2000])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)

    def picture(self, path: Path, whole: bool = True) -> Path:
        """Save what it looks like."""
        shot = self.ask(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=whole,
            **({"clip": self._all()} if whole else {}),
        )
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _all(self) -> dict[str, Any]:
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
