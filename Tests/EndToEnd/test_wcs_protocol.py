"""The WCS WebSocket message by message, without browsers: session, every failure text, limits of the envelope."""

import asyncio
import json
import uuid

import pytest
import websockets

from offers import make_offer
from wcs_client import WcsClient

ICE_TIMEOUT_SECONDS = 1


@pytest.fixture
def offer() -> str:
    return make_offer(True)


async def test_connection_is_answered_with_user_data(server):
    async with WcsClient(server.ws_url) as client:
        got = await client.connect(custom={"user": "ann"}, sipLogin="1000")
        assert got["status"] == "ESTABLISHED"
        assert len(got["authToken"]) >= 16
        assert got["appKey"] == "defaultApp" and got["custom"] == {"user": "ann"} and got["sipLogin"] == "1000"
        async with WcsClient(server.ws_url) as other:
            assert (await other.connect())["authToken"] != got["authToken"]


@pytest.mark.parametrize("path", ["", "websocket", "a/b?c=d"])
async def test_any_path_is_accepted_and_no_subprotocol_is_chosen(server, path):
    async with WcsClient(server.ws_url + path) as client:
        await client.connect()
        assert client.socket.subprotocol is None


async def test_server_pings_with_a_data_array(server):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for _ in range(80):
            if client.pings:
                break
            await asyncio.sleep(0.1)
        assert client.pings >= 1


async def test_unknown_messages_members_and_binary_frames_are_ignored(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect(unheardOf={"a": [1, 2, 3]})
        await client.send("noSuchMessage", {"x": 1})
        await client.socket.send(json.dumps({"message": "pong"}))
        await client.socket.send(b"\x00\x01binary")
        await client.send("pushLogs", {"logs": "x" * 200_000})
        identifier = await client.publish(name, offer, futureMember={"deep": [[]]})
        assert "m=video" in await client.answer(identifier)


async def test_refused_texts_do_not_hurt_the_session_of_others(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for text in ("", "{", "[]", "null", '{"message":5,"data":[]}', '{"message":"publishStream"}',
                     '{"message":"publishStream","data":[]}', '{"message":"playStream","data":[null]}',
                     '{"message":"publishStream","data":[{"name":7}]}', "[" * 20_000):
            try:
                async with WcsClient(server.ws_url) as hostile:
                    await hostile.connect()
                    await hostile.socket.send(text)
                    await asyncio.sleep(0.02)
            except websockets.ConnectionClosed:
                pass
        identifier = await client.publish(name, offer)
        await client.answer(identifier)


async def test_streams_before_connection_are_refused(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        try:
            await client.publish(name, offer)
            await asyncio.sleep(0.3)
        except websockets.ConnectionClosed:
            pass
        assert not any(m["message"] == "setRemoteSDP" for m in client.inbox)


async def test_answer_rules(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        answer = await client.answer(await client.publish(name, offer))
    assert "\r\n" in answer and "\n" not in answer.replace("\r\n", "")
    sections = answer.split("m=")[1:]
    assert [s.split(" ")[0] for s in sections] == ["audio", "video"]
    assert "a=group:BUNDLE 0 1" in answer and "a=ice-lite" in answer.split("m=")[0]
    for section in sections:
        for needed in ("a=recvonly", "a=rtcp-mux", "a=setup:passive", "a=ice-ufrag:", "a=fingerprint:sha-256 "):
            assert needed in section, (needed, section)
    assert " udp " in sections[0].lower() and "typ host" in sections[0]


async def test_stream_name_is_already_in_use(server, name, offer):
    async with WcsClient(server.ws_url) as client, WcsClient(server.ws_url) as other:
        await client.connect()
        await other.connect()
        await client.answer(await client.publish(name, offer))
        assert await other.failure(await other.publish(name, offer)) == "Stream name is already in use"
        assert await client.failure(await client.publish(name, offer)) == "Stream name is already in use"


async def test_one_of_many_simultaneous_publishers_gets_the_name(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifiers = [await client.publish(name, offer) for _ in range(10)]
        infos = [(await client.expect("notifyStreamStatusEvent", lambda d: d[0]["status"] == "FAILED"))[0]["info"]
                 for _ in range(9)]
        assert set(infos) == {"Stream name is already in use"}
        accepted = (await client.expect("setRemoteSDP"))[0]
        assert accepted in identifiers


async def test_stream_not_found(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        assert await client.failure(await client.play(name, make_offer(False))) == "Stream not found"


async def test_publish_stream_is_not_ready(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.answer(await client.publish(name, offer))
        assert await client.failure(await client.play(name, make_offer(False))) == "Publish stream is not ready"


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("missing", ["absent", "null", "empty"])
async def test_media_session_id_is_null(server, name, published, missing):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        facts = {"name": name, "published": published, "sdp": make_offer(published), "mediaProvider": "WebRTC"}
        if missing != "absent":
            facts["mediaSessionId"] = None if missing == "null" else ""
        await client.send("publishStream" if published else "playStream", facts)
        got = (await client.expect("notifyStreamStatusEvent"))[0]
        assert (got["status"], got["info"]) == ("FAILED", "MediaSessionId is null")


async def test_media_session_id_is_already_in_use(server, name, offer):
    identifier = str(uuid.uuid4())
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.answer(await client.publish(name, offer, identifier))
        await client.publish(name + "-2", offer, identifier)
        assert await client.failure(identifier) == "MediaSessionId is already in use"
        await client.play(name, make_offer(False), identifier)
        assert await client.failure(identifier) == "MediaSessionId is already in use"
        await client.stop(identifier, name, published=True)
        assert (await client.status(identifier, "UNPUBLISHED"))["info"] == "Stopped by user"


async def test_no_common_codecs(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, make_offer(True, ("THEORA",), ("SPEEX",)))
        assert await client.failure(identifier) == "No common codecs"
        await client.answer(await client.publish(name, make_offer(True)))  # the name was not kept


BAD_OFFERS = {
    "garbage": "hello", "empty": "", "no media": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
    "no fingerprint": make_offer(True).replace("a=fingerprint", "a=x-fingerprint"),
    "no credentials": make_offer(True).replace("a=ice-ufrag", "a=x-ufrag"),
    "huge": make_offer(True) + "a=x:y\r\n" * 60_000,
}


@pytest.mark.parametrize("kind", BAD_OFFERS)
async def test_failed_to_add_stream_to_proxy(server, name, kind):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, BAD_OFFERS[kind])
        assert await client.failure(identifier) == "Failed to add stream to proxy"
        await client.answer(await client.publish(name, make_offer(True)))


async def test_failed_by_ice_timeout(start_server, name, offer):
    server = start_server({"ice": {"timeout": f"{ICE_TIMEOUT_SECONDS}s"}})
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, offer)
        await client.answer(identifier)
        assert await client.failure(identifier, ICE_TIMEOUT_SECONDS + 4) == "Failed by ICE timeout"
        await client.answer(await client.publish(name, offer))


@pytest.mark.parametrize("url, info", [
    # Pulled, but not from this machine itself (rtsp.pull.allow_networks).
    ("rtsp://127.0.0.1/x", "Failed to connect to rtsp stream"), ("nothing://x", "Failed to get agent storage")])
async def test_urls_that_are_not_played(server, url, info):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        assert await client.failure(await client.play(url, make_offer(False))) == info


@pytest.mark.parametrize("bad", ["", "a/b", "a\\b", "what?", "x#y", "..", "tab\there", "n" * 256])
async def test_bad_stream_names_are_explained(server, bad, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        info = await client.failure(await client.publish(bad, offer))
        assert info.startswith("Bad stream name"), info


async def test_unicode_name_of_the_greatest_length(server, offer):
    long = ("ж" * 120) + uuid.uuid4().hex[:15]
    assert len(long.encode()) == 255
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.answer(await client.publish(long, offer))


async def test_immediate_stop_of_a_publisher(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for _ in range(5):
            identifier = await client.publish(name, offer)
            await client.stop(identifier, name, published=True)
            assert (await client.status(identifier, "UNPUBLISHED"))["info"] == "Stopped by user"


async def test_lost_socket_frees_its_names(server, name, offer):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.answer(await client.publish(name, offer))
        client.socket.transport.abort()
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        for _ in range(50):
            identifier = await client.publish(name, offer)
            await asyncio.sleep(0.05)
            if any(m["message"] == "setRemoteSDP" for m in client.inbox):
                return
            await client.failure(identifier)
    raise AssertionError("the name of a lost session stays claimed")


async def test_availability_answer_has_id_and_text_status(server, name):
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        await client.send("availableStream", {"mediaSessionId": "ee05", "name": name})
        got = (await client.expect("availableStream"))[0]
        assert got == {"id": "ee05", "status": "false", "info": "Stream not found"}


async def test_shutdown_tells_every_client(start_server, name, offer):
    server = start_server()
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, offer)
        await client.answer(identifier)
        loop = asyncio.get_running_loop()
        stopped = loop.run_in_executor(None, server.stop)
        await client.status(identifier, "FAILED")
        assert await stopped == 0
