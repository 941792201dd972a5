"""Firefox ESR as publisher and player against Chromium. Debian's build offers VP8, VP9 and AV1, but no H264."""

import re

import pytest

from browser import check_media

CODECS = ["VP8", "VP9", "AV1"]


@pytest.mark.parametrize("codec", CODECS)
async def test_firefox_publishes_for_chromium(server, firefox_page, new_page, name, codec):
    player = await new_page()
    await firefox_page.whip_publish(server, name, codec)
    await firefox_page.wait_frames("pub", 1)
    await player.whep_play(server, name)
    await check_media(firefox_page, player, codec)


@pytest.mark.parametrize("codec", CODECS)
async def test_chromium_publishes_for_firefox(server, firefox_page, new_page, name, codec):
    publisher = await new_page()
    await publisher.whip_publish(server, name, codec)
    await publisher.wait_frames("pub", 1)
    await firefox_page.whep_play(server, name)
    await check_media(publisher, firefox_page, codec)


async def test_wcs_websocket_both_ways(server, firefox_page, new_page, name):
    """The default offers of Firefox, as the Web SDK sends them: without candidates, bundle policy max-compat."""
    page = await new_page()
    await firefox_page.wcs_publish(server, name)
    await page.wcs_play(server, name)
    await check_media(firefox_page, page)
    back = f"{name}-back"
    await page.wcs_publish(server, back, "VP8", key="pub2")
    await firefox_page.wcs_play(server, back, key="play2")
    await check_media(page, firefox_page, "VP8", publisher_key="pub2", player_key="play2")


async def test_codecs_that_firefox_offers(server, firefox_page, name):
    """Should Debian's Firefox learn H264 one day, this test says that it is time to play it."""
    await firefox_page.whip_publish(server, name)
    video = (await firefox_page.call("describe", "pub"))["offer"].partition("m=video")[2]
    offered = set(re.findall(r"a=rtpmap:\d+ (\S+)/90000", video))
    assert offered == {"VP8", "VP9", "AV1", "rtx", "red", "ulpfec"}, offered
