"""An ICE-TCP player that does not read: bounded memory, whole pictures left out, nobody else hurt, and a new start."""

from __future__ import annotations

import asyncio
import time

from browser import TestPage
from tcp_relay import TCPRelay

NOISE = {"noise": True, "width": 240, "height": 180, "frameRate": 20}
KBPS = 2500
SLOW_PLAYERS = 4
QUEUE_KIB = 256
# Chromium gives a connection up when nothing came for 15 s.
STALL_SECONDS = 7.0
DROPS_WITHIN_SECONDS = 6.0
START_AGAIN_WITHIN_SECONDS = 12.0
# Measured: 5.4 to 5.8 MiB, most of it packets kept for retransmission, of which the server had not yet as many as it
# keeps; over 9 MiB after 5 s with a queue without a bound.
GROWTH_LIMIT_KIB = 8 * 1024
DROPPED = "weir_media_tcp_pictures_dropped_total"


async def wait_for(condition, limit: float, what: str):
    """The first true value of an async function, asked for again and again."""
    end = time.monotonic() + limit
    while not (value := await condition()):
        assert time.monotonic() < end, f"{what} did not happen within {limit} s"
        await asyncio.sleep(0.1)
    return value


async def video(page: TestPage, key: str) -> dict:
    return (await page.call("stats", key))["video"]


async def test_players_that_do_not_read_lose_whole_pictures_only(start_server, new_page, name):
    # Without stored groups of pictures, so that what grows is what waits for the players.
    server = start_server({"media": {"tcp_queue": f"{QUEUE_KIB}KiB", "group_cache_packets": 0}})
    publisher, slow, witness = await new_page(), await new_page(), await new_page()
    await publisher.whip_publish(server, name, "VP8", NOISE, maxBitrate=KBPS * 1000)
    await witness.whep_play(server, name, options={"audio": False})
    async with TCPRelay(("127.0.0.1", server.media_port)) as relay:
        await slow.wcs(server)
        keys = [f"slow{index}" for index in range(SLOW_PLAYERS)]
        for key in keys:
            await slow.call("wcsPlay", key, "s", name,
                            {"audio": False, "tcpPort": relay.port, "extra": {"transport": "TCP"}})
            await slow.call("waitStatus", key, ["PLAYING"], 10000)
            await slow.wait_frames(key, 20)
            assert (await slow.call("stats", key))["protocol"] == "tcp"
        assert relay.connections >= SLOW_PLAYERS
        # On a busy machine the relay, too, may have been slow for a moment.
        before = server.metrics().get(DROPPED, 0)

        seen = await video(witness, "play")
        resident = server.resident_kib()
        relay.stall()
        begin = time.monotonic()

        async def dropped() -> float:
            return server.metrics().get(DROPPED, 0) - before
        await wait_for(dropped, DROPS_WITHIN_SECONDS, "leaving pictures out")
        while time.monotonic() - begin < STALL_SECONDS:
            await asyncio.sleep(0.2)
            growth = server.resident_kib() - resident
            assert growth < GROWTH_LIMIT_KIB, f"memory grew by {growth} KiB"
        print(f"\nmemory grew by {growth} KiB, {await dropped():.0f} pictures left out")

        at_stall = {key: await video(slow, key) for key in keys}
        witnessed = await video(witness, "play")
        rate = (witnessed["frames"] - seen["frames"]) / (time.monotonic() - begin)
        assert rate > 0.6 * NOISE["frameRate"], f"the other player saw {rate:.1f} frames a second"
        assert witnessed["lost"] == 0

        relay.go_on()
        for key in keys:
            async def decodes_a_new_key_frame() -> bool:
                now = await video(slow, key)
                return (now["keyFrames"] > at_stall[key]["keyFrames"]
                        and now["frames"] > at_stall[key]["frames"] + NOISE["frameRate"])
            await wait_for(decodes_a_new_key_frame, START_AGAIN_WITHIN_SECONDS, f"a new start of {key}")
            now = await video(slow, key)
            # The numbers of what was left out were left out too: the player sees no loss and asks for nothing again.
            assert now["lost"] == 0 and now["nacks"] == at_stall[key]["nacks"], now
