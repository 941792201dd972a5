"""GStreamer webrtcbin as publisher and player, by WHIP and WHEP, against Chromium."""

import asyncio

import pytest

from gstreamer import GstPeer

SECONDS = 2.0
LEAST_FRAMES = 20  # in SECONDS, of 30
PACKETS_BEFORE_PLAY = 30  # two seconds at least lie then between the first key frame and the player


async def check_chromium_shows(page, codec: str, key: str = "play") -> None:
    """The picture in Chromium is not blank, moves, comes at the rate of the publisher and has sound."""
    first = await page.wait_frames(key, 5)
    before = await page.call("picture", key)
    await asyncio.sleep(SECONDS)
    last, after = await page.call("stats", key), await page.call("picture", key)
    assert last["video"]["codec"] == f"video/{codec}"
    assert last["video"]["frames"] - first["video"]["frames"] >= LEAST_FRAMES, (first["video"], last["video"])
    assert 15 < after["mean"] < 245 and after["variance"] > 50, after
    assert sum(abs(a - b) > 8 for a, b in zip(after["luma"], before["luma"])) > 5, "picture does not move"
    assert last["audio"]["codec"] == "audio/opus"
    assert last["audio"]["energy"] - first["audio"]["energy"] > 1e-5, last["audio"]


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264"])
async def test_webrtcbin_publishes_for_chromium(server, new_page, name, codec):
    page = await new_page()
    async with GstPeer("publish", server.whip(name), codec) as publisher:
        await publisher.connected()
        await publisher.wait_sent(PACKETS_BEFORE_PLAY)
        await page.whep_play(server, name)
        await check_chromium_shows(page, codec)
        # The player started from a key frame that it, or rather Weir, asked for.
        assert publisher.facts["keyUnits"] > 0, publisher.facts


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264"])
async def test_chromium_publishes_for_webrtcbin(server, new_page, name, codec):
    page = await new_page()
    await page.whip_publish(server, name, codec)
    await page.wait_frames("pub", 1)
    async with GstPeer("play", server.whep(name), codec) as player:
        await player.connected()
        await player.wait_frames(5)
        first, sent = player.facts, await page.call("stats", "pub")
        await asyncio.sleep(SECONDS)
        last, sent_later = player.facts, await page.call("stats", "pub")
        encoded = sent_later["video"]["frames"] - sent["video"]["frames"]
        assert abs(last["frames"] - first["frames"] - encoded) <= max(5, 0.25 * encoded), (first, last, encoded)
        assert 15 < last["mean"] < 245 and last["variance"] > 50 and last["moved"] > 5, last
        assert last["peak"] > 1000, last


async def test_webrtcbin_without_retransmission(server, new_page, name):
    """No NACK and no RTX offered on either side: nothing of the kind may be answered."""
    async with GstPeer("publish", server.whip(name), "VP8", "--no-nack") as publisher:
        await publisher.connected()
        assert "rtx" not in publisher.answer
        async with GstPeer("play", server.whep(name), "VP8", "--no-nack") as player:
            await player.connected()
            await player.wait_frames(20)
            assert "rtx" not in player.answer
            assert player.facts["variance"] > 50, player.facts
