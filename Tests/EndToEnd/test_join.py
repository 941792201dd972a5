"""Time from `play` to the first decoded frame on loopback. The bar of the project is a median below 250 ms.

The time runs from the call of play in the page, before there is an offer, until the browser reports a decoded frame
(framesDecoded, asked every few milliseconds) or presents one. The WHEP client posts its offer at once, as the draft
allows: Weir needs no candidates of a player. A client that gathers them first pays some 130 ms of the browser's
own timers more.
"""

import asyncio
import statistics

import pytest

JOINS = 12
FULL_JOINS = 100
MEDIAN_LIMIT_MS = 250
# A key frame younger than media.group_cache (500 ms) serves a joining player at once. Players that join one by one
# must not profit from the key frame that the one before them caused, so each waits until it is too old, and a
# different part of a second longer, so that joins meet all phases of the publisher's frames.
PAUSE_SECONDS = 0.6
PAUSE_STEP_SECONDS = 0.037
PAUSE_STEPS = 9


async def measure_joins(player, server, name: str, protocol: str, joins: int) -> list[float]:
    """Milliseconds of each join."""
    times = []
    for index in range(joins):
        await asyncio.sleep(PAUSE_SECONDS + PAUSE_STEP_SECONDS * (index % PAUSE_STEPS))
        key = f"join{index}"
        if protocol == "wcs":
            times.append(await player.call("joinTime", key, "s", name))
        else:
            times.append(await player.call("whepJoinTime", key, server.whep(name), {"gather": False}))
        await player.call("stop", key)
    return times


@pytest.mark.limit(150)
@pytest.mark.parametrize("protocol", ["wcs", "whep"])
async def test_time_to_first_frame(server, new_page, name, protocol, full, record_property):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await publisher.wait_frames("pub", 15)
    await player.wcs(server)
    for attempt in range(2):  # once more when other work of the machine spoilt the first measurement
        times = sorted(await measure_joins(player, server, name, protocol, FULL_JOINS if full else JOINS))
        median = statistics.median(times)
        print(f"\nfirst frame by {protocol}: median {median:.0f} ms, quickest {times[0]:.0f}, 90 % below "
              f"{times[len(times) * 9 // 10]:.0f}, slowest {times[-1]:.0f} of {len(times)} (attempt {attempt + 1})")
        record_property(f"median_ms_{attempt + 1}", median)
        if median < MEDIAN_LIMIT_MS:
            break
    assert median < MEDIAN_LIMIT_MS, [round(t) for t in times]
