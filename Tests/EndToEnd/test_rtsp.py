"""RTSP players in connections (TCP, TLS): ffmpeg, GStreamer, PyAV and a client by hand play what a WebRTC publisher sends.

Pictures carry numbers (rtp_publisher.py), so that a missing one is Weir's.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import time
from pathlib import Path

import pytest

from gstreamer import PYTHON
from numbered_clip import FRAME_RATE, KEY_INTERVAL
from recorded_media import Recorded, read_back
from rest_api import done, get
from rtp_publisher import Link, RtpPublisher
from rtsp_client import RtspClient

HERE = Path(__file__).resolve().parent
SECONDS, FULL_SECONDS = 6, 30
LIMIT_SECONDS = 25.0
# Of the issue.
FIRST_PICTURE_SECONDS = 0.5
SKEW_LIMIT = 0.030
# Players join at once, but programs have to start and to open the stream.
JOINED_BY_SECONDS = 4
SETTINGS = {"media": {"overload_delay": "1m"}}
LOSS = 0.05


class Publisher:
    """Publishes a clip while it is entered, and ends the stream; if it is to be `whole`, when all of it is sent."""

    def __init__(self, server, clip, name: str = "", link: Link | None = None, whole: bool = False):
        self.server, self.clip, self.whole = server, clip, whole
        self.name = name or clip.codec
        self.peer = RtpPublisher(clip.codec, link)

    async def __aenter__(self) -> "Publisher":
        await self.peer.post(self.server.whip(self.name))
        self.sending = asyncio.create_task(self.peer.send([self.clip]))
        await self.server.wait_live(self.name)
        return self

    async def __aexit__(self, *_) -> None:
        if self.whole:
            await self.sending
            await self.peer.settled()
        self.sending.cancel()
        await asyncio.wait([self.sending])
        await self.peer.close()


async def run(*command: str, limit: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, errors = await asyncio.wait_for(process.communicate(), limit)
    except asyncio.TimeoutError:
        process.kill()
        raise AssertionError(f"{command[0]} did not end with the stream") from None
    assert process.returncode == 0, errors.decode(errors="replace")[-800:]
    return out.decode()


async def play_with_ffmpeg(url: str, path: Path, limit: float, transport: str = "tcp") -> Recorded:
    transport = "http" if url.startswith("rtsph") else transport
    url = url.replace("rtsph:", "rtsp:")
    # ffmpeg 5.1 does not see which pictures of VP9 in RTP are key frames: without copyinkf it copies none.
    await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", transport, "-i", url, "-c", "copy", "-copyinkf", str(path),
              limit=limit)
    return await asyncio.to_thread(read_back, path)


async def play_with_gstreamer(url: str, path: Path, limit: float) -> Recorded:
    said = await run(PYTHON, str(HERE / "gst_rtsp.py"), url, str(path), str(limit), limit=limit + 5)
    assert json.loads(said)["problem"] is None, said
    return await asyncio.to_thread(read_back, path)


async def play_with_pyav(url: str, path: Path, limit: float, transport: str = "tcp") -> Recorded:
    await run(sys.executable, str(HERE / "pyav_rtsp.py"), url, str(path), str(limit), transport, limit=limit + 5)
    return pickle.loads(path.read_bytes())


PLAYERS = {"ffmpeg": play_with_ffmpeg, "GStreamer": play_with_gstreamer, "PyAV": play_with_pyav}


def judge(facts: Recorded, seconds: int, shows_all: bool = True, hears: bool = True) -> str:
    """A key frame first, then every picture to the end, and the sound with them; what was measured.

    GStreamer places the pictures that it is given at once, when there is no key frame to be had, by their arrival until it
    has a report, and leaves out those that are before its clock's beginning: its first second and its first two beeps are not
    judged.
    """
    numbers = facts.numbers
    assert numbers, "no pictures"
    first, last = numbers[0], seconds * FRAME_RATE - 1
    assert first is not None and first <= JOINED_BY_SECONDS * FRAME_RATE, numbers[:5]
    assert first % KEY_INTERVAL == 0 or not shows_all, numbers[:5]
    # What GStreamer need not show.
    begin = first if shows_all else first + FRAME_RATE
    expected = list(range(begin, last + 1))
    numbers = [number for number in numbers if number is None or number >= begin]
    missing = sorted(set(expected) - set(numbers))
    assert numbers == expected, (f"{len(numbers)} of {len(expected)}", missing[:20], numbers[:3], numbers[-3:])
    if not hears:
        return f"from {first} on all"
    skews = facts.skews if shows_all else facts.skews[2:]
    assert len(skews) >= seconds - first / FRAME_RATE - 3.5, (len(skews), first)
    assert max(map(abs, skews)) <= SKEW_LIMIT, [round(skew * 1000, 1) for skew in skews]
    return f"from {first} on all, beep behind flash {min(skews) * 1000:+.1f} to {max(skews) * 1000:+.1f} ms"


@pytest.mark.limit(120)
async def test_programs_play_every_picture_in_sync(start_server, clips, full, tmp_path, record_property):
    seconds = FULL_SECONDS if full else SECONDS
    server = start_server(SETTINGS)
    cases = [
        ("VP8", "ffmpeg", "TCP"), ("VP9", "ffmpeg", "TLS"), ("H264", "ffmpeg", "HTTP"), ("H265", "ffmpeg", "TCP"),
        ("VP8", "GStreamer", "HTTP"), ("VP9", "GStreamer", "TCP"), ("H264", "GStreamer", "TLS"),
        ("H265", "GStreamer", "TCP"), ("AV1", "PyAV", "TCP"), ("H264", "PyAV", "TLS"),
    ]
    sent = {codec: clips(codec, seconds) for codec in {codec for codec, _, _ in cases}}

    async def play(case) -> tuple[str, Recorded]:
        codec, player, transport = case
        title = f"{codec} by {player} over {transport}"
        path = tmp_path / f"{title.replace(' ', '-')}.mkv"
        url = server.rtsp(codec, transport == "TLS")
        # The scheme of GStreamer for RTSP through HTTP.
        url = url.replace("rtsp:", "rtsph:") if transport == "HTTP" else url
        try:
            return title, await PLAYERS[player](url, path, seconds + LIMIT_SECONDS)
        except AssertionError as problem:
            raise AssertionError(f"{title}: {problem}") from None

    async def publish(codec: str) -> list[tuple[str, Recorded]]:
        async with Publisher(server, sent[codec], whole=True):
            playing = [asyncio.create_task(play(case)) for case in cases if case[0] == codec]
        return await asyncio.gather(*playing)

    played = [one for all_ in await asyncio.gather(*(publish(codec) for codec in sent)) for one in all_]
    for title, facts in played:
        try:
            measured = judge(facts, seconds, shows_all="GStreamer" not in title)
        except AssertionError as problem:
            raise AssertionError(f"{title}: {problem}") from None
        record_property(title, measured)
        print(f"{title}: {measured}")
    metrics = server.metrics()
    assert metrics["weir_rtsp_connections"] == 0 and metrics["weir_rtsp_requests_total"] >= 4 * len(cases)
    assert metrics["weir_rtsp_tunnels_total"] == 2


def is_key(codec: str, payload: bytes) -> bool:
    """Whether a picture that needs none before begins with this payload."""
    if codec == "VP8":
        head = 1 + (0 if not payload[0] & 0x80 else 1 + sum(
            (1 + (payload[2] >> 7)) if bit == 0x80 else 1 for bit in (0x80, 0x40) if payload[1] & bit)
            + (1 if payload[1] & 0x30 else 0))
        return payload[head] & 1 == 0
    kind = payload[0] & 0x1F
    return kind in (7, 5, 24) or kind == 28 and payload[1] & 0x1F == 5


async def test_the_first_picture_comes_soon_and_is_the_one_that_was_told(start_server, clips, record_property):
    server = start_server(SETTINGS)

    async def watch(codec: str, join_after: float) -> str:
        await asyncio.sleep(join_after)
        async with RtspClient(server.rtsp(codec)) as client:
            infos = await client.play()
            await client.until(lambda: any(packet.ends_picture for packet in client.of("video")))
            video = client.of("video")
            took = next(p.arrival for p in video if p.ends_picture) - client.asked
            assert took <= FIRST_PICTURE_SECONDS, took
            await client.until(lambda: len(client.of("audio")) > 10 and len(client.of("video")) > 10)
            for kind, info in zip((track.kind for track in client.tracks), infos):
                assert info.timestamp is not None, (kind, infos)
                if kind == "video":
                    first = video[0]
                    assert (info.number, info.timestamp) == (first.number, first.timestamp), (info, first)
                    assert is_key(codec, first.data[12:]), first.data[:24].hex()
                else:
                    # The RTP time that belongs to the first picture: sound of about then comes first.
                    away = (client.of("audio")[0].timestamp - info.timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
                    assert abs(away) <= 48_000, away
            # In every batch the connection's own order; and reports of both clocks come before the first packet.
            numbers = [packet.number for packet in client.of("video")]
            assert all((b - a) % 65_536 == 1 for a, b in zip(numbers, numbers[1:])), numbers
            reports = {p.channel for p in client.packets[:4] if p.channel % 2 and p.data[1] == 200}
            assert reports == {1, 3}, [(p.channel, p.data[1]) for p in client.packets[:6]]
            return f"{codec}, {join_after} s in: first picture {took * 1000:.0f} ms after PLAY"

    async with Publisher(server, clips("VP8", 6)), Publisher(server, clips("H264", 6)):
        joins = [(codec, wait) for codec in ("VP8", "H264") for wait in (0.6, 1.3, 2.1)]
        for line in await asyncio.gather(*(watch(*one) for one in joins)):
            record_property(line.split(":")[0], line)
            print(line)


async def test_the_description_has_the_parameter_sets_of_the_stream(start_server, clips):
    server = start_server(SETTINGS)
    async with Publisher(server, clips("H264", 6)), Publisher(server, clips("H265", 6)), \
            RtspClient(server.rtsp("H264")) as h264, RtspClient(server.rtsp("H265")) as h265:
        for client, names in ((h264, ["sprop-parameter-sets="]), (h265, ["sprop-vps=", "sprop-sps=", "sprop-pps="])):
            answer = await client.describe()
            video = next(track for track in client.tracks if track.kind == "video")
            assert all(name in video.parameters for name in names), answer.body
            assert {track.codec.lower() for track in client.tracks} >= {"opus"}, answer.body
            # A second client need not wait for them.
            async with RtspClient(client.url) as other:
                began = time.monotonic()
                assert (await other.describe()).body == answer.body and time.monotonic() - began < 1


async def test_losses_of_the_publisher_are_mended_before_players_see_them(start_server, clips, tmp_path):
    """Nor do those see them who ask for AAC, by TCP and by UDP: they share one transcode."""
    server = start_server(SETTINGS)
    publisher = Publisher(server, clips("VP8", SECONDS), link=Link(loss=LOSS), whole=True)
    cases = [("opus", "", "tcp"), ("aac", "?audio=aac", "tcp"), ("aac", "?audio=aac", "udp")]
    async with publisher:
        playing = [
            asyncio.create_task(play_with_ffmpeg(
                server.rtsp("VP8") + query, tmp_path / f"{sound}-{transport}.mkv", SECONDS + LIMIT_SECONDS, transport))
            for sound, query, transport in cases]
    assert publisher.peer.link.lost > 0.5 * LOSS * publisher.peer.link.passed
    for (sound, _, transport), facts in zip(cases, await asyncio.gather(*playing)):
        assert facts.codecs == {"video": "vp8", "audio": sound}
        print(f"{sound} by {transport}: {judge(facts, SECONDS)}")
    assert server.log_path.read_text().count("transcoding for players begins") == 1
    assert server.metrics()["weir_rtsp_transcodes"] == 0


async def test_a_slow_reader_loses_pictures_and_nobody_else_does(start_server, clips):
    server = start_server({**SETTINGS, "rtsp": {"max_queue": "64KiB"}})
    clip = clips("VP8", 6, bit_rate="6M")
    async with Publisher(server, clip), RtspClient(server.rtsp("VP8"), receive_buffer=4096) as slow, \
            RtspClient(server.rtsp("VP8")) as quick:
        await asyncio.gather(slow.play(), quick.play())
        slow.may_read.clear()
        async with asyncio.timeout(LIMIT_SECONDS):
            while server.metrics()["weir_rtsp_batches_dropped_total"] == 0:
                await asyncio.sleep(0.05)
        before = len(slow.packets)
        slow.may_read.set()
        await slow.until(lambda: len(slow.packets) > before and any(
            (b.number - a.number) % 65_536 > 1 for a, b in zip(slow.of("video"), slow.of("video")[1:])))
        pairs = zip(slow.of("video"), slow.of("video")[1:])
        behind = next(b for a, b in pairs if (b.number - a.number) % 65_536 > 1)
        assert is_key("VP8", behind.data[12:]), "pictures go on with one that needs others"
        numbers = [packet.number for packet in quick.of("video")]
        assert all((b - a) % 65_536 == 1 for a, b in zip(numbers, numbers[1:]))


async def test_players_are_counted_and_end_with_the_stream(start_server, clips):
    server = start_server({**SETTINGS, "limits": {"players_per_stream": 2}})
    async with Publisher(server, clips("VP8", 6)), RtspClient(server.rtsp("VP8")) as one, \
            RtspClient(server.rtsp("VP8")) as two, RtspClient(server.rtsp("VP8")) as third:
        await asyncio.gather(one.play(), two.play())
        await third.describe()
        await third.set_up()
        refused = await third.ask("PLAY")
        assert refused.status == 503 and "players of this stream" in refused.reason, refused

        async def counts() -> tuple[int, int]:
            streams = json.loads((await get(server, "/api/streams"))[2])
            return streams[0]["rtspPlayers"], streams[0]["players"]
        assert await counts() == (2, 0)
        statistics = (await get(server, "/?action=stat"))[2]
        assert "connections_rtsp=2\n" in statistics and "streams_rtsp_out=2\n" in statistics, statistics
        assert "streams_viewers=VP8/2\n" in statistics
        # A pause gives the place back, and PLAY takes one again.
        assert (await one.ask("PAUSE")).status == 200
        assert await counts() == (1, 0)
        assert (await third.ask("PLAY")).status == 200
        assert (await one.ask("PLAY")).status == 503
        assert (await third.ask("TEARDOWN")).status == 200
        assert (await one.ask("PLAY")).status == 200 and await counts() == (2, 0)
        # Who comes while the server is emptied is sent away, who is there goes on.
        await done(server, "drain")
        async with RtspClient(server.rtsp("VP8")) as late:
            assert (await late.describe()).status == 503
        assert (await one.ask("GET_PARAMETER")).status == 200
        await done(server, "resume")
    # The publisher has gone.
    async with Publisher(server, clips("VP8", 6), name="ended"), RtspClient(server.rtsp("ended")) as player:
        await player.play()
        await done(server, "stream/terminate", {"name": "ended"})
        await player.closed()
        byes = [p for p in player.packets if p.channel % 2 and b"\xcb" in p.data]
        assert byes, "no BYE"
    # Under the same name again.
    async with Publisher(server, clips("H264", 6), name="ended"), RtspClient(server.rtsp("ended")) as player:
        await player.play()
        await player.until(lambda: len(player.of("video")) > 20)
        assert next(track.codec for track in player.tracks if track.kind == "video") == "H264"
