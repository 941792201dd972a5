"""A WHIP publisher that sends an encoded clip as it is: every picture, at its time, over a link that may lose packets.

Packets, reports and retransmissions are made here, so that timestamps, clocks and losses are exactly what a test says.
A retransmission is lost as often as anything else.
"""

from __future__ import annotations

import asyncio
import random
import struct
import time
from dataclasses import dataclass, field

from numbered_clip import Clip, Unit
from rtp_payloads import PACKETISERS
from rtp_session import AUDIO_TYPE, RTX_TYPE, VIDEO_TYPE, RtpSession, Section

VIDEO_RATE, AUDIO_RATE = 90_000, 48_000
REPORT_SECONDS = 0.5
NTP_1970 = 2_208_988_800
HISTORY_PACKETS = 4_096
# Frames at the end that the link carries whole: some of each kind.
LAST_UNITS = 6
# At the end: if nothing has been asked for again for so long, nothing will be.
QUIET_SECONDS = 0.5


@dataclass
class Link:
    """What becomes of RTP packets: a share is lost, by a seed; none of the first `spared` packets and of the last
    frames, since no receiver can know of packets missing before the first and behind the last it got."""

    loss: float = 0.0
    seed: int = 5
    spared: int = 20
    answers_nacks: bool = True
    lost: int = 0
    resent: int = 0
    passed: int = 0
    is_ending: bool = False

    def __post_init__(self):
        self.random = random.Random(self.seed)

    def drops(self) -> bool:
        self.passed += 1
        if self.is_ending or self.passed <= self.spared or self.random.random() >= self.loss:
            return False
        self.lost += 1
        return True


@dataclass
class Clocks:
    """The publisher's clocks, by how many millionths they run fast: those of its media, and the wall clock of its
    reports. Where all are the same, the whole machine runs fast."""

    video_ppm: float = 0.0
    audio_ppm: float = 0.0
    wall_ppm: float = 0.0
    video_start: int = 0x1234_5678
    audio_start: int = 0x0765_4321


@dataclass
class Track:
    ssrc: int
    rtx: int
    payload_type: int
    rate: float
    start: int
    number: int
    rtx_number: int = 1
    # Its frames are not sent, and leave no hole in the numbers of packets: a microphone or camera that is switched off.
    # A camera that is on again begins with a key frame.
    is_muted: bool = False
    awaits_key: bool = False
    packets: int = 0
    octets: int = 0
    history: dict[int, bytes] = field(default_factory=dict)

    def timestamp(self, seconds: float) -> int:
        return self.start + round(seconds * self.rate) & 0xFFFF_FFFF


class RtpPublisher(RtpSession):
    def __init__(self, codec: str, link: Link | None = None, clocks: Clocks | None = None, nack: bool = True,
                 kinds: tuple[str, ...] = ("audio", "video")):
        self.codec, self.link, self.nack, self.kinds = codec, link or Link(), nack, kinds
        self.clocks = clocks or Clocks()
        seed = random.Random(codec)
        first, second, third, fourth = (seed.randrange(1, 1 << 32) for _ in range(4))
        c = self.clocks
        self.video = Track(first, second, VIDEO_TYPE, VIDEO_RATE * (1 + c.video_ppm / 1e6), c.video_start, 65_500)
        self.audio = Track(third, fourth, AUDIO_TYPE, AUDIO_RATE * (1 + c.audio_ppm / 1e6), c.audio_start, 100)
        self.key_requests = 0
        self.nacked = 0
        self.picture_id = 0
        # How much later than due a frame was sent at worst, in seconds: a machine that stands still.
        self.latest = 0.0
        # How far the clips have been sent, in seconds.
        self.sent_until = 0.0

    def sections(self) -> list[Section]:
        audio, video = Section.opus(), Section.video(self.codec)
        if self.nack:
            audio.attributes.append(f"rtcp-fb:{AUDIO_TYPE} nack")
            video.types.append(RTX_TYPE)
            video.attributes += [
                f"rtcp-fb:{VIDEO_TYPE} nack", f"rtpmap:{RTX_TYPE} rtx/90000", f"fmtp:{RTX_TYPE} apt={VIDEO_TYPE}",
                f"ssrc-group:FID {self.video.ssrc} {self.video.rtx}", f"ssrc:{self.video.rtx} cname:clip"]
        for section, track in ((audio, self.audio), (video, self.video)):
            section.attributes += ["sendonly", f"ssrc:{track.ssrc} cname:clip"]
        return [section for section in (audio, video) if section.kind in self.kinds]

    # Packets

    async def _send(self, packet: bytes) -> None:
        protected = self.dtls._tx_srtp.protect(packet)
        if not self.link.drops():
            await self.ice._send(protected)

    async def _send_media(self, track: Track, payload: bytes, seconds: float, marker: bool) -> None:
        number = track.number & 0xFFFF
        header = struct.pack(
            ">BBHII", 0x80, (0x80 if marker else 0) | track.payload_type, number, track.timestamp(seconds), track.ssrc)
        track.number += 1
        track.packets += 1
        track.octets += len(payload)
        track.history[number] = header + payload
        if len(track.history) > HISTORY_PACKETS:
            del track.history[next(iter(track.history))]
        await self._send(header + payload)

    async def _send_unit(self, track: Track, unit: Unit) -> None:
        if track is self.audio:
            return await self._send_media(track, unit.data, unit.time, False)
        payloads = PACKETISERS[self.codec](unit.data, unit.is_key, self.picture_id)
        self.picture_id += 1
        for index, payload in enumerate(payloads):
            await self._send_media(track, payload, unit.time, index == len(payloads) - 1)

    def _tracks(self) -> list[Track]:
        return [track for track, kind in ((self.audio, "audio"), (self.video, "video")) if kind in self.kinds]

    async def _report(self, seconds: float) -> None:
        """A sender report of each track (RFC 3550 section 6.4.1) about one and the same moment."""
        ntp = int((self.epoch + NTP_1970 + seconds * (1 + self.clocks.wall_ppm / 1e6)) * (1 << 32))
        for track in self._tracks():
            body = struct.pack(">IQIII", track.ssrc, ntp, track.timestamp(seconds), track.packets, track.octets)
            packet = struct.pack(">BBH", 0x80, 200, len(body) // 4) + body
            await self.ice._send(self.dtls._tx_srtp.protect_rtcp(packet))

    async def send(self, clips: list[Clip]) -> float:
        """Sends the clips one after another as one stream, in real time.

        - Returns: how long the sending of the pictures took, in seconds on our clock.
        """
        units: list[tuple[float, Track, Unit]] = []
        begin = 0.0
        for clip in clips:
            for track, part in ((self.video, clip.video), (self.audio, clip.audio)):
                # A clip's sound is a packet longer than its pictures, that is where the next clip's begins.
                units += [(begin + unit.time, track, Unit(begin + unit.time, unit.data, unit.is_key))
                          for unit in part if unit.time - part[0].time < clip.seconds - 0.001]
            begin += clip.seconds
        units = [entry for entry in units if any(entry[1] is track for track in self._tracks())]
        units.sort(key=lambda entry: entry[0])
        first = units[0][0]
        self.epoch, began, reported = time.time(), time.monotonic() - first, first - REPORT_SECONDS
        for index, (moment, track, unit) in enumerate(units):
            self.link.is_ending = index >= len(units) - LAST_UNITS
            if moment - reported >= REPORT_SECONDS:
                reported = moment
                await self._report(moment)
            early = began + moment - time.monotonic()
            self.latest = max(self.latest, -early)
            if early > 0:
                await asyncio.sleep(early)
            track.awaits_key = track.is_muted or track.awaits_key and track is self.video and not unit.is_key
            if not track.awaits_key:
                await self._send_unit(track, unit)
            self.sent_until = moment
        self.asked = time.monotonic()
        took = self.asked - began
        await self._report(units[-1][0])
        return took

    async def settled(self) -> None:
        """Waits until the server asks for nothing any more."""
        while time.monotonic() - self.asked < QUIET_SECONDS:
            await asyncio.sleep(self.asked + QUIET_SECONDS - time.monotonic())

    # What the server says

    async def on_rtcp(self, data: bytes) -> None:
        at = 0
        while at + 12 <= len(data):
            first, kind, words = struct.unpack_from(">BBH", data, at)
            end = at + 4 * (words + 1)
            media, = struct.unpack_from(">I", data, at + 8)
            if kind == 206 and first & 31 == 1 or kind == 206 and first & 31 == 4:
                self.key_requests += 1
            elif kind == 205 and first & 31 == 1:
                for entry in range(at + 12, end, 4):
                    packet_id, mask = struct.unpack_from(">HH", data, entry)
                    numbers = [packet_id] + [packet_id + 1 + bit & 0xFFFF for bit in range(16) if mask >> bit & 1]
                    for number in numbers:
                        await self._resend(media, number)
            at = end

    async def _resend(self, media: int, number: int) -> None:
        self.nacked += 1
        self.asked = time.monotonic()
        track = self.video if media == self.video.ssrc else self.audio
        packet = track.history.get(number)
        if packet is None or not self.link.answers_nacks:
            return
        self.link.resent += 1
        if track is self.audio:
            return await self._send(packet)
        header = struct.pack(">BBHII", 0x80, packet[1] & 0x80 | RTX_TYPE, track.rtx_number & 0xFFFF,
                             struct.unpack_from(">I", packet, 4)[0], track.rtx)
        track.rtx_number += 1
        await self._send(header + packet[2:4] + packet[12:])
