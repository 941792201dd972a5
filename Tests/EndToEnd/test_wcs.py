"""The WCS WebSocket with real Chromium pages: publish and play in each codec, events, and how streams end."""

import asyncio

import pytest

from browser import check_media
from wcs_client import WcsClient


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
async def test_publish_and_play(server, new_page, name, codec):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, codec)
    await player.wcs_play(server, name)
    await check_media(publisher, player, codec)
    facts = await player.call("describe", "play")
    assert facts["errors"] == []
    assert facts["lastStatus"]["audioState"] == {"muted": False}
    assert facts["lastStatus"]["videoState"] == {"muted": False}


async def test_default_offer_is_answered_with_one_video_codec(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name)
    answer = (await publisher.call("describe", "pub"))["remoteSDP"]
    video = answer[answer.index("m=video"):]
    mapped = [line.split(" ")[1].split("/")[0] for line in video.split("\r\n") if line.startswith("a=rtpmap:")]
    assert len([codec for codec in mapped if codec.lower() != "rtx"]) == 1, mapped
    await player.wcs_play(server, name)
    await check_media(publisher, player)


async def test_audio_only(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, media={"video": False})
    await player.wcs_play(server, name, options={"video": False})
    await check_media(publisher, player, video=False)


async def test_video_only(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8", media={"audio": False})
    await player.wcs_play(server, name)
    await check_media(publisher, player, "VP8", audio=False)


async def test_stop_messages_end_as_stopped_by_user(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name)
    await page.wcs_play(server, name)
    await page.wait_frames("play", 1)
    await page.call("stop", "play")
    await page.call("waitStatus", "play", ["STOPPED"], 3000)
    await page.call("stop", "pub")
    await page.call("waitStatus", "pub", ["UNPUBLISHED"], 3000)
    for key in ("play", "pub"):
        facts = await page.call("describe", key)
        assert facts["info"] == "Stopped by user"
        assert "FAILED" not in facts["history"]


@pytest.mark.parametrize("how", ["unPublishStream", "socket closed", "page gone"])
async def test_players_learn_that_the_publisher_stopped(server, new_page, name, how):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name)
    await player.wcs_play(server, name)
    await player.wait_frames("play", 1)
    if how == "unPublishStream":
        await publisher.call("stop", "pub")
    elif how == "socket closed":
        await publisher.call("wcsClose", "pub")
    else:
        await publisher.page.close()
    await player.call("waitStatus", "play", ["FAILED"], 5000)
    assert (await player.call("describe", "play"))["info"] == "Stopped by publisher stop"
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.send("availableStream", {"mediaSessionId": "x", "name": name})
        assert (await client.expect("availableStream"))[0]["status"] == "false"


async def test_failures_leave_other_streams_alone(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await player.wcs_play(server, name)
    other = await new_page()
    await other.wcs_publish(server, name, "VP8", wait=False)
    await other.call("waitStatus", "pub", ["FAILED"], 3000)
    assert (await other.call("describe", "pub"))["info"] == "Stream name is already in use"
    await other.wcs(server, "second")
    await other.call("wcsPlay", "h264", "second", name, {"strip": ["VP8", "VP9", "AV1"], "audio": False})
    await other.call("waitStatus", "h264", ["FAILED"], 3000)
    assert (await other.call("describe", "h264"))["info"] == "No common codecs"
    await check_media(publisher, player, "VP8", seconds=1.5)


async def test_mute_and_data_events_reach_present_and_later_players(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name)
    await page.wcs_play(server, name, "play")
    publisher_id = (await page.call("describe", "pub"))["lastStatus"]["mediaSessionId"]
    await page.call("wcsSend", "pub", "sendStreamEvent", {"mediaSessionId": publisher_id, "type": "audioMuted"})
    await page.call("wcsSend", "pub", "sendStreamEvent",
                    {"mediaSessionId": publisher_id, "type": "data", "payload": {"count": 23}})
    wanted = {"audioMuted", "data", "resize"}
    for _ in range(100):
        events = {e["type"]: e for e in (await page.call("describe", "play"))["events"]
                  if e["message"] == "notifyStreamEvent"}
        if wanted <= set(events):
            break
        await asyncio.sleep(0.05)
    assert wanted <= set(events), events
    assert events["data"]["payload"] == {"count": 23}
    assert events["resize"]["payload"] == {"streamerVideoWidth": 320, "streamerVideoHeight": 240}
    assert (await page.call("describe", "pub"))["events"] == [] or all(
        e["message"] != "notifyStreamEvent" for e in (await page.call("describe", "pub"))["events"])

    late = await new_page()
    await late.wcs_play(server, name)
    status = (await late.call("describe", "play"))["lastStatus"]
    assert status["audioState"] == {"muted": True} and status["videoState"] == {"muted": False}


async def test_pause_and_resume_with_the_same_id(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name)
    await page.wcs_play(server, name)
    await page.wait_frames("play", 5)
    identifier = (await page.call("describe", "play"))["lastStatus"]["mediaSessionId"]
    facts = {"mediaSessionId": identifier, "name": name, "published": False, "status": "PLAYING"}
    await page.call("wcsSend", "play", "pauseStream", facts)
    await page.call("waitStatus", "play", ["PAUSED"], 3000)
    await asyncio.sleep(0.5)
    paused = (await page.call("stats", "play"))["video"]["frames"]
    await asyncio.sleep(1)
    assert (await page.call("stats", "play"))["video"]["frames"] - paused <= 2
    await page.call("wcsSend", "play", "playStream", facts | {"sdp": "", "hasVideo": True, "hasAudio": True})
    await page.call("waitStatus", "play", ["PLAYING"], 3000)
    await page.wait_frames("play", paused + 10)


async def test_immediate_stop_of_publisher_and_player(server, new_page, name):
    page = await new_page()
    await page.wcs_publish(server, name, wait=False)
    await page.call("stop", "pub")
    await page.call("waitStatus", "pub", ["UNPUBLISHED"], 5000)
    await page.wcs_publish(server, name, key="again")
    await page.wcs(server, "player")
    await page.call("wcsPlay", "play", "player", name, {})
    await page.call("stop", "play")
    await page.call("waitStatus", "play", ["STOPPED", "FAILED"], 5000)
