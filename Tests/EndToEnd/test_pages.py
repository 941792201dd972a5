"""The pages and the judgements of browser.py themselves, without a server: two peer connections in one page."""

import pytest

from browser import check_media


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
async def test_measuring_accepts_a_direct_connection(new_page, codec):
    page = await new_page()
    await page.call("loopback", "pub", "play", {}, f"video/{codec}")
    facts = await check_media(page, page, codec)
    assert facts["protocol"] == "udp"


async def test_measuring_rejects_a_black_picture(new_page):
    page = await new_page()
    await page.call("loopback", "pub", "play", {"black": True}, "video/VP8")
    with pytest.raises(AssertionError, match="picture is blank"):
        await check_media(page, page, "VP8", audio=False)
