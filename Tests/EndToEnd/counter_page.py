"""Chromium as a publisher of numbered pictures with beeps (pages/counter.js), and what it knows of what it sent."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass

from recorded_media import Recorded

# The browser's clock of sound moves on in steps: the largest of the readings so near is the true one.
STEP_SECONDS = 1.0
# Chromium sends lost sound again only if its description says so, which it does not by itself.
WITH_NACK = "stereo=0\r\na=rtcp-fb:111 nack"


@dataclass
class Drawn:
    """What the page drew: for each picture when, on the clock of its sound, in seconds; and when the first beep is
    due."""

    times: list[float]
    zero: float

    def skews(self, facts: Recorded) -> dict[int, float]:
        """For each beep of a recording, by its number, how much later it is against the pictures around it than when it
        was made.

        Every picture says by its number when it was drawn: it need not be one with a flash.
        """
        placed = [(one.time, self.times[one.number]) for one in facts.pictures if one.number is not None]
        out = {}
        for beep in facts.beeps:
            around = [drawn + beep - shown for shown, drawn in placed if abs(shown - beep) < STEP_SECONDS]
            if not around:
                continue
            due = statistics.median(around) - self.zero
            # The beeps are a second apart, so each is nearest to its own.
            out[round(due)] = due - round(due)
        return out


def smoothed(pictures: list[list[float]]) -> list[float]:
    """Readings of two clocks, one in ms, the other in seconds and in steps, to times on the latter without steps."""
    out, begin = [], 0
    ahead = [rendered - now / 1000 for now, rendered in pictures]
    times = [now / 1000 for now, _ in pictures]
    for index, now in enumerate(times):
        while times[begin] < now - STEP_SECONDS:
            begin += 1
        end = index
        while end < len(times) and times[end] <= now + STEP_SECONDS:
            end += 1
        out.append(now + max(ahead[begin:end]))
    return out


class CounterPage:
    """Draws from `begin` on; publishes by WHIP."""

    def __init__(self, page):
        self.page = page

    async def begin(
            self, width: int = 320, height: int = 240, frame_rate: int = 15, seconds: int = 60) -> "CounterPage":
        await self.page.call("begin", {"width": width, "height": height, "frameRate": frame_rate, "seconds": seconds})
        return self

    async def publish(self, url: str, codec: str, key: str = "pub", **options) -> None:
        await self.page.call("publish", key, url, {"codec": f"video/{codec}", "opus": WITH_NACK, **options})

    async def encoded(self, count: int, limit: float = 20.0) -> dict:
        """Waits until so many frames were encoded; the statistics."""
        async with asyncio.timeout(limit):
            while True:
                stats = await self.page.call("stats", "pub")
                if stats["video"] and stats["video"]["frames"] >= count:
                    return stats
                await asyncio.sleep(0.05)

    async def sound_sent(self, seconds: float, limit: float) -> dict:
        """Waits until so much sound was sent, 20 ms a packet; the statistics."""
        async with asyncio.timeout(limit):
            while True:
                stats = await self.page.call("stats", "pub")
                if stats["audio"] and stats["audio"]["packets"] >= seconds * 50:
                    return stats
                await asyncio.sleep(0.05)

    async def silence(self) -> int:
        """Ends capturing; the number of frames that were encoded in all."""
        return await self.page.call("silence", "pub")

    async def stop(self, key: str = "pub") -> None:
        await self.page.call("stop", key)

    async def drawn(self) -> Drawn:
        told = await self.page.call("drawn")
        return Drawn(smoothed(told["pictures"]), told["zero"])
