"""ICE-TCP: where `transport:"TCP"` gives candidates of TCP only, and where UDP is offered too but blocked."""

import socket
from contextlib import closing

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


def candidates(answer: str, transport: str) -> list[str]:
    return [line for line in answer.lower().splitlines()
            if line.startswith("a=candidate") and f" {transport} " in line]


@pytest.mark.parametrize("blocked", ["stripped", "swallowed"])
async def test_blocked_udp_falls_back_to_tcp(server, new_page, name, blocked):
    """The answer has candidates of both kinds. The page loses those of UDP, or sends its checks into a hole.

    A media server that spoke first would be found all the same, but Weir is ICE-lite: it only answers.
    """
    publisher, player = await new_page(), await new_page()
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as hole:
        hole.bind(("0.0.0.0", 0))
        hole.setblocking(False)
        udp = "stripped" if blocked == "stripped" else hole.getsockname()[1]
        await publisher.whip_publish(server, name, "VP8", udp=udp)
        await publisher.wait_frames("pub", 1)
        await player.whep_play(server, name, options={"udp": udp})
        facts = await check_media(publisher, player, "VP8")
        if blocked == "swallowed":
            assert hole.recv(2048), "no check went to the UDP candidate: it was not tried"
    for page, key in ((publisher, "pub"), (player, "play")):
        answer = (await page.call("describe", key))["remoteSDP"]
        assert candidates(answer, "udp") and candidates(answer, "tcp"), answer
        assert (await page.call("stats", key))["protocol"] == "tcp"
    assert facts["protocol"] == "tcp"


async def test_udp_is_preferred_where_both_work(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, "VP8")
    await publisher.wait_frames("pub", 1)
    await player.whep_play(server, name)
    assert (await check_media(publisher, player, "VP8"))["protocol"] == "udp"
    assert (await publisher.call("stats", "pub"))["protocol"] == "udp"
