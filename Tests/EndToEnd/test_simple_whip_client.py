"""Debian's simple-whip-client, an independent WHIP program, publishes; Chromium plays."""

import pytest

from simple_whip_client import SimpleWhipClient, build_shim
from test_gstreamer import check_chromium_shows


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    return build_shim(tmp_path_factory.mktemp("libraries"))


# By default the program trickles its candidates in PATCH requests, after the draft that it was written for.
@pytest.mark.parametrize("codec, flags", [("VP8", []), ("H264", ["-n"])])
async def test_publishes_for_chromium(server, new_page, name, libraries, codec, flags):
    page = await new_page()
    async with SimpleWhipClient(server.whip(name), codec, libraries, *flags, token="not-asked-for") as client:
        await client.wait_for("PeerConnection connected")
        await page.whep_play(server, name)
        await check_chromium_shows(page, codec)
        assert name in server.streams()
        if not flags:
            await client.wait_for("Sending candidates: end-of-candidates")
        assert "[ERR]" not in client.output and "[trickle]" not in client.output, client.output
    assert "Disconnecting from server" in client.output
    # The program has waited for the answer to its DELETE: the stream is over by then.
    assert name not in server.streams()
