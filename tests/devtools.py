"""Drives a real headless Chromium with the standard library: the DevTools protocol over a pair of pipes.

The protocol is JSON messages ended by a zero byte; Chromium reads them from descriptor 3 and writes to 4.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--mute-audio", "--remote-debugging-pipe",
)  # fmt: skip

PLAYED = """(async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  document.documentElement.style.scrollBehavior = "auto";
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  const result = [];
  for (const take of document.querySelectorAll(".take")) {
    take.scrollIntoView({ block: "center" });
    const videos = [...take.querySelectorAll("video")];
    const ready = videos.map(() => 0), moved = videos.map(() => false);  // a loop's jump back unreadies it again
    for (let i = 0; i < 200 && !moved.every(Boolean); i++) {
      const before = videos.map((v) => v.currentTime);
      await pause(50);
      videos.forEach((v, n) => {
        ready[n] = Math.max(ready[n], v.readyState);
        moved[n] ||= v.readyState >= 2 && v.currentTime > before[n];
      });
    }
    videos.forEach((v, n) => result.push([v.getAttribute("src"), ready[n], moved[n], v.videoWidth]));
  }
  return result;
})()"""
"""Plays every take of a report; gives [source, readyState, whether time passed, width] of each video."""


class Page:
    """One tab. What the page printed as an error, or threw, gathers in `errors`; what it asked for in `requests`."""

    def __init__(self, reads: int, writes: int) -> None:
        self.reads, self.writes, self.rest, self.number = reads, writes, b"", 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        self.session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, *, timeout: float = 30.0, **params: Any) -> Any:
        """Send one command and return its result; events that come first are taken note of."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + timeout
        while True:
            answer = self.receive(until)
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reads], [], [], max(0.0, until - time.monotonic()))
            assert ready, "Chromium did not answer in time"
            data = os.read(self.reads, 1 << 20)
            assert data, "Chromium ended"
            self.rest += data
        text, _, self.rest = self.rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self.note(message.get("method", ""), message.get("params", {}))
        return message

    def note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(
        self, file: Path, *, width: int = 1280, height: int = 900, scheme: str = "light", calm: bool = False
    ) -> None:
        """Load a file at a window size and wait for its load event."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.loaded = False
        self.call("Page.navigate", url=file.resolve().as_uri())
        until = time.monotonic() + 30
        while not self.loaded:
            self.receive(until)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """Save the whole page, not only the window, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, timeout=60)
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Start Chromium with a fresh profile folder and yield a tab; it is ended afterwards."""
    assert CHROMIUM, "no Chromium is installed"
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()

    def plug() -> None:  # in the child: the numbers that Chromium expects
        ends = os.dup(commands_out), os.dup(answers_in)
        os.dup2(ends[0], 3, inheritable=True)
        os.dup2(ends[1], 4, inheritable=True)

    process = subprocess.Popen(
        [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=plug, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(commands_out)
    os.close(answers_in)
    try:
        yield Page(answers_out, commands_in)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands_in)
        os.close(answers_out)
