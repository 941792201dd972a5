"""aiortc as publisher and player, alone and against Chromium."""

import asyncio

import pytest

from aiortc_peer import AiortcPeer, wcs_play, wcs_publish
from browser import check_media
from wcs_client import WcsClient


def check_received(peer: AiortcPeer, audio: bool = True) -> None:
    assert 15 < peer.luma_mean < 245 and peer.luma_variance > 50, (peer.luma_mean, peer.luma_variance)
    if audio:
        assert peer.audio_peak > 1000, peer.audio_peak


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_whip_to_whep(server, name, codec):
    publisher, player = AiortcPeer(), AiortcPeer()
    try:
        publisher.send(codec)
        await publisher.post(server.whip(name))
        await publisher.connected()
        await asyncio.sleep(0.5)
        player.receive()
        await player.post(server.whep(name))
        await player.connected()
        await player.wait_frames(30)
        check_received(player)
    finally:
        await player.close()
        await publisher.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_aiortc_publishes_for_chromium(server, new_page, name, codec):
    publisher, page = AiortcPeer(), await new_page()
    try:
        publisher.send(codec)
        await publisher.post(server.whip(name))
        await publisher.connected()
        await asyncio.sleep(0.5)
        await page.whep_play(server, name)
        first = await page.wait_frames("play", 10)
        await asyncio.sleep(2)
        last = await page.call("stats", "play")
        picture = await page.call("picture", "play")
        assert last["video"]["codec"] == f"video/{codec}"
        assert last["video"]["frames"] - first["video"]["frames"] > 35
        assert last["audio"]["energy"] > first["audio"]["energy"]
        assert 15 < picture["mean"] < 245 and picture["variance"] > 50, picture
    finally:
        await publisher.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_chromium_publishes_for_aiortc(server, new_page, name, codec):
    page, player = await new_page(), AiortcPeer()
    try:
        await page.whip_publish(server, name, codec)
        await page.wait_frames("pub", 1)
        player.receive()
        await player.post(server.whep(name))
        await player.connected()
        await player.wait_frames(20)
        check_received(player, audio=False)
    finally:
        await player.close()


async def test_wcs_publish_and_play(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        publisher, published = await wcs_publish(client, name)
        await asyncio.sleep(0.3)
        player, played = await wcs_play(client, name)
        await player.wait_frames(20)
        check_received(player)
        await client.stop(played, name, published=False)
        assert (await client.status(played, "STOPPED"))["info"] == "Stopped by user"
        await client.stop(published, name, published=True)
        assert (await client.status(published, "UNPUBLISHED"))["info"] == "Stopped by user"
        await player.close()
        await publisher.close()


async def test_dtls_with_a_wrong_fingerprint_fails_the_stream(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        peer = AiortcPeer()
        peer.send("VP8")
        lines = (await peer.offer()).split("\r\n")
        lines = ["a=fingerprint:sha-256 " + ":".join(["AB"] * 32) if x.startswith("a=fingerprint:sha-256") else x
                 for x in lines if not x.startswith(("a=fingerprint:sha-384", "a=fingerprint:sha-512"))]
        identifier = await client.publish(name, "\r\n".join(lines))
        await peer.accept(await client.answer(identifier))
        info = await client.failure(identifier, 10)
        assert info in ("Failed by DTLS fingerprint error", "Failed by DTLS error"), info
        await peer.close()


async def test_publisher_that_vanishes_fails_by_keep_alive(start_server, name):
    server = start_server({"ice": {"keep_alive_timeout": "2s"}})
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        publisher, published = await wcs_publish(client, name)
        # Only the network goes away: no DTLS close_notify, no message on the WebSocket.
        for transceiver in publisher.pc.getTransceivers():
            await transceiver.sender.transport.transport._connection.close()
        info = await client.failure(published, 10)
        assert info == "Failed by ICE keep alive", info
        await publisher.close()
