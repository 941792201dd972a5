"""HLS of published streams: each codec by ffprobe, by a protocol-level client with the playlist checker, by Chromium."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

import hls_playlist
from aiortc_peer import AiortcPeer
from hls_client import HLSClient
from media_file import decodes, probe, times
from rest_api import done
from weir_server import WeirServer

FOLLOW_SECONDS = 4.0
PROBE_LIMIT_SECONDS = 30
# Published codec: codec in the file, beginning of CODECS.
CODECS = {"H264": ("h264", "avc1."), "VP8": ("h264", "avc1."), "VP9": ("vp9", "vp09."), "AV1": ("av1", "av01.")}

NATIVE = """async url => {
    const video = document.createElement("video");
    video.muted = true;
    video.src = url;
    document.body.append(video);
    const failed = new Promise((_, reject) => video.addEventListener(
        "error", () => reject(new Error(`${video.error.code} ${video.error.message}`)), { once: true }));
    const until = async (what, holds) => {
        const end = performance.now() + 20000;
        while (!holds()) {
            if (performance.now() > end) throw new Error(`no ${what}: ${video.readyState} ${video.currentTime}`);
            await new Promise(resolve => setTimeout(resolve, 50));
        }
    };
    const played = async () => {
        await video.play();
        const from = video.currentTime;
        await until("progress", () => video.currentTime > from + 2);
        const quality = video.getVideoPlaybackQuality();
        return { width: video.videoWidth, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
                 time: video.currentTime, audio: video.webkitAudioDecodedByteCount };
    };
    const facts = await Promise.race([failed, played()]);
    video.remove();
    return facts;
}"""


def url(server: WeirServer, name: str, query: str = "") -> str:
    return f"{server.hls_url}/{name}/{name}.m3u8{query}"


async def ffprobe(address: str) -> dict:
    """The streams by kind, as ffmpeg's HLS demuxer sees them."""
    process = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "error", "-show_streams", "-of", "json", address,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    try:
        out, complaints = await asyncio.wait_for(process.communicate(), PROBE_LIMIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, complaints.decode(errors="replace")[-800:]
    return {stream["codec_type"]: stream for stream in json.loads(out)["streams"]}


@pytest.mark.parametrize("codec", list(CODECS))
async def test_every_codec_is_served(server, new_page, name, codec, tmp_path, record_property):
    page = await new_page()
    await page.wcs_publish(server, name, codec, {"width": 320, "height": 240})
    file_codec, name_of_codec = CODECS[codec]
    async with aiohttp.ClientSession() as session:
        began = asyncio.get_running_loop().time()
        client = await HLSClient(session, url(server, name)).open()
        record_property("first", f"{codec}: first playlist after {asyncio.get_running_loop().time() - began:.2f} s")
        attributes = client.attributes
        assert attributes["CODECS"].strip('"').startswith(name_of_codec) and "opus" in attributes["CODECS"].lower()
        assert int(attributes["BANDWIDTH"]) > 10_000 and float(attributes["FRAME-RATE"]) > 3
        followed, streams = await asyncio.gather(client.follow(FOLLOW_SECONDS), ffprobe(url(server, name)))
    assert streams["video"]["codec_name"] == file_codec and streams["audio"]["codec_name"] == "opus"
    width, height = map(int, attributes["RESOLUTION"].split("x"))
    assert width * 3 == height * 4 and streams["video"]["width"] * 3 == streams["video"]["height"] * 4
    # Parts came one by one, and what they add up to plays.
    assert len(followed.playlists) > FOLLOW_SECONDS * 2 and followed.parts > 8 and followed.deltas >= 1
    assert len(followed.segments) >= 4
    if len(set(followed.map_of.values())) == 1:
        facts = probe(followed.write(tmp_path / "all.mp4"))
        shown, heard = times(facts["packets"]["video"]), times(facts["packets"]["audio"])
        assert shown == sorted(set(shown)) and heard == sorted(set(heard))
        assert all(b - a < 0.045 for a, b in zip(heard, heard[1:])), "sound has holes"
        total = sum(row.duration for row in followed.last.segments if row.number in followed.segments)
        assert abs(heard[-1] - heard[0] - total) < 2.5, (heard[0], heard[-1], total)
        decodes(tmp_path / "all.mp4")
    viewer = await new_page()
    played = await viewer.page.evaluate(NATIVE, url(server, name))
    assert played["width"] > 0 and played["frames"] > 5 and played["audio"] > 0, played


async def follow(server: WeirServer, name: str, seconds: float = FOLLOW_SECONDS, index: int = 0):
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        return client, await client.follow(seconds, index)


async def test_transport_streams(start_server, new_page, name, tmp_path):
    """VP9 and Opus are made into H264 and AAC for a stream that is to be MPEG-TS."""
    server = start_server({"hls": {"transport_streams": [f"{name}*"]}})
    page = await new_page()
    await page.wcs_publish(server, name, "VP9", {"width": 320, "height": 240})
    client, followed = await follow(server, name)
    assert client.attributes["CODECS"].startswith('"avc1.') and "mp4a.40.2" in client.attributes["CODECS"]
    assert all(row.uri.endswith(".ts") for row in followed.last.segments)
    assert not followed.maps
    facts = probe(followed.write(tmp_path / "all.ts"))
    assert facts["streams"]["video"]["codec_name"] == "h264" and facts["streams"]["audio"]["codec_name"] == "aac"
    shown, heard = times(facts["packets"]["video"]), times(facts["packets"]["audio"])
    assert shown == sorted(set(shown)) and heard == sorted(set(heard))
    assert all(b - a < 0.045 for a, b in zip(heard, heard[1:])), "sound has holes"
    decodes(tmp_path / "all.ts")
    viewer = await new_page()
    played = await viewer.page.evaluate(NATIVE, url(server, name))
    assert played["width"] > 0 and played["frames"] > 5 and played["audio"] > 0, played


async def test_sound_in_two_codecs(start_server, new_page, name, tmp_path):
    server = start_server({"hls": {"audio": "both"}})
    page = await new_page()
    await page.wcs_publish(server, name, "H264", {"width": 320, "height": 240})
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        assert [row["NAME"] for row in client.renditions] == ['"audio-opus"', '"audio-aac"']
        assert "opus" in client.attributes["CODECS"] and "mp4a.40.2" in client.attributes["CODECS"]
        for row, codec in zip(client.renditions, ("opus", "aac")):
            client.variants.append(({}, row["URI"].strip('"')))
            followed = await client.follow(2, index=len(client.variants) - 1)
            facts = probe(followed.write(tmp_path / f"{codec}.mp4"))
            assert set(facts["streams"]) == {"audio"} and facts["streams"]["audio"]["codec_name"] == codec
            decodes(tmp_path / f"{codec}.mp4")
            hls_playlist.presentation([(await client.playlist(client.uri(index)))[1] for index in range(2)])
    viewer = await new_page()
    played = await viewer.page.evaluate(NATIVE, url(server, name))
    assert played["width"] > 0 and played["audio"] > 0, played


async def test_too_many_transcodes_are_refused_with_the_reason(start_server, new_page, name):
    server = start_server({"hls": {"max_transcodes": 1}})
    page = await new_page()
    for key in ("a", "b"):
        await page.wcs_publish(server, f"{name}-{key}", "VP8", {"width": 320, "height": 240}, key=key)
    async with aiohttp.ClientSession() as session:
        await HLSClient(session, url(server, f"{name}-a")).open()
        async with session.get(url(server, f"{name}-b")) as got:
            assert got.status == 503 and "hls.max_transcodes" in await got.text() and got.headers["Retry-After"]
        assert server.metrics()['weir_hls_transcodes{kind="video"}'] == 1
        # Its place is free when it has ended.
        await done(server, "hls/terminate", {"name": f"{name}-a"})
        async with asyncio.timeout(10):
            while server.metrics()['weir_hls_transcodes{kind="video"}']:
                await asyncio.sleep(0.05)
        await HLSClient(session, url(server, f"{name}-b")).open()


async def test_a_publisher_that_stays_away_ends_the_playlist(start_server, name):
    server = start_server({"hls": {"publisher_patience": "1s"}})
    peer = AiortcPeer()
    peer.send("H264")
    await peer.post(server.whip(name))
    await server.wait_live(name)
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        following = asyncio.create_task(client.follow(20))
        await asyncio.sleep(2)
        await peer.close()
        followed = await following
        assert followed.last.ended and not followed.last.hint
        # What is in the window can still be watched, as a recording.
        streams = await ffprobe(url(server, name))
        assert streams["video"]["codec_name"] == "h264"
