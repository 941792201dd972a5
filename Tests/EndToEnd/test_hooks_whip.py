"""WHIP and WHEP clients as sessions of a backend: the same hooks as for the WCS SDK, and refusals as HTTP statuses."""

import asyncio

import aiohttp
import pytest

from aiortc_peer import AiortcPeer
from hook_backend import HookBackend, decides
from offers import make_offer

CONNECTED = ["connect", "ConnectionStatusEvent ESTABLISHED"]
DISCONNECTED = ["ConnectionStatusEvent DISCONNECTED"]
PUBLISHED = ["publishStream", "StreamStatusEvent PENDING", "StreamStatusEvent PUBLISHING"]
PLAYED = ["playStream", "StreamStatusEvent PENDING", "StreamStatusEvent PLAYING"]
SDP_TYPE = {"Content-Type": "application/sdp"}


async def post(url: str, offer: str, token: str | None = None) -> tuple[int, dict, str]:
    headers = SDP_TYPE | ({"Authorization": f"Bearer {token}"} if token else {})
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=offer, headers=headers) as got:
            return got.status, dict(got.headers), await got.text()


async def test_the_life_of_a_publisher_and_a_player(start_server, name):
    async with HookBackend() as backend:
        server = start_server({"applications": {"live": {"url": backend.url}}})
        publisher, player = AiortcPeer(), AiortcPeer()
        publisher.send("VP8")
        await publisher.post(server.whip(name) + "?appKey=live&user=ann&token=x")
        await server.wait_live(name)
        await backend.sequence(CONNECTED + PUBLISHED)
        first = backend.hooks[0].body["sessionId"]
        player.receive()
        await player.post(server.whep(name) + "?appKey=live")
        await backend.wait(lambda hooks: hooks[-1].short == "StreamStatusEvent PLAYING")
        second = backend.hooks[-1].body["sessionId"]
        await player.close()
        await backend.sequence(
            CONNECTED + PLAYED + ["stopStream", "StreamStatusEvent STOPPED"] + DISCONNECTED, second)
        await publisher.close()
        hooks = await backend.sequence(
            CONNECTED + PUBLISHED + ["unPublishStream", "StreamStatusEvent UNPUBLISHED"] + DISCONNECTED, first)
        assert hooks[0].body["custom"] == {"user": "ann", "token": "x"} and hooks[0].body["appKey"] == "live"
        assert hooks[0].body["mediaProviders"] == ["WebRTC"] and hooks[1].body["custom"] == hooks[0].body["custom"]
        assert first.startswith("/127.0.0.1:") and f":{server.http_port}-" in first
        assert hooks[2].body["published"] is True and hooks[2].body["name"] == name
        assert hooks[5].body["status"] == "PUBLISHING" and hooks[6].body["info"] == "Stopped by user"


async def test_a_lost_client_is_told_like_one_that_stopped(start_server, name):
    async with HookBackend() as backend:
        server = start_server({**backend.application(), "ice": {"keep_alive_timeout": "2s"}})
        publisher = AiortcPeer()
        publisher.send("VP8")
        await publisher.post(server.whip(name))
        await server.wait_live(name)
        for transceiver in publisher.pc.getTransceivers():
            await transceiver.sender.transport.transport._connection.close()
        hooks = await backend.sequence(
            CONNECTED + PUBLISHED + ["unPublishStream", "StreamStatusEvent FAILED"] + DISCONNECTED)
        assert hooks[6].body["info"] == "Failed by ICE keep alive"
        assert hooks[7].body["info"] == "connection lost"
        publisher.resource = None
        await publisher.close()


@pytest.mark.parametrize("method,status", [
    ("connect", 403), ("connect", 401), ("publishStream", 403), ("publishStream", 401), ("connect", 500)])
async def test_a_refusal_is_an_http_status(start_server, name, method, status):
    async with HookBackend({"connect": decides(), method: status}) as backend:
        server = start_server(backend.application())
        got, headers, body = await post(server.whip(name), make_offer(True), "secret-token")
        assert got == status, body
        assert ("WWW-Authenticate" in headers) == (status == 401)
        assert backend.hooks[0].body["custom"] == {"token": "secret-token"}
        if method == "connect":
            await backend.sequence(["connect", "ConnectionStatusEvent FAILED"] + DISCONNECTED)
        else:
            await backend.sequence(CONNECTED + ["publishStream", "StreamStatusEvent FAILED"] + DISCONNECTED)
        assert "secret-token" not in server.log_path.read_text()


async def test_a_refused_publisher_goes_on_under_LOG(start_server, name):
    async with HookBackend({"publishStream": 403}) as backend:
        server = start_server(backend.application())
        assert (await post(server.whip(name), make_offer(True)))[0] == 201


async def test_other_failures_keep_their_statuses(start_server, name):
    async with HookBackend() as backend:
        server = start_server({**backend.application(), "limits": {"streams": 1}})
        assert (await post(server.whip(name), make_offer(True)))[0] == 201
        assert (await post(server.whip(name), make_offer(True)))[0] == 409
        status, headers, body = await post(server.whip(name + "-more"), make_offer(True))
        assert status == 503 and "Retry-After" in headers, body
        assert (await post(server.whep("nothing"), make_offer(False)))[0] == 404
        assert (await post(server.whip(name) + "?appKey=nobody", make_offer(True)))[0] == 403
        other = start_server(backend.application())
        assert (await post(other.whip(name), make_offer(True, video=["THEORA"], audio=["SPEEX"])))[0] == 422
        await asyncio.sleep(0)
        failed = [h.body["info"] for h in backend.hooks if h.short == "StreamStatusEvent FAILED"]
        assert "Stream name is already in use" in failed and "Stream not found" in failed


async def test_the_backend_renames_what_whip_publishes(start_server, name):
    rewrite = {"restPolicy": "OVERWRITE", "restOverwrite": "name"}
    answers = {"connect": decides(publishStream=rewrite, playStream=rewrite),
               "publishStream": {"name": name}, "playStream": {"name": name}}
    async with HookBackend(answers) as backend:
        server = start_server(backend.application())
        publisher, player = AiortcPeer(), AiortcPeer()
        publisher.send("VP8")
        await publisher.post(server.whip("key-of-ann"))
        await server.wait_live(name)
        player.receive()
        await player.post(server.whep("alias"))
        await player.wait_frames(3)
        await player.close()
        await publisher.close()
