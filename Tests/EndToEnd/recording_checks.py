"""What the tests of recordings share: publishers that are recorded, and judgements of the files."""

from __future__ import annotations

import asyncio
from pathlib import Path

from media_file import probe
from numbered_clip import FRAME_RATE, Clip
from recorded_media import Recorded, read_back
from rtp_publisher import RtpPublisher

SHORT_SECONDS, FULL_SECONDS = 6, 300
FILE_LIMIT_SECONDS = 20.0
# On a busy machine, too, nobody is refused and no player is thinned: it is a control.
SETTINGS = {"recording": {"all": True, "template": "{streamName}"}, "media": {"overload_delay": "1m"}}
# The bars of the issue.
DURATION_SLACK = 0.050
SKEW_LIMIT = 0.020
# A player shows the picture of the time that was sought, or the one before where times are rounded.
SEEK_SLACK = 1
SEEK_SHARES = [0.25, 0.5, 0.8, 0.1, 0]
TAIL_SECONDS = 1.0
READ_FILE = Path(__file__).resolve().parent / "pages/read_file.js"


def folder(server) -> Path:
    return server.directory / "state" / "records"


async def completed(server, name: str) -> Path:
    """Waits until the file of that stream is in its place."""
    async with asyncio.timeout(FILE_LIMIT_SECONDS):
        while not (found := [path for path in folder(server).glob(f"{name}.*") if path.is_file()]):
            await asyncio.sleep(0.05)
    path, = found
    return path


async def recorded(server, publisher: RtpPublisher, *clips: Clip, name: str = "") -> tuple[Path, Recorded]:
    """Sends the clips as one stream, of the codec's name if it has no other, and reads its recording."""
    name = name or publisher.codec
    await publisher.post(server.whip(name))
    await publisher.send(list(clips))
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
