"""HLS while a publisher has a hard time: losses, a new size, muted sound and picture, sound or picture alone, an end and a
new beginning. Each playlist keeps the rules, what was served decodes, and players go on: Chromium's own and the page's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp
import pytest

from hls_client import HLSClient
from hls_readers import LowLatencyReader, Media, decoded
from media_file import decodes
from numbered_clip import FRAME_RATE, HEIGHT, KEY_INTERVAL, WIDTH
from recorded_media import Recorded
from rtp_publisher import Link, RtpPublisher

SETTINGS = {"hls": {"auto_start": True, "segments": 100}, "media": {"overload_delay": "1m"}}
# When it begins, and for how long, in seconds of the clip.
EVENT, EVENT_SECONDS = 4.0, 2.0
END_SECONDS = 12
# So much of what follows the event both players must show.
BEYOND_SECONDS = 1.0
LOSS = 0.3
AWAY_SECONDS = 2.5
PLAY_LIMIT_SECONDS = 20.0
LARGE = (480, 360)


@dataclass
class Served:
    """What a reader of parts got, decoded by stretches between discontinuities."""

    reader: LowLatencyReader
    media: list[Media]

    @property
    def numbers(self) -> list[int | None]:
        return [number for one in self.media for number in one.facts.numbers]

    @property
    def sounds(self) -> list[Recorded]:
        return [one.facts for one in self.media]


class Viewers:
    """A reader of parts, Chromium's own player and the page's, of one stream from its beginning on."""

    def __init__(self, server, page, name: str):
        self.server, self.page, self.name = server, page, name
        self.url = f"{server.hls_url}/{name}/{name}.m3u8"

    async def __aenter__(self) -> "Viewers":
        self.session = aiohttp.ClientSession()
        client = await HLSClient(self.session, self.url).open()
        self.reader = LowLatencyReader(client, client.uri())
        self.reading = asyncio.create_task(self.reader.read())
        for kind, native in (("own", True), ("low", False)):
            await self.page.call("play", f"{self.name}-{kind}", self.url, native)
        return self

    async def __aexit__(self, kind, *_) -> None:
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        await self.session.close()
        if kind is None:
            for player in ("own", "low"):
                await self.page.call("stop", f"{self.name}-{player}")

    async def go_on(self, number: int | None = None, time: float | None = None) -> dict[str, dict]:
        """Both players show a picture from that number on, or get beyond that time; what they told."""
        out = {}
        for player in ("own", "low"):
            end = asyncio.get_running_loop().time() + PLAY_LIMIT_SECONDS
            while True:
                assert not self.reading.done() or not self.reading.exception(), self.reading.exception()
                told = await self.page.call("told", f"{self.name}-{player}")
                where = f"{self.name}, {player}: {told['state']} at {told['time']:.2f} s, {told['numbers'][-3:]}"
                assert told["problem"] is None and not told["ended"], (where, told["problem"])
                seen = [one for one in told["numbers"] if one is not None]
                if seen and number is not None and seen[-1] >= number or time is not None and told["time"] > time:
                    break
                assert asyncio.get_running_loop().time() < end, where
                await asyncio.sleep(0.1)
            # Chromium's own player, begun anew where it gave up, begins some segments earlier.
            assert player == "own" or seen == sorted(seen), f"{where}: {[(a, b) for a, b in zip(seen, seen[1:]) if b < a]}"
            out[player] = told
        return out

    async def served(self, directory) -> Served:
        """Everything that was served decodes without a word from the decoders, stretch by stretch."""
        self.reader.is_enough = True
        await self.reading
        media = []
        for path, pieces in self.reader.write(directory, self.name):
            await asyncio.to_thread(decodes, path)
            head = len(self.reader.maps.get(pieces[0].map or "", b""))
            media.append(await asyncio.to_thread(decoded, path, pieces, head))
        out = Served(self.reader, media)
        numbers = out.numbers
        assert None not in numbers and all(a < b for a, b in zip(numbers, numbers[1:])), f"{self.name}: {numbers}"
        return out


async def published(server, name: str, publisher: RtpPublisher, clips: list) -> asyncio.Task:
    await publisher.post(server.whip(name))
    return asyncio.create_task(publisher.send(clips))


async def at(publisher: RtpPublisher, sending: asyncio.Task, seconds: float) -> None:
    """Waits until the clip has come so far."""
    async with asyncio.timeout(PLAY_LIMIT_SECONDS):
        while publisher.sent_until < seconds:
            assert not sending.done(), sending.exception()
            await asyncio.sleep(0.02)


def check_missing(served: Served, first: float, last: float) -> int:
    """Only pictures between those times are missing; how many."""
    numbers = served.numbers
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    assert all(first * FRAME_RATE <= number <= last * FRAME_RATE for number in missing), (served.reader.uri, first, last, missing)
    return len(missing)


def check_sound(served: Served) -> None:
    """Sound without holes, within each stretch."""
    assert served.sounds and all(not one.sound_holes for one in served.sounds), [one.sound_holes[:5] for one in served.sounds]


async def lossy(server, page, clips, tmp_path) -> str:
    """Nothing is sent again: pictures that cannot be decoded are left out up to the next key frame, sound that is missing
    is silence."""
    publisher = RtpPublisher("VP9", Link(answers_nacks=False))
    sending = await published(server, "loss", publisher, [clips("VP9", END_SECONDS)])
    async with Viewers(server, page, "loss") as viewers:
        await at(publisher, sending, EVENT)
        publisher.link.loss = LOSS
        await at(publisher, sending, EVENT + EVENT_SECONDS)
        publisher.link.loss = 0
        await viewers.go_on(round((EVENT + EVENT_SECONDS + BEYOND_SECONDS) * FRAME_RATE))
        served = await viewers.served(tmp_path)
    assert publisher.link.lost > 20, publisher.link
    missing = check_missing(served, EVENT - 0.1, EVENT + EVENT_SECONDS + KEY_INTERVAL / FRAME_RATE + 0.2)
    assert missing > EVENT_SECONDS * FRAME_RATE / 2, missing
    check_sound(served)
    await sending
    await publisher.close()
    return f"{publisher.link.lost} packets lost in {EVENT_SECONDS:.0f} s, {missing} pictures left out, players go on"


async def resized(server, page, clips, tmp_path) -> str:
    third = END_SECONDS // 3
    more = {"width": LARGE[0], "height": LARGE[1], "first": third * FRAME_RATE}
    parts = [clips("H264", third), clips("H264", third, **more), clips("H264", third, first=2 * third * FRAME_RATE)]
    publisher = RtpPublisher("H264")
    sending = await published(server, "sizes", publisher, parts)
    async with Viewers(server, page, "sizes") as viewers:
        told = await viewers.go_on(round((2 * third + BEYOND_SECONDS) * FRAME_RATE))
        served = await viewers.served(tmp_path)
    assert check_missing(served, 0, 0) == 0
    check_sound(served)
    sizes = [sorted({picture.size for picture in one.facts.pictures}) for one in served.media]
    assert sizes == [[(WIDTH, HEIGHT)], [LARGE], [(WIDTH, HEIGHT)]], sizes
    rows = [row for row in served.reader.last.segments if row.discontinuity]
    assert len(rows) == 2 and len(served.reader.maps) >= 2, rows
    for player, one in told.items():
        assert {WIDTH, LARGE[0]} <= set(one["widths"]), (player, set(one["widths"]))
    await sending
    await publisher.close()
    return "320x240, 480x360, 320x240: no picture missing, players go on"


async def gone(server, page, clips, tmp_path) -> str:
    """The first connection is lost without a word in the protocol of WHIP; somebody else comes under the same name."""
    half = END_SECONDS // 2
    first, second = RtpPublisher("AV1"), RtpPublisher("AV1")
    sending = await published(server, "gone", first, [clips("AV1", half)])
    async with Viewers(server, page, "gone") as viewers:
        await at(first, sending, EVENT)
        sending.cancel()
        first.resource = None
        await first.close()
        left = round(first.sent_until * FRAME_RATE)
        await asyncio.sleep(AWAY_SECONDS)
        sending = await published(server, "gone", second, [clips("AV1", half, first=half * FRAME_RATE)])
        await viewers.go_on(round((half + BEYOND_SECONDS) * FRAME_RATE))
        served = await viewers.served(tmp_path)
    rows = served.reader.last.segments
    assert any(row.gap for row in rows) and any(row.discontinuity for row in rows)
    check_missing(served, (left - 3) / FRAME_RATE, half - 1 / FRAME_RATE)
    check_sound(served)
    await sending
    await second.close()
    return f"away for {AWAY_SECONDS} s: {sum(row.gap for row in rows)} gaps, players go on"


async def muted(server, page, clips, tmp_path, kind: str) -> str:
    publisher = RtpPublisher("H264")
    name = f"no-{kind}"
    sending = await published(server, name, publisher, [clips("H264", END_SECONDS)])
    track = publisher.audio if kind == "sound" else publisher.video
    async with Viewers(server, page, name) as viewers:
        await at(publisher, sending, EVENT)
        track.is_muted = True
        await at(publisher, sending, EVENT + EVENT_SECONDS)
        track.is_muted = False
        await viewers.go_on(round((EVENT + EVENT_SECONDS + BEYOND_SECONDS) * FRAME_RATE))
        served = await viewers.served(tmp_path)
    back = EVENT + EVENT_SECONDS + (KEY_INTERVAL / FRAME_RATE + 0.2 if kind == "picture" else 0)
    missing = check_missing(served, EVENT - 0.1, back)
    assert (missing >= EVENT_SECONDS * FRAME_RATE - 3) == (kind == "picture") and (missing == 0) == (kind == "sound"), missing
    check_sound(served)
    beeps = [beep for one in served.sounds for beep in one.beeps]
    silent = max(b - a for a, b in zip(beeps, beeps[1:]))
    assert (silent > EVENT_SECONDS) == (kind == "sound"), beeps
    await sending
    await publisher.close()
    return f"{missing} pictures missing, {silent:.2f} s between beeps, players go on"


async def alone(server, page, clips, tmp_path, kind: str) -> str:
    publisher = RtpPublisher("VP9", kinds=(kind,))
    name = f"only-{kind}"
    sending = await published(server, name, publisher, [clips("VP9", END_SECONDS)])
    async with Viewers(server, page, name) as viewers:
        await viewers.go_on(**({"time": 3.0} if kind == "audio" else {"number": 4 * FRAME_RATE}))
        served = await viewers.served(tmp_path)
    has_picture = kind == "video"
    assert bool(served.numbers) == has_picture and all(bool(one.sound) != has_picture for one in served.sounds)
    if has_picture:
        assert check_missing(served, 0, 0) == 0, (publisher.nacked, publisher.link)
    else:
        check_sound(served)
    await sending
    await publisher.close()
    return "players go on"


async def judged(server, page, clips, tmp_path, record_property, cases: dict) -> None:
    """All at a time, each a stream of its own."""
    told = await asyncio.gather(*(case(server, page, clips, tmp_path, *more) for case, *more in cases.values()))
    for name, line in zip(cases, told):
        record_property(name, line)
        print(f"{name}: {line}")


@pytest.mark.limit(60)
async def test_losses_sizes_and_an_absence(start_server, new_page, clips, tmp_path, record_property):
    server, page = start_server(SETTINGS), await new_page("hls.html")
    cases = {"30 % loss": (lossy,), "sizes": (resized,), "publisher lost and back": (gone,)}
    await judged(server, page, clips, tmp_path, record_property, cases)


@pytest.mark.limit(60)
async def test_muted_and_missing_tracks(start_server, new_page, clips, tmp_path, record_property):
    server, page = start_server(SETTINGS), await new_page("hls.html")
    cases = {"sound muted": (muted, "sound"), "picture muted": (muted, "picture"), "sound alone": (alone, "audio"),
             "picture alone": (alone, "video")}
    await judged(server, page, clips, tmp_path, record_property, cases)
