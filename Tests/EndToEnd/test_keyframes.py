"""Key-frame requests end when they are answered, wherever in the server publisher and player have landed."""

import asyncio

PAIRS = 6  # the kernel spreads peers over the workers: among so many pairs are some on one worker and some on two
SETTLE_SECONDS = 2.0
WATCH_SECONDS = 4.0


async def test_no_key_frames_are_asked_for_when_nobody_waits(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    for index in range(PAIRS):
        key = f"pair{index}"
        await publisher.whip_publish(server, f"{name}-{index}", "VP8", {"audio": False}, key)
        await player.whep_play(server, f"{name}-{index}", key, {"audio": False})
        await player.wait_frames(key, 3)
    await asyncio.sleep(SETTLE_SECONDS)
    before = [(await publisher.call("stats", f"pair{index}"))["video"] for index in range(PAIRS)]
    await asyncio.sleep(WATCH_SECONDS)
    after = [(await publisher.call("stats", f"pair{index}"))["video"] for index in range(PAIRS)]
    assert all(b["frames"] > a["frames"] for a, b in zip(before, after))
    assert [b["plis"] - a["plis"] for a, b in zip(before, after)] == [0] * PAIRS
