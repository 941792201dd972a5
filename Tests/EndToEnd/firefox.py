"""Firefox ESR without a driver: headless, as root too; its page fetches what it shall do and posts the results."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from aiohttp import web

from browser import PAGES, TestPage

FIREFOX = "/usr/bin/firefox-esr"
START_LIMIT_SECONDS = 45
CALL_LIMIT_SECONDS = 30
END_LIMIT_SECONDS = 10
POLL_SECONDS = 20  # how long a request for the next call may stay open
LOG_TAIL = 2000

# Written as user.js into a fresh profile.
PREFERENCES = {
    # Media: a camera and microphone that beep and change colour, no questions, host candidates as they are.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.peerconnection.ice.loopback": True,
    # A page that nobody looks at keeps its pace.
    "dom.min_background_timeout_value": 4,
    "dom.timeout.enable_budget_timer_throttling": False,
    # No start pages and no traffic of its own; above all no download of an H264 codec in the middle of a test.
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-provider.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.aboutwelcome.enabled": False,
    "startup.homepage_welcome_url": "",
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
}


def literal(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'


class Firefox:
    """One browser process with one tab, and the HTTP server it gets pages and calls from."""

    def __init__(self):
        self.pages: dict[str, FirefoxPage] = {}
        self.numbers = itertools.count(1)
        self.process: subprocess.Popen | None = None
        self.spare: FirefoxPage | None = None

    async def start(self) -> "Firefox":
        application = web.Application()
        application.router.add_get("/driven/next", self._next)
        application.router.add_post("/driven/result", self._result)
        application.router.add_static("/", PAGES)
        # The last page always has a request open: stopping does not wait for it.
        self.runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        self._end_process()
        await self.runner.cleanup()

    async def page(self) -> "FirefoxPage":
        """A fresh page. Starts the browser when there is none (any more)."""
        page = self.spare
        if page is None or self.process is None or self.process.poll() is not None:
            page = self.spare = self._next_page()
            self._start_process(page.url)
        await page.wait_for_life(START_LIMIT_SECONDS)
        self.spare = None
        return page

    def replace(self, page: "FirefoxPage") -> None:
        """Another page takes the place of this one in the tab, which ends all that it had open."""
        self.spare = self._next_page()
        page.calls.put_nowait({"open": self.spare.url})

    def _next_page(self) -> "FirefoxPage":
        page = FirefoxPage(self, str(next(self.numbers)))
        self.pages[page.number] = page
        return page

    def _start_process(self, url: str) -> None:
        self._end_process()
        self.profile = Path(tempfile.mkdtemp(prefix="weir-firefox-"))
        (self.profile / "user.js").write_text(
            "".join(f'user_pref("{key}", {literal(value)});\n' for key, value in PREFERENCES.items()))
        with (self.profile / "firefox.log").open("wb") as log:
            # HOME too: Firefox refuses to run as root in the home directory of somebody else.
            self.process = subprocess.Popen(
                [FIREFOX, "--headless", "--no-remote", "--profile", str(self.profile), url],
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "HOME": str(self.profile), "MOZ_CRASHREPORTER_DISABLE": "1"})

    def _end_process(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(END_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        shutil.rmtree(self.profile, ignore_errors=True)

    def log_tail(self) -> str:
        log = self.profile / "firefox.log"
        return log.read_text(errors="replace")[-LOG_TAIL:] if log.exists() else ""

    async def _next(self, request: web.Request) -> web.Response:
        page = self.pages.get(request.query["page"])
        if page is None:
            return web.Response(status=404)
        page.alive.set()
        try:
            return web.json_response(await asyncio.wait_for(page.calls.get(), POLL_SECONDS))
        except asyncio.TimeoutError:
            return web.Response(status=204)

    async def _result(self, request: web.Request) -> web.Response:
        body = await request.json()
        if page := self.pages.get(body["page"]):
            page.receive(body)
        return web.Response(status=204)


class FirefoxPage(TestPage):
    """What TestPage is for Chromium: `call` runs a function of pages/app.js."""

    __test__ = False

    def __init__(self, browser: Firefox, number: str):
        self.browser, self.number = browser, number
        self.url = f"{browser.origin}/driven.html?page={number}"
        self.messages: list[str] = []
        self.calls: asyncio.Queue = asyncio.Queue()
        self.alive = asyncio.Event()
        self.waiting: dict[int, asyncio.Future] = {}
        self.identifiers = itertools.count(1)

    async def wait_for_life(self, limit: float) -> None:
        try:
            await asyncio.wait_for(self.alive.wait(), limit)
        except asyncio.TimeoutError:
            raise AssertionError(f"Firefox does not show its page\n{self.browser.log_tail()}") from None

    def receive(self, body: dict) -> None:
        if "message" in body:
            self.messages.append(body["message"])
            return
        future = self.waiting.pop(body["id"], None)
        if future is None or future.done():
            return
        if "error" in body:
            future.set_exception(AssertionError(f"Firefox: {body['error']}"))
        else:
            future.set_result(body["value"])

    async def call(self, name: str, *arguments):
        identifier = next(self.identifiers)
        future = self.waiting[identifier] = asyncio.get_running_loop().create_future()
        await self.calls.put({"id": identifier, "name": name, "args": list(arguments)})
        try:
            return await asyncio.wait_for(future, CALL_LIMIT_SECONDS)
        except asyncio.TimeoutError:
            raise AssertionError(f"Firefox: {name} has not returned\n{self.browser.log_tail()}") from None

    async def close(self) -> None:
        self.browser.replace(self)
