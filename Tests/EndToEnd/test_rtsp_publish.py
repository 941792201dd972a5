"""RTSP publishers (ANNOUNCE, RECORD): ffmpeg, GStreamer and a client by hand publish; Chromium, HLS and RTSP players play, a recording is
made; who may not, and what becomes of streams whose publisher goes.

Pictures carry numbers (numbered_clip.py), so that a missing one is Weir's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from aiohttp import web

from clips import make_clip
from gstreamer import PYTHON
from hook_backend import HookBackend, decides
from numbered_clip import FRAME_RATE
from offers import make_offer
from recorded_media import read_back
from rest_api import done
from rtsp_client import RtspClient
from tokens import SECRET, hs256

HERE = Path(__file__).resolve().parent
SECONDS, FULL_SECONDS = 9, 30
LIMIT_SECONDS = 25.0
SKEW_LIMIT = 0.030
LEAST_ENERGY = 1e-4
# A player that is there from the beginning may still have missed so much of it.
JOINED_BY_SECONDS = 4
SETTINGS = {"media": {"overload_delay": "1m"}}
VIDEO = {
    "H264": "libx264 -preset veryfast -bf 0",
    "H264 with B frames": "libx264 -preset veryfast -bf 3",
    "H265": "libx265 -preset ultrafast -x265-params log-level=none:bframes=0",
    "VP8": "libvpx -deadline realtime -cpu-used 8 -lag-in-frames 0 -auto-alt-ref 0",
}
AUDIO = {
    "AAC": "aac -ar 48000 -ac 2 -b:a 96k", "Opus": "libopus -ac 2", "PCMU": "pcm_mulaw -ar 8000 -ac 1",
    "PCMA": "pcm_alaw -ar 8000 -ac 1",
}


class Publisher:
    """A program that publishes, while this is entered."""

    def __init__(self, server, name: str, command: list[str]):
        self.server, self.name, self.command = server, name, command

    async def __aenter__(self) -> "Publisher":
        self.process = await asyncio.create_subprocess_exec(*self.command, stderr=asyncio.subprocess.PIPE)
        return self

    async def live(self) -> "Publisher":
        waiting = asyncio.create_task(self.server.wait_live(self.name, LIMIT_SECONDS))
        ended = asyncio.create_task(self.process.wait())
        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not waiting.done():
            waiting.cancel()
            raise AssertionError(f"{self.command[0]}: {(await self.process.stderr.read()).decode(errors='replace')[-800:]}")
        await waiting
        return self

    async def __aexit__(self, *_) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Ffmpeg(Publisher):
    """Publishes a file, again and again if it `loops`, at the pace at which it is shown."""

    def __init__(self, server, name: str, source: Path, transport: str = "tcp", loops: bool = False):
        loop = ["-stream_loop", "-1"] if loops else []
        super().__init__(server, name, [
            "ffmpeg", "-v", "error", "-re", *loop, "-i", str(source), "-c", "copy", "-f", "rtsp", "-rtsp_transport",
            transport, server.rtsp(name)])


def listed(server) -> dict[str, dict]:
    with urllib.request.urlopen(f"{server.http_url}/api/streams", timeout=5) as response:
        return {stream["name"]: stream for stream in json.load(response)}


async def until(fits, what, limit: float = LIMIT_SECONDS):
    """Waits until `fits()` gives something; that."""
    end = time.monotonic() + limit
    while not (found := fits()):
        assert time.monotonic() < end, what()
        await asyncio.sleep(0.05)
    return found


async def run(*command: str, limit: float = LIMIT_SECONDS) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        _, errors = await asyncio.wait_for(process.communicate(), limit)
    except asyncio.TimeoutError:
        process.kill()
        raise AssertionError(f"{command[0]} did not end") from None
    assert process.returncode == 0, errors.decode(errors="replace")[-800:]


def whep(server, name: str) -> tuple[int, str]:
    """What a WHEP player with the codecs of browsers is answered."""
    request = urllib.request.Request(
        server.whep(name), make_offer(False, video=("VP8", "H264")).encode(), {"Content-Type": "application/sdp"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def encoded(clips, tmp_path_factory):
    """Numbered clips in what publishers send: `encoded("H264 with B frames", "AAC", 9)`."""
    folder = tmp_path_factory.mktemp("published")

    def make(video: str, audio: str, seconds: int) -> Path:
        path = folder / f"{video}-{audio}-{seconds}.mkv".replace(" ", "-")
        if not path.exists():
            source = clips("H264", seconds).path
            finished = subprocess.run(
                f"ffmpeg -v error -y -i {source} -c:v {VIDEO[video]} -g {FRAME_RATE} -b:v 600k -c:a {AUDIO[audio]} {path}"
                .split(), capture_output=True, timeout=120)
            assert finished.returncode == 0, finished.stderr.decode(errors="replace")[-800:]
        return path

    return make


@pytest.fixture(scope="module")
def stepped(tmp_path_factory) -> Path:
    """A file to be published again and again, with a tone."""
    return make_clip(tmp_path_factory.mktemp("stepped") / "clip.mkv", "H264", "aac", 10.0)


def judge(path: Path, seconds: int, title: str) -> str:
    """Every picture from the first on, and the beeps with the flashes."""
    facts = read_back(path)
    numbers = facts.numbers
    assert numbers and numbers[0] is not None, (title, numbers[:5])
    assert numbers[0] <= JOINED_BY_SECONDS * FRAME_RATE, (title, numbers[:5])
    expected = list(range(numbers[0], seconds * FRAME_RATE))
    # The last pictures of a stream whose publisher leaves may still be in a decoder.
    assert numbers == expected[:len(numbers)] and len(expected) - len(numbers) <= 3, (
        title, len(numbers), len(expected), sorted(set(expected) - set(numbers))[:20])
    skews = facts.skews
    assert len(skews) >= 3 and max(map(abs, skews)) <= SKEW_LIMIT, (title, [round(s * 1000, 1) for s in skews])
    return f"{title}: from {numbers[0]} on all, beep behind flash {min(skews) * 1000:+.1f} to {max(skews) * 1000:+.1f} ms"


@pytest.mark.limit(120)
async def test_every_picture_comes_to_rtsp_players_and_recordings(start_server, encoded, full, tmp_path, record_property):
    seconds = FULL_SECONDS if full else SECONDS
    records = tmp_path / "records"
    server = start_server({
        **SETTINGS, "recording": {"all": True, "template": "{streamName}", "folder": str(records), "free_space": 0}})
    cases = [
        ("H264", "AAC", "tcp"), ("H264 with B frames", "AAC", "tcp"), ("H265", "AAC", "tcp"), ("VP8", "Opus", "tcp"),
        ("H264", "PCMU", "tcp"), ("H264", "PCMA", "tcp"),
    ]
    sources = {case: await asyncio.to_thread(encoded, case[0], case[1], seconds) for case in cases}

    async def one(case) -> list[tuple[str, Path]]:
        video, audio, transport = case
        name = f"{video}-{audio}".replace(" ", "-")
        played = tmp_path / f"{name}.mkv"
        async with Ffmpeg(server, name, sources[case], transport=transport) as publisher:
            await publisher.live()
            # ffmpeg cannot copy pictures out of order from RTSP: it does not know when they are decoded.
            coding = ["-c:v", "ffv1", "-fps_mode", "passthrough"] if "B frames" in video else ["-c:v", "copy"]
            await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", "tcp", "-i", server.rtsp(name), *coding, "-c:a",
                      "copy", str(played), limit=seconds + LIMIT_SECONDS)
            await asyncio.wait_for(publisher.process.wait(), LIMIT_SECONDS)
        suffix = "webm" if video == "VP8" else "mp4"
        recorded = records / f"{name}.{suffix}"
        await until(recorded.exists, lambda: ([path.name for path in records.iterdir()], server.log_tail()))
        title = f"{video} and {audio} over {transport}"
        return [(title, played), (f"recording of {title}", recorded)]

    results = [each for all_ in await asyncio.gather(*map(one, cases)) for each in all_]
    for title, path in results:
        measured = await asyncio.to_thread(judge, path, seconds, title)
        record_property(title, measured)
        print(measured)
    assert not listed(server)


async def check_sound(page, key: str) -> None:
    before = (await page.wait_audio(key))["audio"]

    async def heard() -> bool:
        after = (await page.call("stats", key))["audio"]
        return after["energy"] - before["energy"] > LEAST_ENERGY

    end = time.monotonic() + LIMIT_SECONDS
    while not await heard():
        assert time.monotonic() < end, before
        await asyncio.sleep(0.2)


@pytest.mark.limit(120)
async def test_chromium_plays_it_with_sound(start_server, encoded, stepped, new_page, tmp_path):
    server = start_server(SETTINGS)
    b_frames = await asyncio.to_thread(encoded, "H264 with B frames", "AAC", SECONDS)
    vp8 = await asyncio.to_thread(encoded, "VP8", "Opus", SECONDS)
    pcmu = await asyncio.to_thread(encoded, "H264", "PCMU", SECONDS)
    async with contextlib.AsyncExitStack() as publishers:
        for name, source in {"aac": stepped, "b": b_frames, "vp8": vp8, "pcmu": pcmu}.items():
            publisher = Ffmpeg(server, name, source, loops=True)
            await publishers.enter_async_context(publisher)
            await publisher.live()
        streams = listed(server)
        assert all(stream["kind"] == "rtsp" for stream in streams.values()), streams
        assert {name: stream["reordered"] for name, stream in streams.items()} == {
            "aac": False, "b": True, "vp8": False, "pcmu": False}, streams
        assert streams["b"]["videoCodec"] == "H264" and streams["b"]["audioCodec"] == "MPEG4-GENERIC", streams
        assert "B frames" in server.log_tail(200)
        pages = {}
        for name, video, audio in (
                ("aac", "H264", "opus"), ("b", "H264", "opus"), ("vp8", "VP8", "opus"), ("pcmu", "H264", "PCMU")):
            page = pages[name] = await new_page()
            await page.call("whepPlay", "play", server.whep(name), {})
            await page.wait_frames("play", 30, LIMIT_SECONDS)
            await check_sound(page, "play")
            facts = await page.call("stats", "play")
            assert facts["video"]["codec"] == f"video/{video}" and facts["audio"]["codec"] == f"audio/{audio}", facts
        # A second player shares the transcode.
        second = await new_page()
        await second.call("whepPlay", "play", server.whep("b"), {})
        await second.wait_frames("play", 30, LIMIT_SECONDS)
        metrics = server.metrics()
        assert metrics['weir_webrtc_transcodes{kind="pictures"}'] == 1, metrics
        assert metrics['weir_webrtc_transcodes{kind="sound"}'] == 2, metrics
        # HLS takes the pictures as they are.
        await run("ffmpeg", "-v", "error", "-y", "-i", f"{server.hls_url}/b/b.m3u8", "-t", "2", "-c", "copy",
                  str(tmp_path / "b.mp4"), limit=2 * LIMIT_SECONDS)
        for page in [*pages.values(), second]:
            await page.call("stop", "play")
    await until(lambda: not listed(server), lambda: listed(server))
    await until(lambda: not server.metrics()['weir_webrtc_transcodes{kind="sound"}'], server.metrics)


@pytest.mark.limit(90)
async def test_gstreamer_publishes(start_server, new_page, tmp_path):
    server = start_server(SETTINGS)
    async with contextlib.AsyncExitStack() as publishers:
        for video in ("H264", "VP8"):
            command = [PYTHON, str(HERE / "gst_rtsp_publish.py"), server.rtsp(video), "tcp", video]
            await (await publishers.enter_async_context(Publisher(server, video, command))).live()
        for video in ("H264", "VP8"):
            path = tmp_path / f"{video}.mkv"
            await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", "tcp", "-i", server.rtsp(video), "-t", "2", "-c",
                      "copy", str(path))
            page = await new_page()
            await page.call("whepPlay", "play", server.whep(video), {})
            await page.wait_frames("play", 30, LIMIT_SECONDS)
            await check_sound(page, "play")
            await page.call("stop", "play")
        assert not any(stream["reordered"] for stream in listed(server).values())


@pytest.mark.limit(60)
async def test_without_transcodes_webrtc_players_are_told(start_server, encoded, tmp_path):
    server = start_server({**SETTINGS, "rtsp": {"transcodings": 0}})
    source = await asyncio.to_thread(encoded, "H264 with B frames", "AAC", SECONDS)
    async with Ffmpeg(server, "b", source, loops=True) as publisher:
        await publisher.live()
        status, text = await asyncio.to_thread(whep, server, "b")
        assert status == 406 and "Transcoding required, but disabled" in text, (status, text)
        # RTSP plays it as it is.
        await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", "tcp", "-i", server.rtsp("b"), "-t", "1", "-c:v",
                  "ffv1", str(tmp_path / "b.mkv"))


@pytest.mark.limit(60)
async def test_a_name_belongs_to_one_publisher_and_is_free_when_that_is_killed(start_server, stepped):
    server = start_server(SETTINGS)
    async with Ffmpeg(server, "live", stepped, loops=True) as publisher:
        await publisher.live()
        async with RtspClient(server.rtsp("live")) as second:
            answer = await announce(second)
            assert (answer.status, answer.reason) == (403, "Stream name is already in use"), answer
            await second.closed()
        async with RtspClient(server.rtsp("live")) as player:
            await player.play()
            await player.until(lambda: len(player.of("video")) > 3)
            publisher.process.kill()
            await player.closed()
    await until(lambda: not listed(server), lambda: listed(server))
    async with Ffmpeg(server, "live", stepped) as again:
        await again.live()


@pytest.mark.limit(60)
async def test_the_operator_ends_a_stream_and_the_publisher_is_cut_off(start_server, stepped):
    server = start_server(SETTINGS)
    async with Ffmpeg(server, "live", stepped, loops=True) as publisher:
        await publisher.live()
        await done(server, "stream/terminate", {"name": "live"})
        await asyncio.wait_for(publisher.process.wait(), LIMIT_SECONDS)
        assert not listed(server)


@pytest.mark.limit(60)
async def test_backend_and_tokens_decide_who_publishes(start_server, stepped):
    async def decide(hook, _) -> web.Response:
        return web.Response(status=403 if hook.body["name"] == "bad" else 200)

    async with HookBackend({"connect": decides(), "publishStream": decide}) as backend:
        server = start_server({**SETTINGS, **backend.application()})
        async with RtspClient(server.rtsp("bad")) as client:
            assert (await announce(client)).status == 403
            await client.closed()
        async with Ffmpeg(server, "good", stepped, loops=True) as publisher:
            await publisher.live()
        hooks = backend.of("publishStream")
        assert [hook.body["name"] for hook in hooks] == ["bad", "good"], hooks
        assert all(hook.body["mediaProvider"] == "RTSP" for hook in hooks), hooks
        await until(
            lambda: any(hook.body["name"] == "good" and hook.body["status"] in ("UNPUBLISHED", "FAILED")
                        for hook in backend.of("StreamStatusEvent")),
            lambda: [hook.body for hook in backend.of("StreamStatusEvent")])
    server = start_server({**SETTINGS, "tokens": {"hs256_secrets": [SECRET]}})
    for query, status in (("", 401), (f"?token={hs256({'publish': ['other']})}", 403),
                          (f"?token={hs256({'publish': ['live']})}", 200)):
        async with RtspClient(server.rtsp("live") + query) as client:
            assert (await announce(client)).status == status, query


@pytest.mark.limit(60)
async def test_announced_and_never_recorded_is_not_live_and_ends_with_its_connection(start_server):
    server = start_server(SETTINGS)
    async with RtspClient(server.rtsp("idle")) as client:
        assert (await announce(client)).status == 200
        streams = listed(server)
        assert not streams.get("idle", {}).get("isLive"), streams
        assert (await announce(client)).status == 455
        assert (await client.ask("RECORD")).status in (454, 455)
    await until(lambda: "idle" not in listed(server), lambda: listed(server))


DESCRIPTION = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:streamid=0\r\n")


async def announce(client: RtspClient):
    client.sequence += 1
    lines = [
        f"ANNOUNCE {client.url} RTSP/1.0", f"CSeq: {client.sequence}", "Content-Type: application/sdp",
        f"Content-Length: {len(DESCRIPTION)}"]
    client.writer.write(("\r\n".join(lines) + "\r\n\r\n" + DESCRIPTION).encode())
    await client.writer.drain()
    answer = await asyncio.wait_for(client.answers.get(), LIMIT_SECONDS)
    assert answer is not None, "closed instead of an answer"
    return answer
