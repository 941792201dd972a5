"""Debian's simple-whip-client, an independent WHIP program, publishes; Chromium plays."""

import time

import pytest

from browser import check_shown
from simple_whip_client import SimpleWhipClient, build_shim

LEAST_RATE = 10  # pictures a second; the program sends 15, but does not say how many it has sent


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
        await check_shown(page, codec, lambda: int(time.monotonic() * LEAST_RATE))
        assert name in server.streams()
        if not flags:
            await client.wait_for("Sending candidates: end-of-candidates")
        assert "[ERR]" not in client.output and "[trickle]" not in client.output, client.output
    assert "Disconnecting from server" in client.output
    # The program has waited for the answer to its DELETE: the stream is over by then.
    assert name not in server.streams()
