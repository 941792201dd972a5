"""Who may play by RTSP: the hook playRTSP, tokens, names and passwords; and what else is refused, by which status."""

from __future__ import annotations

import asyncio
import urllib.parse

import pytest
from aiohttp import web

from hook_backend import HookBackend
from rtsp_client import RtspClient
from test_rtsp import SETTINGS, Publisher, run
from tokens import SECRET, hs256

LIMIT_SECONDS = 25.0


async def decide(hook, _) -> web.Response:
    return web.Response(status=200 if hook.body.get("token") == "good" else 403)


async def test_the_backend_is_asked_at_every_method_but_options(start_server, clips):
    async with HookBackend({"playRTSP": decide}) as backend:
        server = start_server({**SETTINGS, **backend.application()})
        async with Publisher(server, clips("VP8", 6), name="live"):
            url = server.rtsp("live") + "?token=good&user=ann"
            async with RtspClient(url, user_agent="camera wall/1") as client:
                assert (await client.ask("OPTIONS")).status == 200
                assert not backend.of("playRTSP")
                await client.play()
                await client.until(lambda: len(client.of("video")) > 3)
                assert (await client.ask("GET_PARAMETER")).status == 200
                assert (await client.ask("TEARDOWN")).status == 200
            hooks = backend.of("playRTSP")
            # DESCRIBE, two SETUPs, PLAY, GET_PARAMETER, TEARDOWN.
            assert len(hooks) == 6, [hook.body for hook in hooks]
            for hook in hooks:
                body = hook.body
                assert body["name"] == "live" and body["mediaProvider"] == "RTSP" and body["token"] == "good", body
                assert body["User-Agent"] == "camera wall/1" and body["rtspUrl"] == url, body
                assert body["mediaSessionId"].endswith("-live-RTSP") and body["custom"]["user"] == "ann", body
                assert "127.0.0.1:" in body["sessionId"], body
            # A refusal closes the connection, and says nothing about whether there is such a stream.
            for name in ("live", "nothing"):
                async with RtspClient(server.rtsp(name) + "?token=bad") as client:
                    assert (await client.describe()).status == 403
                    await client.closed()
            metrics = server.metrics()
            assert metrics['weir_rtsp_closed_total{reason="refused"}'] == 2


async def test_tokens_decide_and_end(start_server, clips):
    server = start_server({**SETTINGS, "tokens": {"hs256_secrets": [SECRET], "end_at_expiry": True, "leeway": "0s"}})
    publisher = Publisher(server, clips("VP8", 6), name="live")
    whip = server.whip
    server.whip = lambda name: f"{whip(name)}?token={hs256({'publish': [name]})}"
    async with publisher:
        for query in ("", f"?token={hs256({'play': ['other']})}"):
            async with RtspClient(server.rtsp("live") + query) as client:
                assert (await client.describe()).status in (401, 403)
        async with RtspClient(f"{server.rtsp('live')}?token={hs256({'play': ['live']}, lifetime=3)}") as short, \
                RtspClient(f"{server.rtsp('live')}?token={hs256({'play': ['live']})}") as long:
            await asyncio.gather(short.play(), long.play())
            await short.closed()
            assert not long.is_closed
    assert server.metrics()['weir_rtsp_closed_total{reason="rights_ended"}'] == 1


async def test_names_and_passwords(start_server, clips, tmp_path):
    server = start_server({**SETTINGS, "rtsp": {"login": "play", "users": {"ann": "pass word:1"}, "realm": "here"}})
    async with Publisher(server, clips("VP8", 6), name="live"):
        async with RtspClient(server.rtsp("live")) as client:
            answer = await client.describe()
            assert answer.status == 401 and 'realm="here"' in answer.headers["www-authenticate"], answer
            assert answer.headers["www-authenticate"].startswith("Digest")
        password = urllib.parse.quote("pass word:1", safe="")
        for secure in (False, True):
            url = server.rtsp("live", secure).replace("://", f"://ann:{password}@")
            await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", "tcp", "-i", url, "-t", "0.5", "-c", "copy",
                      str(tmp_path / f"{secure}.mkv"), limit=LIMIT_SECONDS)
        wrong = server.rtsp("live").replace("://", "://ann:wrong@")
        with pytest.raises(AssertionError, match="401"):
            await run("ffmpeg", "-v", "error", "-y", "-rtsp_transport", "tcp", "-i", wrong, "-t", "0.5", "-c", "copy",
                      str(tmp_path / "wrong.mkv"), limit=LIMIT_SECONDS)


async def test_statuses(start_server, clips):
    server = start_server({**SETTINGS, "rtsp": {"publish": False, "sound_transcodings": 0}})
    async with Publisher(server, clips("VP8", 6), name="live"), RtspClient(server.rtsp("live")) as client:
        assert "ANNOUNCE" not in (await client.ask("OPTIONS")).headers["public"]
        assert (await client.ask("PLAY")).status == 455
        assert (await client.ask("DESCRIBE", server.rtsp("nothing"))).status == 404
        assert (await client.ask("ANNOUNCE", server.rtsp("mine"))).status == 405
        assert (await client.ask("FLY")).status == 501
        refused = await client.ask("DESCRIBE", Require="warp-drive")
        assert refused.status == 551 and refused.headers["unsupported"] == "warp-drive"
        for wish, status, reason in (("aac", 415, "rtsp.sound_transcodings"), ("mp3", 400, "audio=aac")):
            refused = await client.ask("DESCRIBE", server.rtsp("live") + f"?audio={wish}")
            assert refused.status == status and reason in refused.reason, refused
        assert (await client.describe()).status == 200
        track = client.tracks[0].control
        for transport in ("RTP/SAVP/TCP;interleaved=0-1", "RTP/AVP;multicast", "RTP/AVP;unicast;client_port=22-23"):
            assert (await client.ask("SETUP", track, Transport=transport)).status == 461, transport
        assert (await client.ask("SETUP", server.rtsp("live/trackID=9"), Transport="RTP/AVP/TCP")).status == 404
        await client.set_up()
        assert (await client.ask("PLAY", Session="nobody")).status == 454
        assert (await client.ask("PLAY", Range="clock=20200101T000000Z-")).status == 457
        assert (await client.ask("PLAY", Range="npt=now-")).status == 200
        assert (await client.ask("SETUP", track, Transport="RTP/AVP/TCP")).status == 455
        assert (await client.ask("TEARDOWN")).status == 200
        client.session = ""
        assert (await client.ask("TEARDOWN")).status == 454


async def test_connections_beyond_the_limit_are_closed(start_server):
    server = start_server({"limits": {"connections_per_address": 3, "connections": 10}})
    async with RtspClient(server.rtsp("a")) as one, RtspClient(server.rtsp("a")) as two:
        assert (await one.ask("OPTIONS")).status == (await two.ask("OPTIONS")).status == 200
        async with RtspClient(server.rtsp("a")) as three, RtspClient(server.rtsp("a")) as four:
            await asyncio.gather(*(asyncio.wait({asyncio.create_task(c.closed())}, timeout=1) for c in (three, four)))
            assert three.is_closed or four.is_closed
