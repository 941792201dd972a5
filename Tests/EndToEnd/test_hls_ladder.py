"""Lower renditions of HLS: made when somebody asks, in step with the original, gone when nobody does."""

from __future__ import annotations

import asyncio
from urllib.parse import urljoin

import aiohttp
import pytest

import hls_playlist
from aiortc_peer import HEIGHT, WIDTH, AiortcPeer
from hls_client import HLSClient
from media_file import decodes, probe, times
from rest_api import found
from rtp_publisher import RtpPublisher
from test_hls import NATIVE, ffprobe, url
from weir_server import WeirServer

FOLLOW_SECONDS = 5.0
IDLE_SECONDS = 10
SIZES = {"main": (WIDTH, HEIGHT), "180p": (240, 180), "120p10": (160, 120)}
LADDER = {"profiles": ["120p10", "180p:300k", "audio"], "idle_timeout": f"{IDLE_SECONDS}s"}


def renditions(server: WeirServer) -> float:
    return server.metrics()["weir_hls_renditions"]


def name_of(uri: str) -> str:
    return uri.split("/")[0]


async def publish(server: WeirServer, name: str, codec: str = "H264") -> AiortcPeer:
    peer = AiortcPeer()
    peer.send(codec)
    await peer.post(server.whip(name))
    await server.wait_live(name)
    return peer


def check_listed(client: HLSClient) -> None:
    assert [name_of(uri) for _, uri in client.variants] == ["main", "180p", "120p10", "audio-opus"]
    sizes = {name_of(uri): row.get("RESOLUTION") for row, uri in client.variants}
    assert sizes == {**{name: f"{w}x{h}" for name, (w, h) in SIZES.items()}, "audio-opus": None}
    assert all("avc1." in row["CODECS"] and "opus" in row["CODECS"] for row, _ in client.variants[:3])
    assert client.variants[3][0]["CODECS"] == '"opus"'
    assert all(row["AUDIO"] == '"audio"' for row, _ in client.variants)
    assert float(client.variants[2][0]["FRAME-RATE"]) == 10


@pytest.mark.limit(120)
async def test_ladder(start_server, name, tmp_path, new_page, record_property):
    server = start_server({"hls": LADDER})
    peer = await publish(server, name)
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        check_listed(client)
        assert renditions(server) == 0 and server.metrics()['weir_hls_transcodes{kind="video"}'] == 0
        began = asyncio.get_running_loop().time()
        await client.playlist(client.uri(1))
        record_property("first", f"first playlist of 180p after {asyncio.get_running_loop().time() - began:.2f} s")
        assert renditions(server) == 1
        all_of = await asyncio.gather(*(client.follow(FOLLOW_SECONDS, index) for index in range(4)))
        assert renditions(server) == 2
        hls_playlist.presentation([(await client.playlist(client.uri(index)))[1] for index in range(4)])
        reports = all_of[0].last.reports
        assert set(reports) == {f"../{part}/live.m3u8" for part in ("180p", "120p10", "audio-opus")}
        profiles = {row["name"]: row for row in await found(server, "hls/profiles", {
            "hlsId": (await found(server, "hls/find_all", {}))[0]["id"]})}
        assert {part: profiles[part]["status"] for part in profiles} == dict.fromkeys([*SIZES, "audio-opus"], "ACTIVE")
        shown = {}
        for (row, uri), followed in zip(client.variants, all_of):
            part = name_of(uri)
            assert not any(segment.gap for segment in followed.last.segments)
            file = followed.write(tmp_path / f"{part}.mp4")
            facts = probe(file)
            decodes(file)
            if part == "audio-opus":
                assert set(facts["streams"]) == {"audio"} and facts["streams"]["audio"]["codec_name"] == "opus"
                continue
            picture = facts["streams"]["video"]
            assert set(facts["streams"]) == {"video"} and picture["codec_name"] == "h264"
            assert (picture["width"], picture["height"]) == SIZES[part]
            shown[part] = times(facts["packets"]["video"])
            by_network = await ffprobe(client.uri(list(SIZES).index(part)))
            assert (by_network["video"]["width"], by_network["video"]["height"]) == SIZES[part]
        # Each picture has the time of one of the original, and each segment begins with one.
        for part in ("180p", "120p10"):
            common = [t for t in shown[part] if t >= shown["main"][0] - 0.001]
            assert all(min(abs(t - other) for other in shown["main"]) < 0.002 for t in common if t <= shown["main"][-1])
        rate = (len(shown["120p10"]) - 1) / (shown["120p10"][-1] - shown["120p10"][0])
        assert 9 < rate < 14, rate
        assert abs(len(shown["180p"]) / (shown["180p"][-1] - shown["180p"][0]) - 30) < 4
        viewer = await new_page()
        played = await viewer.page.evaluate(NATIVE, url(server, name))
        assert played["width"] > 0 and played["frames"] > 5 and played["audio"] > 0, played
        # The original goes on; nobody asks for the others.
        await viewer.page.close()
        async with asyncio.timeout(IDLE_SECONDS * 3):
            while renditions(server):
                await client.follow(1, media=False)
        assert server.metrics()["weir_hls_streams"] == 1
        _, original = await client.playlist(client.uri())
        assert not any("180p" in uri for uri in original.reports)
        # And once more.
        followed = await client.follow(2, 1)
        assert followed.segments and renditions(server) == 1
    await peer.close()


@pytest.mark.limit(90)
async def test_places_are_bounded(start_server, name):
    server = start_server({"hls": {**LADDER, "max_transcodes": 1}})
    peer = await publish(server, name)
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        check_listed(client)
        await client.playlist(client.uri(1))
        # Its parts come, and the other one has no place.
        other = await HLSClient(session, url(server, name)).open()
        assert [name_of(uri) for _, uri in other.variants] == ["main", "180p", "audio-opus"]
        async with session.get(client.uri(2)) as got:
            assert got.status == 503 and "hls.max_transcodes" in await got.text() and got.headers["Retry-After"]
        missing = urljoin(client.uri(2), "../720p/live.m3u8")
        async with session.get(missing) as got:
            assert got.status == 404
    await peer.close()


@pytest.mark.limit(90)
@pytest.mark.parametrize("codec", ["VP8", "AV1"])
async def test_pictures_of_other_codecs(start_server, new_page, name, tmp_path, codec):
    """From Chromium, which changes the size of its picture as it likes: what is made is never larger."""
    server = start_server({"hls": {"profiles": ["120p"]}})
    page = await new_page()
    await page.wcs_publish(server, name, codec, {"width": 320, "height": 240})
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        assert [name_of(uri) for _, uri in client.variants] == ["main", "120p"]
        followed = await client.follow(FOLLOW_SECONDS, 1)
        assert len(followed.segments) >= 3
        if len(set(followed.map_of.values())) == 1:
            file = followed.write(tmp_path / "all.mp4")
            picture = probe(file)["streams"]["video"]
            assert picture["codec_name"] == "h264" and picture["height"] <= 120
            decodes(file)


@pytest.mark.limit(90)
async def test_pictures_that_no_browser_sends(start_server, clips, name, tmp_path):
    server = start_server({"media": {"overload_delay": "1m"}, "hls": {"profiles": ["120p"]}})
    clip, publisher = clips("H265", 6), RtpPublisher("H265")
    await publisher.post(server.whip(name))
    sending = asyncio.create_task(publisher.send([clip] * 10))
    try:
        async with aiohttp.ClientSession() as session:
            client = await HLSClient(session, url(server, name)).open()
            assert [name_of(uri) for _, uri in client.variants[:2]] == ["main", "120p"]
            followed = await client.follow(FOLLOW_SECONDS, 1)
            assert not any(segment.gap for segment in followed.last.segments)
            file = followed.write(tmp_path / "all.mp4")
            picture = probe(file)["streams"]["video"]
            assert (picture["codec_name"], picture["height"]) == ("h264", 120)
            decodes(file)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await publisher.close()


@pytest.mark.limit(90)
async def test_transport_streams(start_server, name, tmp_path):
    server = start_server({"hls": {**LADDER, "transport_streams": ["*"]}})
    peer = await publish(server, name)
    async with aiohttp.ClientSession() as session:
        client = await HLSClient(session, url(server, name)).open()
        assert [name_of(uri) for _, uri in client.variants] == ["main", "180p", "120p10", "audio-aac"]
        for index in (1, 3):
            followed = await client.follow(3, index)
            assert not followed.maps and all(row.uri.endswith(".ts") for row in followed.last.segments)
            file = followed.write(tmp_path / f"{index}.ts")
            streams = probe(file)["streams"]
            if index == 1:
                assert (streams["video"]["codec_name"], streams["video"]["height"]) == ("h264", 180)
            else:
                assert set(streams) == {"audio"} and streams["audio"]["codec_name"] == "aac"
            decodes(file)
    await peer.close()
