"""Pages of a real Chromium, driven by Playwright, and the judgements about the media they show."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

PAGES = Path(__file__).resolve().parent / "pages"
# Modules of the server's own page, for pages of tests that use one of them alone.
WEB = Path(__file__).resolve().parents[2] / "Sources/HTTPServer/Web"
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required", "--disable-features=WebRtcHideLocalIpsWithMdns",
    # Several pages run at once and only one can be in front; none of them may be slowed down.
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
]
MEASURE_SECONDS = 2.5
# What is wrong with a stream shows in every window of time; a machine that stands still for a moment spoils one.
WINDOWS = 4
FRAME_RATE = 15
LEAST_SENT = 10  # pictures in MEASURE_SECONDS, below which a publisher is judged broken, not slow
LEAST_RATE = 3.0  # pictures per second, likewise
SENT_LAG = 5  # pictures that a publisher of another process may have sent without having said so yet
STRIP = {
    "VP8": ["VP9", "H264", "AV1"], "VP9": ["VP8", "H264", "AV1"],
    "H264": ["VP8", "VP9", "AV1"], "AV1": ["VP8", "VP9", "H264"],
}


class Chromium:
    """One browser process and the HTTP server its pages come from."""

    async def start(self) -> "Chromium":
        application = web.Application()
        application.router.add_static("/web", WEB)
        application.router.add_static("/", PAGES)
        self.runner = web.AppRunner(application)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self.playwright = await async_playwright().start()
        self.browser: Browser = await self.playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=FLAGS, ignore_default_args=["--mute-audio"])
        return self

    async def stop(self) -> None:
        await self.browser.close()
        await self.playwright.stop()
        await self.runner.cleanup()

    async def page(self, path: str = "index.html") -> "TestPage":
        context = await self.browser.new_context()
        page = await context.new_page()
        out = TestPage(page)
        await page.goto(f"{self.origin}/{path}")
        await page.wait_for_function("window.app && window.app.ready")
        return out


class TestPage:
    """One page. `call` runs a function of pages/app.js; `messages` holds what the page wrote to its console."""

    __test__ = False  # not a test class, whatever its name says to pytest

    def __init__(self, page: Page):
        self.page = page
        self.messages: list[str] = []
        page.on("console", lambda message: self.messages.append(message.text))
        page.on("pageerror", lambda error: self.messages.append(str(error)))

    async def call(self, name: str, *arguments):
        return await self.page.evaluate(
            "([name, args]) => window.app[name](...args)", [name, list(arguments)])

    async def close(self) -> None:
        await self.page.context.close()

    async def wcs(self, server, session: str = "s", **options) -> dict:
        return await self.call("wcsConnect", session, server.ws_url, options)

    async def wcs_publish(self, server, name: str, codec: str | None = None, media: dict | None = None,
                          key: str = "pub", wait: bool = True, remb: bool = False, **extra) -> None:
        """Connects a session of its own, publishes, and waits for PUBLISHING."""
        await self.wcs(server, key)
        strip = STRIP[codec] if codec else []
        await self.call("wcsPublish", key, key, name, media or {}, {"strip": strip, "extra": extra, "remb": remb})
        if wait:
            await self.call("waitStatus", key, ["PUBLISHING"], 10000)

    async def wcs_play(self, server, name: str, key: str = "play", options: dict | None = None) -> None:
        await self.wcs(server, key)
        await self.call("wcsPlay", key, key, name, options or {})
        await self.call("waitStatus", key, ["PLAYING"], 10000)

    async def whip_publish(self, server, name: str, codec: str | None = None, media: dict | None = None,
                           key: str = "pub", **options) -> None:
        """`options`: those of whipPublish in pages/whip.js, but for its `codec`, which is made of the one here."""
        if codec:
            options["codec"] = f"video/{codec}"
        await self.call("whipPublish", key, server.whip(name), media or {}, options)

    async def whep_play(self, server, name: str, key: str = "play", options: dict | None = None) -> None:
        await self.call("whepPlay", key, server.whep(name), options or {})

    async def wait_frames(self, key: str, count: int = 1, limit: float = 10.0) -> dict:
        """Waits until that many frames were decoded (or encoded)."""
        return await self._wait_stats(
            key, f"{count} frames", lambda s: s["video"] and s["video"]["frames"] >= count, limit)

    async def wait_audio(self, key: str, limit: float = 10.0) -> dict:
        """Waits for the first audio packet. Before it the statistics have no entry for audio at all, and the first
        pictures of a stored group may well be quicker."""
        return await self._wait_stats(key, "audio", lambda s: s["audio"] and s["audio"]["packets"] > 0, limit)

    async def _wait_stats(self, key: str, what: str, reached, limit: float) -> dict:
        end = asyncio.get_running_loop().time() + limit
        while True:
            stats = await self.call("stats", key)
            if reached(stats):
                return stats
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"{key}: {what} not reached; {stats} {await self.call('describe', key)}")
            await asyncio.sleep(0.05)


async def check_shown(player: TestPage, codec: str, sent, key: str = "play", seconds: float = MEASURE_SECONDS) -> None:
    """Asserts that the page shows and plays what a publisher that is no browser sends.

    `sent`: a function that returns how many pictures the publisher has sent so far; it may lag by SENT_LAG.
    """
    await player.wait_frames(key, 5)
    await player.wait_audio(key)
    first, picture_before, sent_before = await player.call("stats", key), await player.call("picture", key), sent()
    await asyncio.sleep(seconds)
    last, picture, sent_after = await player.call("stats", key), await player.call("picture", key), sent()
    decoded = last["video"]["frames"] - first["video"]["frames"]
    assert sent_after - sent_before >= LEAST_SENT, f"only {sent_after - sent_before} pictures sent in {seconds} s"
    assert decoded >= 0.8 * (sent_after - sent_before) - SENT_LAG, (decoded, sent_before, sent_after)
    assert last["video"]["codec"] == f"video/{codec}", last["video"]
    assert 15 < picture["mean"] < 245 and picture["variance"] > 50, picture
    assert sum(abs(a - b) > 8 for a, b in zip(picture["luma"], picture_before["luma"])) > 5, "picture does not move"
    assert last["audio"]["codec"] == "audio/opus"
    assert last["audio"]["energy"] - first["audio"]["energy"] > 1e-5, last["audio"]


async def check_media(publisher: TestPage, player: TestPage, codec: str | None = None, audio: bool = True,
                      video: bool = True, publisher_key: str = "pub", player_key: str = "play",
                      seconds: float = MEASURE_SECONDS, audio_codec: str = "opus") -> dict:
    """Measures both ends for a while and asserts that the player shows and plays what the publisher sends."""
    if video:
        await publisher.wait_frames(publisher_key, 5)
        await player.wait_frames(player_key, 3)
    if audio:
        await player.wait_audio(player_key)
    for _ in range(WINDOWS):
        sent_before, got_before = await publisher.call("stats", publisher_key), await player.call("stats", player_key)
        picture_before = await player.call("picture", player_key) if video else None
        await asyncio.sleep(seconds)
        sent, got = await publisher.call("stats", publisher_key), await player.call("stats", player_key)
        if not video:
            break
        encoded = (sent["video"]["frames"] - sent_before["video"]["frames"]) * 1000 / (sent["at"] - sent_before["at"])
        decoded = (got["video"]["frames"] - got_before["video"]["frames"]) * 1000 / (got["at"] - got_before["at"])
        if encoded > LEAST_RATE and abs(decoded - encoded) <= max(2.0, 0.2 * encoded):
            break
    else:
        raise AssertionError(f"decoded {decoded:.1f}/s, encoded {encoded:.1f}/s, in the last of {WINDOWS} windows")
    facts: dict = {"protocol": got["protocol"], "stats": got}
    if video:
        picture = await player.call("picture", player_key)
        facts |= {"encoded": encoded, "decoded": decoded, "mean": picture["mean"], "variance": picture["variance"]}
        assert 15 < picture["mean"] < 245 and picture["variance"] > 50, f"picture is blank: {facts}"
        changed = sum(abs(a - b) > 8 for a, b in zip(picture["luma"], picture_before["luma"]))
        assert changed > 5, "picture does not move"
        if codec:
            assert got["video"]["codec"] == f"video/{codec}", got["video"]["codec"]
            assert sent["video"]["codec"] == f"video/{codec}", sent["video"]["codec"]
    else:
        assert got["video"] is None or got["video"]["frames"] == 0
    if audio:
        assert got["audio"] is not None, "no audio is received"
        energy = got["audio"]["energy"] - got_before["audio"]["energy"]
        facts["energy"] = energy
        assert energy > 1e-5, f"audio is silent: {got['audio']}"
        assert got["audio"]["codec"] == f"audio/{audio_codec}", got["audio"]["codec"]
        assert sent["audio"]["codec"] == f"audio/{audio_codec}", sent["audio"]["codec"]
        facts |= {"sentPackets": sent["audio"]["packets"] - sent_before["audio"]["packets"],
                  "gotPackets": got["audio"]["packets"] - got_before["audio"]["packets"],
                  "seconds": (got["at"] - got_before["at"]) / 1000}
    return facts
