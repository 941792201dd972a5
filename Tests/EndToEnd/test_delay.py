"""Glass-to-glass delay of Weir against the same two pages connected peer to peer.

The publisher draws the time into its picture, the player reads it from the frames it shows. The bar of the project:
through WHIP and WHEP the median delay is at most 15 ms above that of the direct connection (320x240 VP8, 15 frames a
second, three interleaved runs of each; two in the short form).
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass

import pytest

from browser import TestPage

BAR_MS = 15.0
RUNS, SHORT_RUNS = 3, 2
SHORT_FRAMES = 60
FULL_FRAMES = 300
FRAME_RATE = 15
# The receiver's jitter estimate and the sender's bandwidth estimate settle in this time.
WARM_UP_SECONDS = 4.0
MAX_BITRATE = 500_000
CODEC = "video/VP8"
# Two pages read Date.now() of one machine; what is left is the resolution of performance.now().
CLOCK_LIMIT_MS = 1.0


@dataclass
class Run:
    """What one connection showed: delays in ms, and per frame the part of it that the player's buffer made."""

    delays: list[float]
    buffer_ms: float
    target_ms: float
    unreadable: int

    @property
    def median(self) -> float:
        return statistics.median(self.delays)


async def calibrate(pages: list[TestPage]) -> list[float]:
    """Ties each page's clock to that of the machine. Returns the offsets; they change only by drift."""
    return [await page.call("calibrate") for page in pages]


async def connect_direct(publisher: TestPage, player: TestPage, key: str) -> None:
    offer = await publisher.call("directOffer", key, CODEC, MAX_BITRATE)
    answer = await player.call("directAnswer", key, offer)
    await publisher.call("directFinish", key, answer)


async def connect_through(server, publisher: TestPage, player: TestPage, key: str, name: str) -> None:
    await publisher.call("whipPublish", key, server.whip(name), CODEC, MAX_BITRATE)
    await player.call("whepPlay", key, server.whep(name), CODEC)


async def collect(publisher: TestPage, player: TestPage, key: str, frames: int) -> Run:
    """Measures after the warm-up until that many frames were read, then ends the connection."""
    await asyncio.sleep(WARM_UP_SECONDS)
    before = await player.call("parts", key)
    await player.call("forget", key)
    end = asyncio.get_running_loop().time() + 2 * frames / FRAME_RATE
    while len((notes := await player.call("measured", key))["delays"]) < frames:
        assert asyncio.get_running_loop().time() < end, f"only {len(notes['delays'])} frames: {notes}"
        await asyncio.sleep(0.5)
    after = await player.call("parts", key)
    for page in (publisher, player):
        assert (await page.call("parts", key))["codec"] == CODEC
    await player.call("stop", key)
    await publisher.call("stop", key)
    emitted = after["jitterBufferEmittedCount"] - before["jitterBufferEmittedCount"]

    def per_frame(part: str) -> float:
        return (after[part] - before[part]) * 1000 / emitted

    return Run(notes["delays"], per_frame("jitterBufferDelay"), per_frame("jitterBufferTargetDelay"),
               notes["unreadable"])


async def compare(
        server, publisher: TestPage, player: TestPage, name: str, frames: int, runs: int) -> tuple[list[Run], list[Run]]:
    """Interleaved runs: (peer to peer, through Weir)."""
    direct: list[Run] = []
    through: list[Run] = []
    for index in range(runs):
        await connect_direct(publisher, player, f"direct{index}")
        direct.append(await collect(publisher, player, f"direct{index}", frames))
        await connect_through(server, publisher, player, f"weir{index}", f"{name}-{index}")
        through.append(await collect(publisher, player, f"weir{index}", frames))
    return direct, through


def difference(direct: list[Run], through: list[Run]) -> float:
    """Difference of the medians over all frames of all runs, in ms."""
    return (statistics.median(delay for run in through for delay in run.delays)
            - statistics.median(delay for run in direct for delay in run.delays))


def describe(runs: list[Run]) -> str:
    return ", ".join(
        f"{run.median:.1f} ms ({len(run.delays)} frames, buffer {run.buffer_ms:.1f} of target {run.target_ms:.1f})"
        for run in runs)


@pytest.mark.limit(240)
async def test_delay_above_peer_to_peer(server, new_page, name, full, record_property):
    frames, runs = (FULL_FRAMES, RUNS) if full else (SHORT_FRAMES, SHORT_RUNS)
    publisher, player = await new_page("delay.html"), await new_page("delay.html")
    before = await calibrate([publisher, player])
    await publisher.call("openClock")
    added = None
    # Other work of the machine during one of the runs spoils a comparison; it may be done once more.
    for attempt in range(2):
        direct, through = await compare(server, publisher, player, f"{name}-{attempt}", frames, runs)
        added = difference(direct, through)
        print(f"\ndelay added by Weir: {added:.1f} ms (attempt {attempt + 1})"
              f"\n  peer to peer: {describe(direct)}\n  through Weir: {describe(through)}")
        record_property(f"added_ms_{attempt + 1}", added)
        if added <= BAR_MS:
            break
    after = await calibrate([publisher, player])
    drift = max(abs(a - b) for a, b in zip(before, after))
    assert drift <= CLOCK_LIMIT_MS, f"the clocks of the pages drifted by {drift:.2f} ms"
    unreadable = sum(run.unreadable for run in direct + through)
    assert unreadable <= 0.02 * frames * 2 * runs, f"{unreadable} frames had no readable time"
    assert added <= BAR_MS, f"Weir adds {added:.1f} ms"
