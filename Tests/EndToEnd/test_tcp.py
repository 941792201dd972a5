"""ICE-TCP: `transport:"TCP"` gives candidates of TCP only, so UDP cannot be the path that carried the media."""

import pytest

from browser import check_media


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_publish_and_play_over_tcp(server, new_page, name, codec):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, codec, transport="TCP")
    await player.wcs_play(server, name, options={"extra": {"transport": "TCP"}})
    for page, key in ((publisher, "pub"), (player, "play")):
        answer = (await page.call("describe", key))["remoteSDP"]
        candidates = [line.lower() for line in answer.split("\r\n") if line.startswith("a=candidate")]
        assert candidates and all(" tcp " in line and "tcptype passive" in line for line in candidates), candidates
    facts = await check_media(publisher, player, codec)
    assert facts["protocol"] == "tcp"
    assert (await publisher.call("stats", "pub"))["protocol"] == "tcp"


async def test_tcp_player_of_a_udp_publisher(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await player.wcs_play(server, name, options={"extra": {"transport": "TCP"}})
    assert (await check_media(publisher, player, "VP8"))["protocol"] == "tcp"
    assert (await publisher.call("stats", "pub"))["protocol"] == "udp"
