"""Recordings against what was sent: every picture once and in order, sound with pictures, losses, wrong clocks, sizes.

The publisher sends clips whose pictures carry numbers (rtp_publisher.py), so that a missing frame is Weir's.
`--full` sends five minutes.
"""

from __future__ import annotations

import asyncio

import pytest

from media_file import decodes
from numbered_clip import FRAME_RATE, HEIGHT, KEY_INTERVAL, WIDTH
from recording_checks import (
    FULL_SECONDS, SETTINGS, SHORT_SECONDS, SKEW_LIMIT, check_played, check_times, check_whole, recorded, server_page)
from rtp_publisher import Clocks, Link, RtpPublisher

CODECS = ["VP8", "VP9", "H264", "AV1"]
LOSS = 0.05
# Where nothing is sent again every loss costs up to a second; more would leave little to judge.
LOSS_FOR_GOOD = 0.01
PPM = 200
# A sound card so bad that in the short form, too, its sound would be late without a correction.
SHORT_SOUND_PPM = 5_000
WRAP_AFTER_SECONDS = 2
SIZE_SECONDS = 2
# Of a file whose last pictures may be missing, up to a key frame, and whose sound goes on.
LAST_SECONDS = 0.1


@pytest.fixture
def seconds(full) -> int:
    return FULL_SECONDS if full else SHORT_SECONDS


@pytest.mark.limit(90)
async def test_every_picture_of_a_clip_is_in_the_file_once_and_in_order(
        start_server, new_page, clips, seconds, record_property):
    server = start_server(SETTINGS)
    sent = {codec: clips(codec, seconds) for codec in CODECS}
    got = await asyncio.gather(*(recorded(server, RtpPublisher(codec), sent[codec]) for codec in CODECS))
    for codec, (path, facts) in zip(CODECS, got):
        check_whole(facts, seconds * FRAME_RATE)
        measured = check_times(path, facts, seconds)
        decodes(path)
        record_property(codec, measured)
        print(f"{codec}: {measured}")
    viewer = await server_page(new_page, server)
    await asyncio.gather(*(check_played(viewer, server, path, seconds * FRAME_RATE) for path, _ in got))


@pytest.mark.limit(90)
async def test_what_is_lost_and_sent_again_is_in_the_file(start_server, clips, seconds, record_property):
    server = start_server(SETTINGS)
    publishers = [RtpPublisher(codec, Link(loss=LOSS)) for codec in CODECS]
    got = await asyncio.gather(*(recorded(server, one, clips(one.codec, seconds)) for one in publishers))
    for one, (path, facts) in zip(publishers, got):
        assert one.link.lost > 0.5 * LOSS * one.link.passed and one.link.resent >= one.link.lost * 0.9, one.link
        check_whole(facts, seconds * FRAME_RATE)
        measured = check_times(path, facts, seconds)
        decodes(path)
        record_property(one.codec, measured)
        print(f"{one.codec}, {one.link.lost} of {one.link.passed} packets lost, sent at most {one.latest:.1f} s late: "
              f"{measured}")
    assert server.metrics()["weir_recording_gaps_total"] == 0


@pytest.mark.limit(90)
async def test_what_is_lost_for_good_is_a_counted_gap_in_a_file_that_plays(
        start_server, new_page, clips, seconds, record_property):
    """Half of the publishers answer no request for retransmission, the others never offered it."""
    server, gaps = start_server(SETTINGS), 0
    publishers = [RtpPublisher(codec, Link(loss=LOSS_FOR_GOOD, answers_nacks=False), nack=index % 2 == 0)
                  for index, codec in enumerate(CODECS)]
    got = await asyncio.gather(*(recorded(server, one, clips(one.codec, seconds)) for one in publishers))
    viewer = await server_page(new_page, server)
    for one, (path, facts) in zip(publishers, got):
        assert ("rtx" in one.answer) == one.nack and (one.nacked > 0) == one.nack, (one.answer, one.nacked)
        numbers = facts.numbers
        assert None not in numbers, "a picture is broken"
        steps = [after - before for before, after in zip(numbers, numbers[1:])]
        assert min(steps) > 0, "pictures are not in order"
        # After each loss it goes on at the next key frame, unless that is lost as well.
        assert max(steps) <= 3 * KEY_INTERVAL, numbers
        missing, holes = seconds * FRAME_RATE - len(numbers), sum(step > 1 for step in steps)
        assert missing > 0 and holes > 0, (missing, holes)
        holes += len(facts.sound_holes)
        # What is missing is a hole: the others are where they were.
        first = facts.pictures[0].time
        assert max(abs(one.time - first - one.number / FRAME_RATE) for one in facts.pictures) < SKEW_LIMIT
        assert max(map(abs, facts.skews)) <= SKEW_LIMIT, facts.skews
        decodes(path)
        played = await viewer.page.evaluate(PLAYS, f"{server.http_url}/client/records/{path.name}")
        assert abs(played - seconds) < LAST_SECONDS, played
        gaps += holes
        record_property(one.codec, missing)
        print(f"{one.codec}, {one.link.lost} of {one.link.passed} packets lost: "
              f"{missing} pictures of {seconds * FRAME_RATE} missing, {holes} holes of pictures and sound")
    counted = server.metrics()["weir_recording_gaps_total"]
    print(f"{counted:.0f} gaps counted, {gaps} found in the files")
    assert counted == gaps, (counted, gaps)


# Plays from near the end to the end: how long the file is.
PLAYS = """url => new Promise((resolve, reject) => {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, src: url });
    video.onerror = () => reject(new Error(video.error.message));
    video.onloadeddata = () => { video.currentTime = video.duration - 0.7; };
    video.onseeked = () => video.play();
    video.onended = () => resolve(video.duration);
    document.body.append(video);
})"""


@pytest.mark.limit(90)
async def test_clocks_that_are_wrong_and_timestamps_that_wrap(start_server, clips, seconds, full, record_property):
    server = start_server(SETTINGS)
    sound_ppm = PPM if full else SHORT_SOUND_PPM
    wraps = Clocks(
        video_start=(1 << 32) - WRAP_AFTER_SECONDS * 90_000, audio_start=(1 << 32) - WRAP_AFTER_SECONDS * 48_000)
    publishers = {
        f"all clocks {PPM:+} ppm": RtpPublisher("VP8", clocks=Clocks(video_ppm=PPM, audio_ppm=PPM, wall_ppm=PPM)),
        f"all clocks {-PPM:+} ppm": RtpPublisher("VP9", clocks=Clocks(video_ppm=-PPM, audio_ppm=-PPM, wall_ppm=-PPM)),
        f"sound {sound_ppm:+} ppm": RtpPublisher("H264", clocks=Clocks(audio_ppm=sound_ppm)),
        "timestamps that wrap": RtpPublisher("AV1", clocks=wraps),
    }
    got = await asyncio.gather(*(recorded(server, one, clips(one.codec, seconds)) for one in publishers.values()))
    for what, (path, facts) in zip(publishers, got):
        check_whole(facts, seconds * FRAME_RATE)
        measured = check_times(path, facts, seconds)
        decodes(path)
        record_property(what, measured)
        print(f"{what}: {measured}")


@pytest.mark.limit(90)
async def test_the_size_may_change_in_the_midst_of_a_file(start_server, new_page, clips, record_property):
    server, half = start_server(SETTINGS), SIZE_SECONDS
    larger = {"width": 480, "height": 360, "first": half * FRAME_RATE}
    got = await asyncio.gather(*(
        recorded(server, RtpPublisher(codec), clips(codec, half), clips(codec, half, **larger)) for codec in CODECS))
    for codec, (path, facts) in zip(CODECS, got):
        check_whole(facts, 2 * half * FRAME_RATE)
        sizes = [picture.size for picture in facts.pictures]
        assert sizes == [(WIDTH, HEIGHT)] * half * FRAME_RATE + [(480, 360)] * half * FRAME_RATE, set(sizes)
        measured = check_times(path, facts, 2 * half)
        decodes(path)
        record_property(codec, measured)
        print(f"{codec}: {measured}")
    viewer = await server_page(new_page, server)
    await asyncio.gather(*(check_played(viewer, server, path, 2 * half * FRAME_RATE) for path, _ in got))
