"""Audio codecs between two real Chromiums: the telephone codecs, and what Opus is asked for by its parameters."""

import asyncio

import pytest

from browser import check_media

LIMIT_SECONDS = 10
LEAST_LEVEL = 0.05  # root mean square of a channel with the tone; it is sent at 0.3 / sqrt(2) = 0.21
SILENT_PART = 0.1  # a channel below this part of the other is silent
PACKETS_A_SECOND = 50  # of 20 ms each
DTX_ATTEMPTS = 3
DTX_SECONDS = 5.0
DTX_PART = 0.9  # more of the packets than this are not DTX; with it 0.75 were measured


def audio_section(sdp: str) -> list[str]:
    """Lines of the audio section."""
    return ("m=audio" + sdp.split("m=audio", 1)[1].split("m=video", 1)[0]).splitlines()


@pytest.mark.parametrize("codec, payload_type", [("PCMU", "0"), ("PCMA", "8"), ("G722", "9")])
async def test_telephone_codec(server, new_page, name, codec, payload_type):
    """The player offers everything it has: the codec of the publisher decides, and the picture goes on beside it."""
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, "VP8", audioCodec=f"audio/{codec}")
    await publisher.wait_frames("pub", 1)
    await player.whep_play(server, name)
    facts = await check_media(publisher, player, "VP8", audio_codec=codec)
    for page, key in ((publisher, "pub"), (player, "play")):
        lines = audio_section((await page.call("describe", key))["remoteSDP"])
        assert lines[0].split()[3:] == [payload_type], lines[0]
    assert facts["gotPackets"] >= 0.8 * PACKETS_A_SECOND * facts["seconds"], facts


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
async def test_telephone_codec_without_picture(server, new_page, name, codec):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, media={"video": False}, audioCodec=f"audio/{codec}")
    await server.wait_live(name)
    await player.whep_play(server, name, options={"video": False})
    await check_media(publisher, player, video=False, audio_codec=codec)


async def wait_tone(player, key: str = "play") -> list[float]:
    """Levels of both channels as soon as the left one has the tone."""
    end = asyncio.get_running_loop().time() + LIMIT_SECONDS
    while True:
        left, right = await player.call("channels", key)
        if left > LEAST_LEVEL:
            return [left, right]
        assert asyncio.get_running_loop().time() < end, ("no tone", left, right, await player.call("stats", key))
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("publisher_opus, player_opus, is_stereo", [
    ("sprop-stereo=1", "stereo=1", True),  # the publisher can, the server asks for it, the player wants it
    ("sprop-stereo=1", None, False),
    (None, "stereo=1", False),
], ids=["both", "publisher-only", "player-only"])
async def test_stereo_opus(server, new_page, name, publisher_opus, player_opus, is_stereo):
    """The tone is on the left channel alone. Mono sounds on both."""
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, media={"tone": {"left": 440, "right": 0}}, opus=publisher_opus)
    await server.wait_live(name)
    await player.whep_play(server, name, options={"video": False, "opus": player_opus})
    left, right = await wait_tone(player)
    if is_stereo:
        assert right < SILENT_PART * left, (left, right)
    else:
        assert right > 0.5 * left, (left, right)
    answer = audio_section((await publisher.call("describe", "pub"))["remoteSDP"])
    asked = any(line.startswith("a=fmtp:") and "stereo=1" in line.replace("sprop-stereo=1", "") for line in answer)
    assert asked == (publisher_opus is not None), answer
    await check_media(publisher, player, video=False, seconds=1.0)


@pytest.mark.parametrize("opus", ["usedtx=1", None], ids=["dtx", "no-dtx"])
async def test_discontinuous_transmission_of_opus(server, new_page, name, opus):
    """The microphone beeps and is silent in between: with DTX silence is hardly sent, yet nothing counts as lost."""
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, media={"video": False}, opus=opus)
    await server.wait_live(name)
    await player.whep_play(server, name, options={"video": False})
    # On a busy machine the microphone's gaps crackle, and are then no silence to the encoder.
    for _ in range(DTX_ATTEMPTS):
        facts = await check_media(publisher, player, video=False, seconds=DTX_SECONDS)
        full = PACKETS_A_SECOND * facts["seconds"]
        has_gaps = facts["sentPackets"] < DTX_PART * full
        if has_gaps == (opus is not None):
            break
    assert has_gaps == (opus is not None), facts
    assert abs(facts["gotPackets"] - facts["sentPackets"]) <= 0.1 * full, facts
    assert facts["stats"]["audio"]["lost"] == 0, facts
