"""Time from `play` to the first decoded frame on loopback. The bar of the project is a median below 250 ms."""

import statistics

import pytest

JOINS = 10
MEDIAN_LIMIT_MS = 250


@pytest.mark.parametrize("protocol", ["wcs", "whep"])
async def test_time_to_first_frame(server, new_page, name, protocol, record_property):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await publisher.wait_frames("pub", 15)
    await player.wcs(server)
    times = []
    for index in range(JOINS):
        key = f"join{index}"
        if protocol == "wcs":
            times.append(await player.call("joinTime", key, "s", name))
        else:
            times.append(await player.call("whepJoinTime", key, server.whep(name)))
        await player.call("stop", key)
    print(f"\nfirst frame by {protocol}: median {statistics.median(times):.0f} ms of {[round(t) for t in times]}")
    record_property("median_ms", statistics.median(times))
    assert statistics.median(times) < MEDIAN_LIMIT_MS, [round(t) for t in times]
