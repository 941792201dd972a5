"""aiortc as publisher and player, alone and against Chromium."""

import pytest

from aiortc_peer import AiortcPeer, wcs_play, wcs_publish
from browser import check_shown
from wcs_client import WcsClient


LEAST_PEAK = 1000  # of 32767


async def check_received(peer: AiortcPeer) -> None:
    """The peer decodes a picture that is not blank, and hears something."""
    await peer.wait_frames(30)
    # The luma of Chromium's test picture is 0 but for the figure in it, a twentieth of the area.
    assert 2 < peer.luma_mean < 245 and peer.luma_variance > 50, (peer.luma_mean, peer.luma_variance)
    await peer.wait_audio(LEAST_PEAK)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_whip_to_whep(server, name, codec):
    publisher, player = AiortcPeer(), AiortcPeer()
    try:
        publisher.send(codec)
        await publisher.post(server.whip(name))
        await server.wait_live(name)
        player.receive()
        await player.post(server.whep(name))
        await player.connected()
        await check_received(player)
    finally:
        await player.close()
        await publisher.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_aiortc_publishes_for_chromium(server, new_page, name, codec):
    publisher, page = AiortcPeer(), await new_page()
    try:
        publisher.send(codec)
        await publisher.post(server.whip(name))
        await server.wait_live(name)
        await page.whep_play(server, name)
        await check_shown(page, codec, lambda: publisher.picture.count)
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
        await check_received(player)
    finally:
        await player.close()


async def test_wcs_publish_and_play(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        publisher, published = await wcs_publish(client, name)
        player, played = await wcs_play(client, name)
        await check_received(player)
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
        assert info == "Failed by DTLS fingerprint error"
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
