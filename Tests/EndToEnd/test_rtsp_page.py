"""What the page shows of RTSP: each stream's URL and commands, and Chromium's stream as an RTSP client gets it."""

from __future__ import annotations

import pytest

from counter_page import CounterPage
from recording_checks import server_page
from rtsp_client import RtspClient
from test_rtsp import FIRST_PICTURE_SECONDS, SETTINGS, Publisher

LIMIT_MS = 20_000


async def test_each_stream_shows_its_rtsp_url_and_commands(start_server, new_page, clips):
    server = start_server(SETTINGS)
    async with Publisher(server, clips("VP8", 6), name="it's live"):
        page = (await server_page(new_page, server)).page
        row = page.locator("#streams tr[data-stream=\"it's live\"]")
        await row.locator("details.rtsp summary").click(timeout=LIMIT_MS)
        url = f"rtsp://127.0.0.1:{server.rtsp_port}/it's%20live"
        shell = url.replace("'", "'\\''")
        texts = await row.locator("details.rtsp code").all_text_contents()
        assert texts[0] == url, texts
        assert texts[1] == f"ffplay -fflags nobuffer -rtsp_transport tcp '{shell}'", texts
        assert texts[2].startswith("vlc ") and texts[2].endswith(f"'{shell}'"), texts
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await row.get_by_role("button", name="Copy RTSP URL of it's live").click()
        await page.wait_for_function(
            "async url => await navigator.clipboard.readText() === url", arg=url, timeout=LIMIT_MS)
        # The list goes on without closing what was opened.
        async with RtspClient(url) as player:
            await player.play()
            await page.wait_for_function(
                "() => document.querySelector('#streams td.players').title === '1 of them by RTSP'", timeout=LIMIT_MS)
            assert await row.locator("details.rtsp").get_attribute("open") is not None
        # And the addresses of what this page would publish.
        assert any(text.startswith(f"rtsp://127.0.0.1:{server.rtsp_port}/")
                   for text in await page.locator("#urls code").all_text_contents())


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_chromium_is_asked_for_a_key_frame(start_server, new_page, codec, record_property):
    server = start_server(SETTINGS)
    page = await CounterPage(await new_page("counter.html")).begin(seconds=60)
    await page.publish(server.whip("cam"), codec)
    await page.sound_sent(1.0, limit=30)
    async with RtspClient(server.rtsp("cam")) as client:
        await client.play()
        await client.until(lambda: any(packet.ends_picture for packet in client.of("video")))
        took = next(p.arrival for p in client.of("video") if p.ends_picture) - client.asked
        assert took <= FIRST_PICTURE_SECONDS, took
        await client.until(lambda: len(client.of("audio")) > 20)
    await page.stop()
    record_property(codec, took)
    print(f"Chromium's {codec}: first picture {took * 1000:.0f} ms after PLAY")
