"""WHIP (RFC 9725) and WHEP in Chromium from a page of another origin, alone and crosswise with the WCS WebSocket."""

import asyncio
import json

import aiohttp
import pytest

from browser import check_media
from offers import make_offer

SDP_TYPE = {"Content-Type": "application/sdp"}


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
async def test_whip_to_whep(server, new_page, name, codec):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, codec)
    await publisher.wait_frames("pub", 1)
    await player.whep_play(server, name)
    await check_media(publisher, player, codec)
    assert await player.call("stop", "play") in (200, 204)
    assert await publisher.call("stop", "pub") in (200, 204)


async def test_whip_to_wcs(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, "VP8")
    await publisher.wait_frames("pub", 1)
    await player.wcs_play(server, name)
    await check_media(publisher, player, "VP8")


async def test_wcs_to_whep(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "H264")
    await player.whep_play(server, name)
    await check_media(publisher, player, "H264")


async def test_audio_only(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, media={"video": False})
    await player.whep_play(server, name, options={"video": False})
    await check_media(publisher, player, video=False)


async def test_audio_only_stream_for_a_player_that_also_wants_video(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, media={"video": False})
    await player.whep_play(server, name)
    await check_media(publisher, player, video=False)


async def test_video_only(server, new_page, name):
    publisher, player = await new_page(), await new_page()
    await publisher.whip_publish(server, name, "VP8", media={"audio": False})
    await publisher.wait_frames("pub", 1)
    await player.whep_play(server, name)
    await check_media(publisher, player, "VP8", audio=False)


async def test_cors_exposes_what_a_page_needs(server, new_page, name):
    page = await new_page()
    await page.whip_publish(server, name)
    facts = await page.call("describe", "pub")
    assert facts["location"], "Location is not exposed to other origins"
    assert facts["etag"], "ETag is not exposed to other origins"


async def test_delete_ends_the_publisher_and_frees_its_name(server, new_page, name):
    page, player = await new_page(), await new_page()
    await page.whip_publish(server, name)
    await page.wait_frames("pub", 1)
    await player.wcs_play(server, name)
    assert await page.call("stop", "pub") in (200, 204)
    for _ in range(100):
        facts = await player.call("describe", "play")
        if facts["status"] == "FAILED":
            break
        await asyncio.sleep(0.05)
    assert (facts["status"], facts["info"]) == ("FAILED", "Stopped by publisher stop")
    await page.whip_publish(server, name, key="again")
    await page.wait_frames("again", 1)


async def request(method: str, url: str, body: str | None = None, headers: dict | None = None):
    async with aiohttp.ClientSession() as session:
        async with session.request(method, url, data=body, headers=headers or {}) as response:
            return response.status, response.headers, await response.text()


def check_problem(headers, body: str) -> None:
    """Errors carry problem details (RFC 9457), as RFC 9725 asks."""
    assert headers["Content-Type"].split(";")[0] == "application/problem+json", headers
    assert isinstance(json.loads(body), dict)


async def test_created_resource_and_its_life(server, name):
    status, headers, answer = await request("POST", server.whip(name), make_offer(True), SDP_TYPE)
    assert status == 201, answer
    assert headers["Content-Type"].split(";")[0] == "application/sdp"
    assert answer.startswith("v=0\r\n") and "a=ice-lite" in answer and "a=candidate:" in answer
    assert headers["ETag"].startswith('"')
    location = headers["Location"]
    resource = location if "://" in location else server.http_url + location

    status, _, _ = await request("DELETE", resource)
    assert status in (200, 204)
    status, headers, body = await request("DELETE", resource)
    assert status == 404
    check_problem(headers, body)


async def test_patch_restarts_ice_or_is_refused_as_the_rfc_says(server, name):
    status, headers, answer = await request("POST", server.whip(name), make_offer(True), SDP_TYPE)
    assert status == 201, answer
    location, etag = headers["Location"], headers["ETag"]
    resource = location if "://" in location else server.http_url + location
    fragment_type = {"Content-Type": "application/trickle-ice-sdpfrag"}

    trickle = "a=ice-ufrag:aYnR\r\na=ice-pwd:/+qgkVHjSThH4iPYGK2Sbrot\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n" \
              "a=mid:0\r\na=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host\r\na=end-of-candidates\r\n"
    status, _, body = await request("PATCH", resource, trickle, {**fragment_type, "If-Match": etag})
    assert status in (204, 405, 422), (status, body)

    restart = trickle.replace("aYnR", "bXmS").replace("/+qgkVHjSThH4iPYGK2Sbrot", "0123456789abcdefghijklmn")
    status, headers, body = await request("PATCH", resource, restart, {**fragment_type, "If-Match": "*"})
    assert status in (200, 405, 422), (status, body)
    if status == 200:
        assert headers["Content-Type"].split(";")[0] == "application/trickle-ice-sdpfrag"
        assert "a=ice-ufrag:" in body and headers["ETag"] != etag
        status, _, _ = await request("PATCH", resource, trickle, {**fragment_type, "If-Match": '"stale"'})
        assert status == 412
        status, _, _ = await request("PATCH", resource, trickle, fragment_type)
        assert status == 428
        status, _, _ = await request("PATCH", resource, trickle, {"Content-Type": "text/plain", "If-Match": "*"})
        assert status == 415
    assert (await request("DELETE", resource))[0] in (200, 204)


async def test_preflight_allows_the_methods_of_whip(server, name):
    for url in (server.whip(name), server.whep(name)):
        status, headers, _ = await request("OPTIONS", url, headers={
            "Origin": "http://example.test", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,if-match",
        })
        assert status in (200, 204)
        assert headers["Access-Control-Allow-Origin"] in ("*", "http://example.test")
        assert "POST" in headers["Access-Control-Allow-Methods"]
        allowed = headers["Access-Control-Allow-Headers"].lower()
        assert "authorization" in allowed and "content-type" in allowed


ERRORS = {
    "not SDP by type": ("whip", make_offer(True), "text/plain", 415),
    "not SDP by content": ("whip", "hello", "application/sdp", 400),
    "empty": ("whip", "", "application/sdp", 400),
    "no common codecs": ("whip", make_offer(True, ("THEORA",), ("SPEEX",)), "application/sdp", 422),
    "unknown stream": ("whep", make_offer(False), "application/sdp", 404),
}


@pytest.mark.parametrize("case", ERRORS)
async def test_error_status(server, name, case):
    kind, body, content_type, wanted = ERRORS[case]
    url = server.whip(name) if kind == "whip" else server.whep(name)
    status, headers, answer = await request("POST", url, body, {"Content-Type": content_type})
    assert status == wanted, (status, answer)
    check_problem(headers, answer)


async def test_name_in_use_is_a_conflict(server, name):
    first, _, answer = await request("POST", server.whip(name), make_offer(True), SDP_TYPE)
    assert first == 201, answer
    second, headers, answer = await request("POST", server.whip(name), make_offer(True), SDP_TYPE)
    assert second == 409, answer
    check_problem(headers, answer)
    assert "Stream name is already in use" in answer


async def test_other_methods_are_not_allowed(server, name):
    status, headers, _ = await request("PUT", server.whip(name), make_offer(True), SDP_TYPE)
    assert status == 405
    assert "POST" in headers["Allow"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_resources_have_no_representation(server, name, method):
    """RFC 9725 §4.1: GET and HEAD succeed with nothing, of an endpoint and of a session."""
    _, headers, _ = await request("POST", server.whip(name), make_offer(True), SDP_TYPE)
    for url in (server.whip(name), server.whep(name), server.http_url + headers["Location"]):
        status, _, body = await request(method, url)
        assert (status, body) == (204, "")
    status, _, _ = await request(method, server.whip(name) + "/no-such-session")
    assert status == 404


async def test_options_name_type_and_ice_servers(start_server, name):
    stun = {"urls": ["stun:stun.example.net:3478"]}
    turn = {"urls": ["turn:turn.example.net?transport=udp"], "username": "user", "credential": "pass"}
    server = start_server({"http": {"ice_servers": [stun, turn]}})
    status, headers, _ = await request("OPTIONS", server.whip(name))
    assert status == 200 and headers["Accept-Post"] == "application/sdp"
    wanted = [
        '<stun:stun.example.net:3478>; rel="ice-server"',
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; credential="pass"; '
        'credential-type="password"',
    ]
    assert headers.getall("Link") == wanted
    status, headers, _ = await request("POST", server.whip(name), make_offer(True), SDP_TYPE)
    assert status == 201 and headers.getall("Link") == wanted


async def test_publisher_without_media_cannot_be_played_yet(server, name):
    assert (await request("POST", server.whip(name), make_offer(True), SDP_TYPE))[0] == 201
    status, headers, answer = await request("POST", server.whep(name), make_offer(False), SDP_TYPE)
    assert status == 409, answer
    assert int(headers["Retry-After"]) > 0, "the publisher is only just connecting: a player is told when to ask again"
    check_problem(headers, answer)
    assert "Publish stream is not ready" in answer
