"""HLS of numbered clips: every picture once and in order, sound with pictures, how late a player shows them.

The publisher sends clips whose pictures carry numbers (rtp_publisher.py), so that a missing picture is Weir's. Viewers are
those of hls_readers.py; when the publisher has gone, ffmpeg and Chromium play what is left from its beginning. `--full`
sends five minutes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy
import pytest

from hls_client import HLSClient
from hls_readers import LowLatencyReader, Media, OrdinaryReader, Reader, decoded, shown
from media_file import decodes
from numbered_clip import FRAME_RATE, KEY_INTERVAL, read_number
from recorded_media import read_back
from rtp_publisher import RtpPublisher
from weir_server import merge

CODECS = ["H264", "VP9", "AV1", "VP8"]
SHORT_SECONDS, FULL_SECONDS = 12, 300
# Somebody who joins later has whole segments only; the first ones are short.
JOIN_SECONDS = 6.5
SEGMENT_SECONDS = 2.0
# The bars of the issue.
SKEW_LIMIT = 0.030
LOW_LATENCY_SECONDS = 2.0
STANDARD_SECONDS = 3 * SEGMENT_SECONDS
# Who joins later begins three target durations from the end (HOLD-BACK), which is that of the last whole segment.
JOINED_SECONDS = 4 * SEGMENT_SECONDS
SETTINGS = {
    "hls": {"auto_start": True, "publisher_patience": "0s", "segments": 100},
    # On a busy machine, too, nothing is thinned.
    "media": {"overload_delay": "1m"},
}
PLAY_LIMIT_SECONDS = 30
# What is transcoded may begin at the publisher's second key frame.
TRANSCODED_FIRST = KEY_INTERVAL
# How fast a recording is played, and how many pictures a browser may leave out at its ends then.
QUICK = 4
BEGIN_SLACK, END_SLACK = 15, 30
# The last part may end with silence.
LONGER_SECONDS = 0.4


def address(server, name: str) -> str:
    return f"{server.hls_url}/{name}/{name}.m3u8"


@dataclass
class Watched:
    """What a stream's viewers loaded: parts and whole segments of its picture's rendition, whole segments of its sounds."""

    epoch: float
    low: Reader
    first: Reader
    late: Reader
    sounds: dict[str, Reader]


async def watched(server, name: str, codec: str, clip) -> Watched:
    publisher = RtpPublisher(codec)
    await publisher.post(server.whip(name))
    sending = asyncio.create_task(publisher.send([clip]))
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, address(server, name)).open()
        low, first = LowLatencyReader(client, client.uri()), OrdinaryReader(client, client.uri(), from_start=True)
        late = OrdinaryReader(client, client.uri())
        sounds = {}
        for row in client.renditions:
            client.variants.append(({}, row["URI"].strip('"')))
            sounds[row["NAME"].strip('"')] = OrdinaryReader(client, client.uri(-1), from_start=True)
        readers = [asyncio.create_task(one.read()) for one in (low, first, *sounds.values())]
        await asyncio.sleep(JOIN_SECONDS)
        readers.append(asyncio.create_task(late.read()))
        try:
            await sending
            await publisher.settled()
            await publisher.close()
            await asyncio.gather(*readers)
        finally:
            for one in readers:
                one.cancel()
    return Watched(publisher.epoch, low, first, late, sounds)


def media_of(reader: Reader, directory: Path, stem: str) -> tuple[Path, Media]:
    """What the reader loaded as one file, which decodes without a word from the decoders."""
    (path, pieces), = reader.write(directory, stem)
    decodes(path)
    return path, decoded(path, pieces, len(reader.maps.get(pieces[0].map or "", b"")))


def check_numbers(media: Media, count: int, first_limit: int) -> None:
    """Every number once and in order, from a key frame near the beginning to the end."""
    numbers = media.facts.numbers
    assert numbers and numbers[0] is not None and numbers[0] <= first_limit, numbers[:5]
    if numbers != list(range(numbers[0], count)):
        missing = sorted(set(range(numbers[0], count)) - set(numbers))
        steps = [(a, b) for a, b in zip(numbers, numbers[1:]) if None in (a, b) or b != a + 1]
        raise AssertionError(f"{len(numbers)} pictures of {count}: missing {missing[:20]}, steps {steps[:20]}")
    assert len(media.arrivals) == len(numbers), (len(media.arrivals), len(numbers))


def check_skews(facts, seconds: float) -> str:
    skews = facts.skews
    assert len(skews) >= seconds - 2.5, (len(skews), len(facts.flashes), len(facts.beeps))
    assert max(map(abs, skews)) <= SKEW_LIMIT, [round(skew * 1000, 1) for skew in skews]
    assert not facts.sound_holes, facts.sound_holes[:5]
    return f"beep behind flash {min(skews) * 1000:+.1f} to {max(skews) * 1000:+.1f} ms"


def check_delays(one: Watched, low: Media, first: Media, late: Media) -> str:
    """As the players begin that these readers stand for: so far from the end as the server says, or at the third segment
    from the end."""
    hold = float(one.low.playlists[0].control["PART-HOLD-BACK"])
    start = one.low.pieces[one.low.at_first - 1].arrived
    at_hand = sum(arrived <= start for arrived in low.arrivals)
    by_parts = shown(low, max(0, at_hand - round(hold * FRAME_RATE)), start, one.epoch)
    assert by_parts.delay < LOW_LATENCY_SECONDS, by_parts

    def by_segments(reader: Reader, media: Media):
        own = reader.pieces[:reader.at_first][-3:]
        begin = sum(arrived < own[0].arrived for arrived in media.arrivals)
        return shown(media, begin, own[-1].arrived, one.epoch)

    begun, joined = by_segments(one.first, first), by_segments(one.late, late)
    assert begun.delay < STANDARD_SECONDS, begun
    assert joined.delay < JOINED_SECONDS, joined
    return (f"delay {by_parts.delay:.2f} s by parts ({by_parts.stalls} stalls), {begun.delay:.2f} s by segments from the "
            f"beginning ({begun.stalls} stalls), {joined.delay:.2f} s by segments for who joined later "
            f"({joined.stalls} stalls)")


async def from_its_beginning(url: str) -> list[int | None]:
    """The numbers of all pictures of a playlist that has ended, as ffmpeg's HLS demuxer and decoders find them, smaller."""
    width, height = 64, 60
    process = await asyncio.create_subprocess_exec(
        "ffmpeg", "-v", "error", "-i", url, "-map", "0:v:0", "-fps_mode", "passthrough",
        # Each picture at its own time: rounded to a frame rate, two may come out as one.
        "-enc_time_base", "-1", "-vf", f"scale={width}:{height}:flags=area", "-f", "rawvideo", "-pix_fmt", "gray", "-",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, complaints = await asyncio.wait_for(process.communicate(), PLAY_LIMIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0 and not complaints, complaints.decode(errors="replace")[-800:]
    pictures = numpy.frombuffer(out, dtype=numpy.uint8).reshape(-1, height, width)
    return [read_number(picture) for picture in pictures]


async def check_left(viewer, server, name: str, first: int, count: int) -> None:
    """What the playlist still has when the publisher has gone is played from its beginning to its end."""
    url = address(server, name)
    numbers = await from_its_beginning(url)
    assert numbers == list(range(first, count)), (numbers[:5], len(numbers), first, count)
    await viewer.call("play", name, url, True, QUICK)
    told = await ended(viewer, name)
    seen = [number for number in told["numbers"] if number is not None]
    assert seen[0] - first < BEGIN_SLACK and count - seen[-1] < END_SLACK, (first, count, seen[:5], seen[-5:], told["state"])
    longer = told["end"] - (count - first) / FRAME_RATE
    assert seen == sorted(seen) and -0.1 < longer < LONGER_SECONDS, (seen, longer)
    await viewer.call("stop", name)


async def ended(viewer, key: str) -> dict:
    async with asyncio.timeout(PLAY_LIMIT_SECONDS):
        while True:
            told = await viewer.call("told", key)
            assert told["problem"] is None, told["problem"]
            if told["ended"]:
                return told
            await asyncio.sleep(0.1)


@pytest.mark.limit(90)
async def test_every_picture_is_served_once_and_in_order(start_server, new_page, clips, full, tmp_path, record_property):
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SHORT_SECONDS
    sent = {codec: clips(codec, seconds) for codec in CODECS}
    got = await asyncio.gather(*(watched(server, codec, codec, sent[codec]) for codec in CODECS))
    viewer = await new_page("hls.html")
    for codec, one in zip(CODECS, got):
        limit = TRANSCODED_FIRST if codec == "VP8" else 0
        media = {}
        for kind, reader in (("low", one.low), ("first", one.first), ("late", one.late)):
            _, media[kind] = media_of(reader, tmp_path, f"{codec}-{kind}")
            check_numbers(media[kind], seconds * FRAME_RATE, limit if kind != "late" else seconds * FRAME_RATE)
        skews = check_skews(media["low"].facts, seconds)
        check_skews(media["first"].facts, seconds)
        delays = check_delays(one, *(media[kind] for kind in ("low", "first", "late")))
        begin = media["low"].facts.numbers[0]
        if not full:
            await check_left(viewer, server, codec, begin, seconds * FRAME_RATE)
        record_property(codec, delays)
        print(f"{codec}: {len(media['low'].arrivals)} pictures of {seconds * FRAME_RATE}, from {begin} on; {skews}; {delays}")


@pytest.mark.limit(60)
async def test_made_sound_is_in_time_with_the_pictures(start_server, clips, full, tmp_path, record_property):
    """AAC, as a rendition beside Opus and in MPEG-TS, made of the same sound."""
    more = {"hls": {"audio": "both", "transport_streams": ["ts-*"]}}
    server, seconds = start_server(merge(SETTINGS, more)), FULL_SECONDS if full else SHORT_SECONDS
    clip, count = clips("H264", seconds), seconds * FRAME_RATE
    both, stream = await asyncio.gather(watched(server, "both", "H264", clip), watched(server, "ts-1", "H264", clip))
    _, media = media_of(both.low, tmp_path, "both")
    check_numbers(media, count, 0)
    assert set(both.sounds) == {"audio-opus", "audio-aac"}
    for name, reader in both.sounds.items():
        path, _ = media_of(reader, tmp_path, name)
        sound = read_back(path)
        sound.pictures = media.facts.pictures
        skews = check_skews(sound, seconds)
        record_property(name, skews)
        print(f"{name}: {skews}")
    _, media = media_of(stream.low, tmp_path, "ts")
    check_numbers(media, count, 0)
    assert not stream.low.maps and not stream.sounds
    skews = check_skews(media.facts, seconds)
    record_property("ts", skews)
    _, begun = media_of(stream.first, tmp_path, "ts-first")
    _, joined = media_of(stream.late, tmp_path, "ts-late")
    print(f"AAC in MPEG-TS: {skews}; {check_delays(stream, media, begun, joined)}")
