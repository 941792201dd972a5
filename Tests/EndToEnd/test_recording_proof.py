"""Recordings against what was sent: every picture once and in order, sound with pictures, through losses and bad clocks.

The protocol-level publisher sends clips whose pictures carry numbers (rtp_publisher.py), so that a missing frame is
Weir's; Chromium draws such pictures itself, and is compared with what it says it encoded. `--full` sends five minutes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from media_file import decodes, probe
from numbered_clip import FRAME_RATE, KEY_INTERVAL, Clip, make_clip
from recorded_media import Recorded, read_back
from rtp_publisher import Clocks, Link, RtpPublisher

CODECS = ["VP8", "VP9", "H264", "AV1"]
SHORT_SECONDS, FULL_SECONDS = 8, 300
FILE_LIMIT_SECONDS = 20.0
SETTINGS = {"recording": {"all": True, "template": "{streamName}"}}
# The bars of the issue.
DURATION_SLACK = 0.050
SKEW_LIMIT = 0.020
LOSS = 0.05
# A player shows the picture of the time that was sought, or the one before where times are rounded.
SEEK_SLACK = 1
SEEK_SHARES = [0.25, 0.5, 0.8, 0.1, 0]
TAIL_SECONDS = 1.0
READ_FILE = Path(__file__).resolve().parent / "pages/read_file.js"


def folder(server) -> Path:
    return server.directory / "state" / "records"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A function that makes clips, each once."""
    directory, made = tmp_path_factory.mktemp("clips"), {}

    def clip(codec: str, seconds: int, **more) -> Clip:
        key = (codec, seconds, *sorted(more.items()))
        if key not in made:
            made[key] = make_clip(directory, codec, seconds, **more)
        return made[key]

    return clip


async def completed(server, name: str) -> Path:
    """Waits until the file of that stream is in its place."""
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while not (found := [path for path in folder(server).glob(f"{name}.*") if path.is_file()]):
            await asyncio.sleep(0.05)
    path, = found
    return path


async def recorded(server, name: str, publisher: RtpPublisher, clips: list[Clip]) -> tuple[Path, Recorded]:
    """Sends the clips as one stream and reads its recording."""
    await publisher.post(server.whip(name))
    await publisher.send(clips)
    await publisher.settled()
    await publisher.close()
    path = await completed(server, name)
    return path, await asyncio.to_thread(read_back, path)


def check_whole(facts: Recorded, count: int, first: int = 0) -> None:
    """Every number once and in order."""
    expected = list(range(first, first + count))
    if facts.numbers != expected:
        missing = sorted(set(expected) - set(facts.numbers))
        raise AssertionError(f"{len(facts.numbers)} pictures of {count}; missing {missing[:20]}; "
                             f"unreadable {facts.numbers.count(None)}; {facts.numbers[:5]} … {facts.numbers[-5:]}")


def check_times(path: Path, facts: Recorded, seconds: float) -> str:
    """Lengths and the sound against the pictures, at the beginning, at the end and between; what was measured."""
    assert abs(facts.seconds - seconds) <= DURATION_SLACK, (facts.seconds, seconds)
    told = probe(path)["duration"]
    assert abs(told - seconds) <= DURATION_SLACK, (told, seconds)
    assert not facts.sound_holes, facts.sound_holes[:5]
    skews = facts.skews
    assert len(skews) >= seconds - 1.5, (len(skews), len(facts.flashes), len(facts.beeps))
    assert max(map(abs, skews)) <= SKEW_LIMIT, [round(skew * 1000, 1) for skew in skews]
    return (f"{facts.seconds:.3f} s of pictures, {told:.3f} s by ffprobe, for {seconds} s; beep behind flash "
            f"{skews[0] * 1000:+.1f} ms first, {skews[-1] * 1000:+.1f} ms last, "
            f"{min(skews) * 1000:+.1f} to {max(skews) * 1000:+.1f} ms")


async def server_page(new_page, server):
    """A page of the server's own origin, which may look into the pictures of its videos."""
    viewer = await new_page()
    await viewer.page.goto(server.http_url)
    return viewer


async def check_played(viewer, server, path: Path, count: int) -> None:
    """Chromium's video element loads the file, shows the pictures of sought times, and plays to the end."""
    url = f"{server.http_url}/client/records/{path.name}"
    played = await viewer.page.evaluate(READ_FILE.read_text(), [url, SEEK_SHARES, TAIL_SECONDS])
    for time, number in played["sought"]:
        assert number is not None and abs(number - int(time * FRAME_RATE)) <= SEEK_SLACK, played
    assert played["last"] >= count - 2, played
    assert abs(played["end"] - count / FRAME_RATE) <= DURATION_SLACK, played


@pytest.mark.limit(90)
async def test_every_picture_of_a_clip_is_in_the_file_once_and_in_order(
        start_server, new_page, clips, full, record_property):
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SHORT_SECONDS
    sent = {codec: clips(codec, seconds) for codec in CODECS}
    got = await asyncio.gather(*(recorded(server, codec, RtpPublisher(codec), [sent[codec]]) for codec in CODECS))
    for codec, (path, facts) in zip(CODECS, got):
        check_whole(facts, seconds * FRAME_RATE)
        measured = check_times(path, facts, seconds)
        decodes(path)
        record_property(codec, measured)
        print(f"{codec}: {measured}")
    viewer = await server_page(new_page, server)
    await asyncio.gather(*(check_played(viewer, server, path, seconds * FRAME_RATE) for path, _ in got))


@pytest.mark.limit(90)
async def test_what_is_lost_and_sent_again_is_in_the_file(start_server, clips, full, record_property):
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SHORT_SECONDS
    publishers = [RtpPublisher(codec, Link(loss=LOSS)) for codec in CODECS]
    got = await asyncio.gather(*(
        recorded(server, one.codec, one, [clips(one.codec, seconds)]) for one in publishers))
    for one, (path, facts) in zip(publishers, got):
        assert one.link.lost > 0.5 * LOSS * one.link.passed and one.link.resent >= one.link.lost * 0.9, one.link
        check_whole(facts, seconds * FRAME_RATE)
        measured = check_times(path, facts, seconds)
        decodes(path)
        record_property(one.codec, measured)
        print(f"{one.codec}, {one.link.lost} of {one.link.passed} packets lost: {measured}")
    assert server.metrics()["weir_recording_gaps_total"] == 0


@pytest.mark.limit(90)
@pytest.mark.parametrize("nack", [True, False], ids=["unanswered", "not-offered"])
async def test_what_is_lost_for_good_is_a_counted_gap_in_a_file_that_plays(
        start_server, clips, full, nack, record_property):
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SHORT_SECONDS
    links = {codec: Link(loss=LOSS / 5, answers_nacks=False) for codec in CODECS}
    publishers = [RtpPublisher(codec, links[codec], nack=nack) for codec in CODECS]
    got = await asyncio.gather(*(
        recorded(server, one.codec, one, [clips(one.codec, seconds)]) for one in publishers))
    gaps = 0
    for one, (path, facts) in zip(publishers, got):
        assert ("rtx" in one.answer) == nack and (one.nacked > 0) == nack, (one.answer, one.nacked)
        numbers = facts.numbers
        assert None not in numbers, "a picture is broken"
        assert all(a < b for a, b in zip(numbers, numbers[1:])), "pictures are not in order"
        missing = seconds * FRAME_RATE - len(numbers)
        holes = sum(b != a + 1 for a, b in zip(numbers, numbers[1:])) + len(facts.sound_holes)
        assert missing > 0 and holes > 0, (missing, holes)
        # After each loss it goes on at the next key frame at the latest.
        assert max(b - a for a, b in zip(numbers, numbers[1:])) <= 2 * KEY_INTERVAL, numbers
        assert max(map(abs, facts.skews)) <= SKEW_LIMIT, facts.skews
        decodes(path)
        gaps += holes
        record_property(one.codec, f"{missing} pictures missing in {holes} holes")
        print(f"{one.codec}, {one.link.lost} of {one.link.passed} packets lost: "
              f"{missing} pictures of {seconds * FRAME_RATE} missing, {holes} holes of pictures and sound")
    counted = server.metrics()["weir_recording_gaps_total"]
    print(f"{counted:.0f} gaps counted, {gaps} found in the files")
    assert counted == gaps, (counted, gaps)
