"""A WHEP player that decodes nothing: when each frame was captured, as the publisher's own sender reports say.

The server passes the reports of a publisher on, so this is a control for recordings of the same stream: what is in a
file must lie where these reports put it, however far the publisher's sound and pictures are really apart.
"""

from __future__ import annotations

import bisect
import struct

from recorded_media import Recorded
from rtp_session import AUDIO_TYPE, VIDEO_TYPE, RtpSession, Section

RATES = {AUDIO_TYPE: 48_000, VIDEO_TYPE: 90_000}
# Sound and pictures nearer than that are compared.
NEAR_SECONDS = 0.5
# Steps between the same frames differ by less, by rounded times and the correction of clocks; and it is less than half
# of a piece of sound.
SAME_SECONDS = 0.009


def _signed(distance: int) -> int:
    return (distance + (1 << 31)) % (1 << 32) - (1 << 31)


class RtpPlayer(RtpSession):
    def __init__(self, codec: str):
        self.codec = codec
        # By payload type: timestamps of frames in the order in which they came first, and (NTP in seconds, timestamp).
        self.frames: dict[int, list[int]] = {AUDIO_TYPE: [], VIDEO_TYPE: []}
        self.reports: dict[int, list[tuple[float, int]]] = {AUDIO_TYPE: [], VIDEO_TYPE: []}
        self.types: dict[int, int] = {}

    def sections(self) -> list[Section]:
        both = [Section.opus(), Section.video(self.codec)]
        for section in both:
            section.attributes.append("recvonly")
        return both

    async def on_rtp(self, data: bytes) -> None:
        payload_type, timestamp, ssrc = data[1] & 127, *struct.unpack_from(">II", data, 4)
        # Padding alone is no frame.
        head = 12 + 4 * (data[0] & 15)
        if data[0] & 16:
            head += 4 + 4 * struct.unpack_from(">H", data, head + 2)[0]
        if payload_type not in self.frames or len(data) - head - (data[-1] if data[0] & 32 else 0) <= 0:
            return
        self.types[ssrc] = payload_type
        frames = self.frames[payload_type]
        if not frames or frames[-1] != timestamp:
            frames.append(timestamp)

    async def on_rtcp(self, data: bytes) -> None:
        at = 0
        while at + 28 <= len(data):
            kind, words = struct.unpack_from(">xBH", data, at)
            if kind == 200:
                ssrc, ntp, timestamp = struct.unpack_from(">IQI", data, at + 4)
                if ssrc in self.types:
                    self.reports[self.types[ssrc]].append((ntp / (1 << 32), timestamp))
            at += 4 * (words + 1)

    def _media_times(self, payload_type: int) -> list[float]:
        """Seconds of each frame on its track's own clock, whose timestamps may wrap."""
        ticks, out = 0, []
        for before, after in zip(self.frames[payload_type][:1] + self.frames[payload_type], self.frames[payload_type]):
            ticks += _signed(after - before)
            out.append(ticks / RATES[payload_type])
        return out

    def _captured(self, payload_type: int, timestamp: int) -> float:
        """Seconds on the publisher's wall clock, by the report nearest to it."""
        assert self.reports[payload_type], "no sender report"
        placed = ((_signed(timestamp - stamp), ntp) for ntp, stamp in self.reports[payload_type])
        ticks, ntp = min(placed, key=lambda one: abs(one[0]))
        return ntp + ticks / RATES[payload_type]

    def _matched(self, payload_type: int, shown: list[float]) -> list[tuple[float, float]]:
        """(time in the file, when it was captured) of the frames that both have, the last first.

        Both saw the end of the stream; from there on frames are the same that are as far apart. The player may have
        lost some, or begun later.
        """
        out: list[tuple[float, float]] = []
        at, anchor = len(shown) - 1, None
        for media, timestamp in zip(reversed(self._media_times(payload_type)), reversed(self.frames[payload_type])):
            due = shown[at] if anchor is None else anchor[0] - (anchor[1] - media)
            while at > 0 and abs(shown[at - 1] - due) < abs(shown[at] - due):
                at -= 1
            if abs(shown[at] - due) < SAME_SECONDS:
                anchor = (shown[at], media)
                out.append((shown[at], self._captured(payload_type, timestamp)))
        return out

    def errors(self, facts: Recorded) -> list[tuple[float, float]]:
        """(time in the file, by how many seconds its sound is later against the pictures than the reports say), for
        each picture that the player got as well."""
        sound = self._matched(AUDIO_TYPE, [start for start, _ in facts.sound])[::-1]
        pictures = self._matched(VIDEO_TYPE, [one.time for one in facts.pictures])[::-1]
        starts, out = [heard for heard, _ in sound], []
        for shown, captured in pictures:
            index = min(bisect.bisect_left(starts, shown), len(sound) - 1)
            heard, made = sound[index]
            if abs(heard - shown) < NEAR_SECONDS:
                out.append((shown, (heard - shown) - (made - captured)))
        return out
