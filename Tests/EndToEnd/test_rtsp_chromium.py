"""What Chromium publishes, played by RTSP: compared with the recording of the same stream, which is compared with what the
browser encoded and with its sender reports by test_recording_chromium.py.

Recordings begin with the stream and players later: from the player's first picture on both have the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import test_rtsp
import test_rtsp_udp
from counter_page import CounterPage
from recorded_media import Recorded, read_back
from recording_checks import SETTINGS, completed
from test_rtsp import FULL_SECONDS, LIMIT_SECONDS, SKEW_LIMIT

SECONDS = 10
# Until the first report of its sound, which Chromium sends after up to 4 s, on a busy machine later, only arrivals tell how
# the tracks lie; then recordings move to their places, by at most 50 ms a second, and players leap.
SETTLED_SECONDS = 7.0
CASES = [
    ("VP8", "ffmpeg", "UDP"), ("VP8", "GStreamer", "TLS"), ("VP9", "GStreamer", "UDP"), ("VP9", "ffmpeg", "TCP"),
    ("VP9", "ffmpeg", "UDP"),
    ("H264", "ffmpeg", "UDP"), ("H264", "GStreamer", "TCP"), ("AV1", "PyAV", "TLS"),
]
CODECS = sorted({codec for codec, _, _ in CASES})


async def play(server, case: tuple[str, str, str], tmp_path: Path, limit: float) -> Recorded:
    codec, player, transport = case
    players = test_rtsp_udp.PLAYERS if transport == "UDP" else test_rtsp.PLAYERS
    path = tmp_path / f"{codec}-{player}-{transport}.mkv"
    try:
        return await players[player](server.rtsp(codec, transport == "TLS"), path, limit)
    except AssertionError as problem:
        raise AssertionError(f"{case}: {problem}") from None


def check_pictures(played: Recorded, recorded: Recorded) -> int:
    """Every picture from the first on, in order; how many."""
    numbers, all_ = played.numbers, recorded.numbers
    assert numbers and len(numbers) <= len(all_), (len(numbers), len(all_))
    missing = sorted(set(all_[-len(numbers):]) - set(numbers) - {None})
    assert numbers == all_[-len(numbers):], (len(numbers), missing[:20], numbers[:5], numbers[-5:], all_[-5:])
    return len(numbers)


def check_sync(played: Recorded, recorded: Recorded, drawn) -> list[float]:
    """By how much each beep is later against the pictures than it is in the recording, once that has settled."""
    # FFmpeg 8 at times gives its first picture of AV1 no time.
    timed = replace(played, pictures=[one for one in played.pictures if one.time is not None])
    ours, theirs = drawn.skews(timed), drawn.skews(recorded)
    begin = drawn.times[recorded.numbers[0]] - drawn.zero
    common = sorted(beep for beep in set(ours) & set(theirs) if beep - begin >= SETTLED_SECONDS)
    assert len(common) >= 2, (ours, theirs)
    away = [ours[beep] - theirs[beep] for beep in common]
    assert max(map(abs, away)) <= SKEW_LIMIT, [round(one * 1000, 1) for one in away]
    return away


@pytest.mark.limit(120)
async def test_every_picture_is_played_in_sync(start_server, new_page, full, tmp_path, record_property):
    server, seconds = start_server(SETTINGS), FULL_SECONDS if full else SECONDS

    async def publish(codec: str):
        page = await CounterPage(await new_page("counter.html")).begin(seconds=seconds + 30)
        await page.publish(server.whip(codec), codec)
        await server.wait_live(codec)
        playing = [asyncio.create_task(play(server, case, tmp_path, seconds + LIMIT_SECONDS))
                   for case in CASES if case[0] == codec]
        await page.sound_sent(seconds, limit=seconds + 30)
        await page.silence()
        await page.stop()
        played = await asyncio.gather(*playing)
        recorded = await asyncio.to_thread(read_back, await completed(server, codec))
        return recorded, await page.drawn(), played

    got = dict(zip(CODECS, await asyncio.gather(*(publish(codec) for codec in CODECS))))
    for codec, (recorded, drawn, played) in got.items():
        for case, facts in zip((case for case in CASES if case[0] == codec), played):
            title = "Chromium's {} by {} over {}".format(*case)
            try:
                count, away = check_pictures(facts, recorded), check_sync(facts, recorded, drawn)
            except AssertionError as problem:
                raise AssertionError(f"{title}: {problem}") from None
            measured = (f"{count} pictures of {len(recorded.numbers)}, from its first on all; beeps "
                        f"{min(away) * 1000:+.1f} to {max(away) * 1000:+.1f} ms from where the recording has them")
            record_property(title, measured)
            print(f"{title}: {measured}")
