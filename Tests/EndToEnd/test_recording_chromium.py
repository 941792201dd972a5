"""Recordings of what Chromium publishes, against what it says it encoded and against its own sender reports.

A browser's sound and pictures are not captured at one and the same moment: what it sends is off by some 20 ms, on a
busy machine by more. So a file is compared with what the browser's sender reports say about the same frames (rtp_player.py);
how far the browser itself is off is printed.
"""

from __future__ import annotations

import asyncio
import statistics

import pytest

from counter_page import CounterPage
from media_file import decodes, probe
from recorded_media import read_back
from recording_checks import (
    DURATION_SLACK, FULL_SECONDS, READ_FILE, SETTINGS, SHORT_SECONDS, SKEW_LIMIT, TAIL_SECONDS, completed,
    server_page)
from rtp_player import RtpPlayer
from udp_relay import UDPRelay

CODECS = ["VP8", "VP9", "H264", "AV1"]
LOSS = 0.05
# Until the first report of its sound, which Chromium sends after up to 4 s, only arrivals tell how the tracks lie; then
# they move to their places, by at most 50 ms a second.
SETTLED_SECONDS = 6.0
SYNC_SECONDS = 8
# A sought picture of a stream whose pictures may be 200 ms apart on a busy machine.
SEEK_SECONDS = 0.25
SEEK_SHARES = [0.25, 0.5, 0.8, 0.1]
# Chromium's AV1 encoder at times keeps 64 x 64 pixels of an earlier picture (2 of 4,400; they decode without a word).
MOST_UNREADABLE = 0.002
# Chromium repeats its newest picture when it is asked for a key frame.
MOST_REPEATED = 0.1
# A canvas is captured up to a frame's time after it was drawn, on a busy machine much later, and some pictures twice.
STEP_LIMIT = 1.0
# Pictures that the player, which asks for nothing again, has got as well.
LEAST_MATCHED = 0.9
RESIZES = [(320, 240), (480, 360), (240, 180)]
SIZE_SECONDS = 2.0
READABLE = 0.95


async def published(server, new_page, name: str, codec: str, seconds: float, relay: UDPRelay | None = None):
    """Publishes numbered pictures until so much sound was sent, watched by a player.

    - Returns: the file, what is in it, how many frames were encoded, what was drawn, the player.
    """
    page = await CounterPage(await new_page("counter.html")).begin(seconds=int(seconds) + 30)
    await page.publish(server.whip(name), codec, **({"udp": relay.port} if relay else {}))
    player = RtpPlayer(codec)
    await player.post(server.whep(name))
    await page.sound_sent(seconds, limit=seconds + 30)
    encoded = await page.silence()
    await page.stop()
    await player.close()
    path = await completed(server, name)
    return path, await asyncio.to_thread(read_back, path), encoded, await page.drawn(), player


def check_numbers(facts, encoded: int) -> str:
    """The numbers rise, and there are as many pictures as were encoded."""
    numbers = facts.numbers
    unreadable = numbers.count(None)
    assert unreadable <= MOST_UNREADABLE * len(numbers), f"{unreadable} of {len(numbers)} pictures are unreadable"
    assert len(numbers) == encoded, (len(numbers), encoded)
    numbers = [number for number in numbers if number is not None]
    times = [picture.time for picture in facts.pictures]
    assert all(a < b for a, b in zip(times, times[1:])), "two pictures at one time"
    repeated = sum(a == b for a, b in zip(numbers, numbers[1:]))
    assert all(a <= b for a, b in zip(numbers, numbers[1:])), "pictures are not in order"
    assert repeated <= MOST_REPEATED * len(numbers), f"{repeated} of {len(numbers)} are repeated"
    return (f"{len(facts.numbers)} pictures in the file, {encoded} encoded, {repeated} drawn once and encoded twice, "
            f"{unreadable} unreadable")


def check_sync(facts, player: RtpPlayer, drawn) -> str:
    """Sound against pictures as the publisher's reports say; and what the publisher itself is off by."""
    errors = player.errors(facts)
    settled = [error for time, error in errors if time >= SETTLED_SECONDS]
    watched = [one.time for one in facts.pictures if one.time >= SETTLED_SECONDS]
    assert len(settled) >= LEAST_MATCHED * len(watched), (len(settled), len(watched))
    assert settled and max(map(abs, settled)) <= SKEW_LIMIT, [(round(t, 2), round(e * 1000, 1)) for t, e in errors[::5]]
    # Pictures lie as far apart in the file as they were drawn.
    placed = [(one.time, drawn.times[one.number]) for one in facts.pictures if one.number is not None]
    steps = [(after[0] - before[0]) - (after[1] - before[1]) for before, after in zip(placed, placed[1:])]
    assert max(map(abs, steps)) <= STEP_LIMIT, max(map(abs, steps))
    skews = list(drawn.skews(facts).values())
    own = statistics.median(skews) - statistics.median(settled)
    return (f"sound behind pictures, against the sender reports: {errors[0][1] * 1000:+.1f} ms {errors[0][0]:.1f} s after "
            f"the beginning, by arrival, "
            f"{min(settled) * 1000:+.1f} to {max(settled) * 1000:+.1f} ms after {SETTLED_SECONDS} s, "
            f"{settled[-1] * 1000:+.1f} ms at the end; the browser itself is off by {own * 1000:+.0f} ms")


def check_sound(facts) -> None:
    """Every piece of sound follows the one before, for as long as all of them last."""
    assert not facts.sound_holes, facts.sound_holes
    heard = facts.sound[-1][0] + facts.sound[-1][1] - facts.sound[0][0]
    sent = sum(length for _, length in facts.sound)
    assert abs(heard - sent) <= DURATION_SLACK, (heard, sent)


async def check_played(viewer, server, path, facts) -> None:
    """Chromium's video element plays the file and shows the pictures of the times that are sought."""
    url = f"{server.http_url}/client/records/{path.name}"
    played = await viewer.page.evaluate(READ_FILE.read_text(), [url, SEEK_SHARES, TAIL_SECONDS])
    for time, number in played["sought"]:
        near = [one.number for one in facts.pictures if abs(one.time - time) < SEEK_SECONDS]
        assert number in near, (time, number, near)
    assert played["last"] == facts.numbers[-1], played
    assert abs(played["end"] - probe(path)["duration"]) <= DURATION_SLACK, played


@pytest.mark.limit(90)
async def test_what_was_encoded_is_in_the_file(start_server, new_page, full, record_property):
    """All codecs at a time: frames that a busy machine drops before they are encoded are not what is judged."""
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SYNC_SECONDS
    got = await asyncio.gather(*(published(server, new_page, codec, codec, seconds) for codec in CODECS))
    viewer = await server_page(new_page, server)
    for codec, (path, facts, encoded, drawn, player) in zip(CODECS, got):
        counted, sync = check_numbers(facts, encoded), check_sync(facts, player, drawn)
        check_sound(facts)
        decodes(path)
        await check_played(viewer, server, path, facts)
        record_property(codec, sync)
        print(f"{codec}: {counted}; {sync}")


@pytest.mark.limit(60)
async def test_what_was_lost_on_the_way_is_in_the_file(start_server, new_page, full, record_property):
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SHORT_SECONDS
    async with UDPRelay(("127.0.0.1", server.media_port), loss=LOSS) as relay:
        path, facts, encoded, drawn, player = await published(server, new_page, "VP8", "VP8", seconds, relay)
        assert relay.lost > LOSS / 2 * relay.passed > 0, (relay.lost, relay.passed)
    counted = check_numbers(facts, encoded)
    check_sound(facts)
    decodes(path)
    record_property("lost", relay.lost)
    print(f"VP8, {relay.lost} of {relay.passed} packets lost: {counted}")
    assert server.metrics()["weir_recording_gaps_total"] == 0


async def resized(server, new_page, codec: str):
    """Publishes pictures of several sizes; the file, what is in it, and how many frames were encoded."""
    page = await CounterPage(await new_page("counter.html")).begin(seconds=60)
    await page.publish(server.whip(codec), codec)
    for index, size in enumerate(RESIZES):
        await page.page.call("resize", *size)
        await page.sound_sent(SIZE_SECONDS * (index + 1), limit=30)
    encoded = await page.silence()
    await page.stop()
    path = await completed(server, codec)
    return path, await asyncio.to_thread(read_back, path), encoded


@pytest.mark.limit(60)
async def test_the_size_of_the_canvas_may_change(start_server, new_page, record_property):
    server, codecs = start_server(SETTINGS), ["VP8", "H264"]
    for codec, (path, facts, encoded) in zip(
            codecs, await asyncio.gather(*(resized(server, new_page, codec) for codec in codecs))):
        decodes(path)
        assert len(facts.pictures) == encoded, (len(facts.pictures), encoded)
        sizes = [picture.size for picture in facts.pictures]
        changes = [sizes[0]] + [after for before, after in zip(sizes, sizes[1:]) if after != before]
        assert changes == RESIZES, changes
        numbers = [number for number in facts.numbers if number is not None]
        # The encoder has few bits for what is suddenly larger.
        assert len(numbers) >= READABLE * len(sizes) and numbers == sorted(numbers), facts.numbers
        record_property(codec, encoded)
        print(f"{codec}: {len(sizes)} pictures of {len(RESIZES)} sizes in the file, {encoded} encoded")
