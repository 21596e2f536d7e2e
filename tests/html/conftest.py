"""Facts of a small model, with hostile names in it, and a browser to look at its page."""

import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onnxq.facts import facts
from onnxq.options import Options
from onnxq.pipeline import quantize
from onnxq.testing import normal, parse

HOSTILE = "<script>alert('x')</script>\"'&"
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--disable-dev-shm-usage --no-first-run --hide-scrollbars --remote-debugging-pipe"
)
PATIENCE = 60  # seconds, on a machine that is busy


@pytest.fixture(scope="session")
def told_facts() -> dict[str, Any]:
    """As JSON gives them back: two layers for two backends, nothing built, one name that is markup."""
    text = "g (float[N,4] x) => (float[N,4] y) { [one] a = MatMul(x, w) [act] b = Relu(a) [two] y = MatMul(b, w) }"
    model = parse(text, w=normal(4, 4))
    model.graph.node[0].name = HOSTILE
    model.graph.node[1].output[0] = model.graph.node[2].input[0] = HOSTILE + "tensor"
    options = Options(build=False, portrayed=True)
    result = quantize(model, {"x": normal(64, 4)}, backend=("onnxruntime", "openvino"), options=options, ablate=True)
    found: dict[str, Any] = json.loads(json.dumps(facts(result), allow_nan=False))
    return found


class Tab:
    """A page in Chromium, driven over a pipe by the protocol of its developer tools."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, os.fdopen(write, "wb")
        self._number, self._left = 0, b""
        self.told: list[dict[str, Any]] = []  # of events, in order
        self._session = ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while (answer := self._next()).get("id") != self._number:
            self.told.append(answer)
        assert "error" not in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "Chromium has gone"
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, path: Path, width: int = 1200, theme: str = "light") -> None:
        """Show a file, as wide as a desktop's window or a phone."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.told.clear()
        self("Page.navigate", url=path.as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self.told):
            self.told.append(self._next())

    def seen(self, expression: str) -> Any:
        """The value of an expression in the page, by the developer tools, which no policy of the page binds."""
        found = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def click(self, element: str) -> None:
        """Press and release the mouse in the middle of what the expression finds."""
        self.seen(f"({element}).scrollIntoView({{block: 'center', inline: 'center'}})")
        middle = "({x, y, width, height}) => [x + width / 2, y + height / 2]"
        box = self.seen(f"({middle})(({element}).getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    @property
    def fetched(self) -> list[str]:
        """What the page asked for."""
        asked = [one for one in self.told if one.get("method") == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in asked]

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self("Browser.close")
        os.close(self._read)
        self._write.close()


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """Of a browser that ends with the tests."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed, in which the page could be looked at")
    (read, to_read), (to_write, write) = os.pipe(), os.pipe()
    profile = tmp_path_factory.mktemp("chromium")
    words = ["bash", "-c", f'exec "$@" 3<&{to_write} 4>&{to_read}', "bash"]
    process = subprocess.Popen(
        [*words, chromium, *ARGUMENTS.split(), f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(to_write, to_read),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    tab = Tab(read, write)
    try:
        yield tab
    finally:
        tab.close()
        process.wait(30)


@pytest.fixture
def opened(tab: Tab) -> Callable[..., Tab]:
    """Opens a file in the one tab there is."""

    def show(path: Path, width: int = 1200, theme: str = "light") -> Tab:
        tab.open(path, width, theme)
        return tab

    return show
