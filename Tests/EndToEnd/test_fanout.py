"""Ten players of one stream in one page and one session."""

import asyncio

from browser import check_media

PLAYERS = 10
SECONDS = 4.0


async def test_ten_players_of_one_stream(server, new_page, name):
    publisher, page = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await page.wcs(server)
    keys = [f"play{index}" for index in range(PLAYERS)]
    await asyncio.gather(*(page.call("wcsPlay", key, "s", name, {}) for key in keys))
    await asyncio.gather(*(page.call("waitStatus", key, ["PLAYING"], 10000) for key in keys))
    for key in keys:
        await page.wait_frames(key, 3)
        await page.wait_audio(key)
    before = [await page.call("stats", key) for key in keys]
    await check_media(publisher, page, "VP8", player_key=keys[0], seconds=SECONDS)
    after = [await page.call("stats", key) for key in keys]
    rates = [(b["video"]["frames"] - a["video"]["frames"]) * 1000 / (b["at"] - a["at"])
             for a, b in zip(before, after)]
    assert min(rates) > 0.75 * max(rates), rates
    assert all(b["audio"]["energy"] > a["audio"]["energy"] for a, b in zip(before, after))

    for key in keys[:5]:
        await page.call("stop", key)
    for key in keys[:5]:
        await page.call("waitStatus", key, ["STOPPED"], 3000)
    left = (await page.call("stats", keys[9]))["video"]["frames"]
    await page.wait_frames(keys[9], left + 15)
