"""Firefox and WebKit as Debian has them, driven by WebDriver; each is missing where it is not installed.

Firefox is asked over Marionette, its own way in, for Debian has no geckodriver; WebKitGTK, the engine of Safari, by its
WebKitWebDriver, in a screen that Xvfb plays. Both are given the same commands, and what they do is seen by scripts,
which look into open shadow roots. What runs concurrently: the browser, and for WebKit its driver and Xvfb. Each ends
with the block that it was started in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from typing_extensions import override

from collab_server.demo.embedded import free_port
from tests.harness.clients import new_session
from tests.harness.waiting import until

COMMAND_SECONDS = 60
SHOWN_SECONDS = 60
CONTROL, ENTER = "\ue009", "\ue007"

_FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
_WEBKIT = shutil.which("WebKitWebDriver")
_MINI_BROWSER = next(iter(sorted(Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser"))), None)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what an element is called in WebDriver's answers

# Whatever a person could see: also in shadow roots, and not what is out of use behind something else.
_FIND = """
const [css, words] = arguments;
const all = (root) => root ? [...root.querySelectorAll("*")].flatMap((each) => [each, ...all(each.shadowRoot)]) : [];
const isShown = (each) => each.getClientRects().length > 0 && !each.closest("[inert]");
const said = (each) => each.getAttribute("aria-label") ?? each.textContent;
return all(document).find((each) => each.matches(css) && isShown(each) && said(each).includes(words)) ?? null;
"""


class Window(ABC):
    """The window of a browser."""

    @abstractmethod
    async def _ask(self, command: str, element: str | None = None, **parameters: Any) -> Any:
        """The answer of a command of WebDriver, by the name it has there. Raises RuntimeError where it is an error."""

    async def open(self, url: str) -> None:
        await self._ask("Navigate", url=url)

    async def reload(self) -> None:
        await self._ask("Refresh")

    async def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return await self._ask("ExecuteScript", script=script, args=list(arguments))

    async def shown(self, css: str, words: str = "") -> str:
        """Wait until there is such an element, with such words in its name or its text; its id."""
        found = await until(lambda: self.run(_FIND, css, words), SHOWN_SECONDS, f"{css} {words}")
        return str(found[_ELEMENT])

    async def click(self, css: str, words: str = "") -> None:
        await self._ask("ElementClick", await self.shown(css, words))

    async def type(self, css: str, keys: str) -> None:
        """Type into what is shown, all in one turn of the page; what follows CONTROL is typed with it held."""
        await self._ask("ElementSendKeys", await self.shown(css), text=keys)


class _Firefox(Window):
    """Over a connection that carries `{bytes}:{JSON}` both ways, one command after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0

    async def read(self) -> Any:
        length = await self._reader.readuntil(b":")
        return json.loads(await self._reader.readexactly(int(length[:-1])))

    @override
    async def _ask(self, command: str, element: str | None = None, **parameters: Any) -> Any:
        self._number += 1
        given = parameters if element is None else {"id": element, **parameters}
        message = json.dumps([0, self._number, f"WebDriver:{command}", given]).encode()
        self._writer.write(b"%d:%s" % (len(message), message))
        async with asyncio.timeout(COMMAND_SECONDS):
            _, number, error, answer = await self.read()
        assert number == self._number
        if error:
            raise RuntimeError(f"{command}: {error['error']}: {error['message']}")
        return answer["value"] if list(answer) == ["value"] else answer


_WAYS = {
    "NewSession": "session",
    "Navigate": "url",
    "Refresh": "refresh",
    "ExecuteScript": "execute/sync",
    "ElementClick": "element/{element}/click",
    "ElementSendKeys": "element/{element}/value",
}


class _WebKit(Window):
    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http = http
        self._base = base

    @override
    async def _ask(self, command: str, element: str | None = None, **parameters: Any) -> Any:
        url = f"{self._base}/{_WAYS[command].format(element=element)}"
        async with asyncio.timeout(COMMAND_SECONDS), self._http.post(url, json=parameters) as answer:
            value = (await answer.json())["value"]
            if not answer.ok:
                raise RuntimeError(f"{command}: {value['error']}: {value['message']}")
        return value

    async def begin(self, capabilities: dict[str, Any]) -> None:
        session = await self._ask("NewSession", capabilities={"alwaysMatch": capabilities})
        self._base = f"{self._base}/session/{session['sessionId']}"

    async def end(self) -> None:
        async with asyncio.timeout(COMMAND_SECONDS), self._http.delete(self._base):
            pass


@asynccontextmanager
async def _process(*command: str | Path, environment: dict[str, str], log: Path) -> AsyncIterator[None]:
    """A process, and whatever it starts."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=out, stderr=out, env={**os.environ, **environment}, start_new_session=True
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _answers(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to what is being started there."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", port)
        return None

    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] = await until(connect, 60)
    return connection


@asynccontextmanager
async def _firefox() -> AsyncIterator[Window]:
    assert _FIREFOX is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="firefox", ignore_cleanup_errors=True) as folder:
        _keep_quiet(Path(folder), port)
        command = (_FIREFOX, "--headless", "--no-remote", "--marionette", "--profile", folder, "about:blank")
        async with _process(*command, environment={"HOME": folder}, log=Path(folder, "log")):
            reader, writer = await _answers(port)
            window = _Firefox(reader, writer)
            try:
                await window.read()  # it greets first
                await window._ask("NewSession", capabilities={})
                yield window
            finally:
                writer.close()


def _keep_quiet(profile: Path, port: int) -> None:
    """Have a Firefox ask nothing of anybody by itself."""
    settings = {
        "marionette.port": port,
        "app.update.enabled": False,
        "browser.safebrowsing.malware.enabled": False,
        "browser.safebrowsing.phishing.enabled": False,
        "browser.shell.checkDefaultBrowser": False,
        "datareporting.healthreport.uploadEnabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "extensions.getAddons.cache.enabled": False,
        "intl.accept_languages": "en-GB",
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "network.proxy.type": 0,
        "services.settings.server": "http://127.0.0.1:9/",  # nobody is there
    }
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items()]
    (profile / "user.js").write_text("".join(lines))


@asynccontextmanager
async def _screen(folder: Path) -> AsyncIterator[str]:
    """A screen of its own; its name."""
    said = folder / "display"
    with said.open("wb") as out:
        command = ("Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp")
        process = await asyncio.create_subprocess_exec(
            *command, stdout=out, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )
    try:
        await until(lambda: said.read_text().endswith("\n"), 60)
        yield f":{said.read_text().strip()}"
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _webkit() -> AsyncIterator[Window]:
    assert _WEBKIT is not None
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="webkit", ignore_cleanup_errors=True) as folder:
        async with _screen(Path(folder)) as display, new_session() as http:
            environment = {
                "DISPLAY": display,
                "GDK_BACKEND": "x11",
                "HOME": folder,
                "LANG": "en_GB.UTF-8",
                "LANGUAGE": "en",
                "LIBGL_ALWAYS_SOFTWARE": "1",
                "NO_AT_BRIDGE": "1",
            }
            command = (_WEBKIT, f"--port={port}", "--host=127.0.0.1")
            async with _process(*command, environment=environment, log=Path(folder, "log")):
                _, writer = await _answers(port)
                writer.close()
                window = _WebKit(http, f"http://127.0.0.1:{port}")
                options = {"binary": str(_MINI_BROWSER), "args": ["--automation"]}
                await window.begin({"webkitgtk:browserOptions": options})
                try:
                    yield window
                finally:
                    await window.end()


BROWSERS = {"firefox": _firefox, "webkit": _webkit}

MISSING = {
    "firefox": "" if _FIREFOX else "no Firefox on this machine (Debian: apt-get install firefox-esr)",
    "webkit": ""
    if _WEBKIT and _MINI_BROWSER and shutil.which("Xvfb")
    else "no WebKit on this machine (Debian: apt-get install webkit2gtk-driver xvfb)",
}
"""Why a browser cannot be had; empty where it can."""
