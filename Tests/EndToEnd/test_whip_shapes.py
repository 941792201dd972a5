"""Publishers of which only the sources are at hand (OBS 30, whipclientsink), by the shape of their offer.

The programs were not run: Debian 12 has neither. sdp_shapes.py names the sources; a webrtcbin sends the media, with a
fixed interval of key frames and deaf to requests for one, as OBS with x264 does.
"""

import re

import pytest

from browser import check_shown
from gstreamer import GstPeer
from sdp_shapes import SHAPES, sections_of, value_of

PICTURES_BEFORE_PLAY = 20  # the player comes early in a group of 150 pictures, 10 s
START_LIMIT_SECONDS = 4  # much less than to the next key frame


@pytest.mark.parametrize("shape", SHAPES)
async def test_offer_is_answered_and_its_media_plays(server, new_page, name, shape):
    page = await new_page()
    async with GstPeer("publish", server.whip(name), "H264-fixed", "--no-nack", "--shape", shape) as publisher:
        await publisher.connected()
        check_answer(publisher.offer, publisher.answer)
        await publisher.wait_sent(PICTURES_BEFORE_PLAY)
        await page.whep_play(server, name)
        # The publisher ignores PLI: only the stored group of pictures lets a player start before the next key frame.
        await page.wait_frames("play", 1, START_LIMIT_SECONDS)
        await check_shown(page, "H264", lambda: publisher.facts["sent"])


def check_answer(offer: str, answer: str) -> None:
    """Nothing is answered that was not offered, and everything that was offered and that Weir can do is."""
    assert "rtx" not in offer and "transport-cc" not in offer and "a=extmap" not in offer
    assert "rtx" not in answer and "transport-cc" not in answer and "a=extmap" not in answer
    assert "a=group:LS" not in answer
    assert ("a=group:BUNDLE" in answer) == ("a=group:BUNDLE" in offer)
    offered, answered = sections_of(offer)[1:], sections_of(answer)[1:]
    assert len(answered) == len(offered)
    for ours, theirs in zip(answered, offered):
        kind, port, _, *formats = ours[0].split(" ")
        assert kind == theirs[0].split(" ")[0] and port != "0", ours[0]
        assert formats == theirs[0].split(" ")[3:], (ours[0], theirs[0])
        assert "a=recvonly" in ours and "a=rtcp-mux" in ours
        assert value_of(ours, "setup") == "passive"
        mids = [[line for line in section if line.startswith("a=mid:")] for section in (ours, theirs)]
        assert mids[0] == mids[1]
        # Every feedback that is answered was offered.
        feedback = {line for line in theirs if line.startswith("a=rtcp-fb:")}
        assert {line for line in ours if line.startswith("a=rtcp-fb:")} <= feedback
    video = answered[1]
    assert "a=rtcp-fb:96 nack pli" in video, video
    assert re.search(r"a=fmtp:96 .*packetization-mode=1", "\n".join(video)), video
