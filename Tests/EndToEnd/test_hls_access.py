"""Who may play by HLS: the hook playHLS, tokens, sessions; and what the operator sees and does."""

from __future__ import annotations

import asyncio
import asyncio
from urllib.parse import urljoin

import aiohttp
from aiohttp import web

import hls_playlist
from aiortc_peer import AiortcPeer
from hook_backend import HookBackend
from rest_api import call, done, found, get
from tokens import hs256, SECRET

LIMIT_SECONDS = 25


async def fetch(session: aiohttp.ClientSession, url: str, **headers) -> tuple[int, dict, bytes]:
    async with session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=LIMIT_SECONDS)) as got:
        return got.status, dict(got.headers), await got.read()


async def publish(server, name: str, query: str = "") -> AiortcPeer:
    peer = AiortcPeer()
    peer.send("H264")
    await peer.post(server.whip(name) + query)
    await server.wait_live(name)
    return peer


def address(server, name: str, query: str = "") -> str:
    return f"{server.hls_url}/{name}/{name}.m3u8{query}"


async def first_segment(session: aiohttp.ClientSession, url: str) -> tuple[str, str]:
    """Follows a multivariant playlist: URLs of its media playlist and of a segment."""
    status, _, body = await fetch(session, url)
    assert status == 200, body
    variants, _ = hls_playlist.multivariant(body)
    media = urljoin(url, variants[0][1])
    status, _, body = await fetch(session, media)
    assert status == 200, body
    return media, urljoin(media, hls_playlist.media(body).segments[0].uri)


async def decide(hook, _) -> web.Response:
    return web.Response(status=200 if hook.body.get("token") == "good" else 403)


async def test_the_backend_decides(start_server, name):
    async with HookBackend({"playHLS": decide}) as backend, aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar()) as session:
        server = start_server({**backend.application(), "hls": {"auth": True}})
        peer = await publish(server, name)
        media, segment = await first_segment(session, address(server, name, "?token=good&user=ann"))
        (hook,) = backend.of("playHLS")
        assert hook.body["name"] == name and hook.body["mediaProvider"] == "HLS" and hook.body["token"] == "good"
        assert hook.body["custom"] == {"token": "good", "user": "ann"}
        assert hook.body["mediaSessionId"].endswith(f"-{name}-HLS")
        # The session in the URL stands for the token; media need none.
        assert (await fetch(session, media))[0] == 200 and (await fetch(session, segment))[0] == 200
        assert len(backend.of("playHLS")) == 1
        for refused in (address(server, name, "?token=bad"), address(server, name), media.split("?")[0]):
            status, _, body = await fetch(session, refused)
            assert status == 401 and name.encode() not in body, (refused, status, body)
        # A session is for one stream, and names of media cannot be guessed.
        other = await publish(server, f"{name}2")
        await first_segment(session, address(server, f"{name}2", "?token=good"))
        assert (await fetch(session, media.replace(f"/{name}/", f"/{name}2/")))[0] == 401
        stem, token = segment.rsplit("/", 1)[1].split(".")[0].split("-")
        guess = segment.replace(token, token[::-1] if token != token[::-1] else "a")
        assert (await fetch(session, guess))[0] == 404
        await peer.close()
        await other.close()


async def test_a_backend_that_is_down_lets_nobody_in(start_server, name):
    async with HookBackend({"playHLS": 503}) as backend, aiohttp.ClientSession() as session:
        server = start_server({**backend.application(), "hls": {"auth": True}})
        peer = await publish(server, name)
        status, _, _ = await fetch(session, address(server, name, "?token=good"))
        assert status in (401, 503)
        await peer.close()


async def test_tokens_decide_without_a_backend(start_server, name):
    server = start_server({"tokens": {"hs256_secrets": [SECRET]}})
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        peer = await publish(server, name, f"?token={hs256({'publish': [name]})}")
        good = hs256({"play": [name]})
        media, _ = await first_segment(session, address(server, name, f"?token={good}"))
        status, _, _ = await fetch(session, address(server, name), Authorization=f"Bearer {good}")
        assert status == 200
        for refused in (address(server, name), address(server, name, f"?token={hs256({'play': ['x']})}"),
                        address(server, name, f"?token={good}A"), media.split("?")[0]):
            assert (await fetch(session, refused))[0] == 401, refused
        # Playlists of those who were let in are not for caches that others share.
        _, headers, _ = await fetch(session, media)
        assert headers["Cache-Control"].startswith("private")
        await peer.close()


async def test_the_operator_begins_sees_and_ends_outputs(start_server, name):
    server = start_server()
    peer = await publish(server, name)
    status, _ = await call(server, "hls/find_all")
    assert status == 404
    await done(server, "hls/startup", {"name": name})
    (output,) = await found(server, "hls/find_all")
    assert output["streamName"] == name and output["status"] == "ACTIVE" and output["subscribers"] == 0
    assert (await call(server, "hls/startup", {"name": "nobody"}))[0] == 404
    async with aiohttp.ClientSession() as session:
        media, _ = await first_segment(session, server.hls_url + output["playlist"])
        (output,) = await found(server, "hls/find_all")
        assert output["subscribers"] == 1 and output["profiles"] == ["main"]
        (profile,) = await found(server, "hls/profiles", {"hlsId": output["id"]})
        assert profile["codecs"][0].startswith("avc1.") and profile["width"] == 320 and profile["bandwidth"] > 10_000
        metrics = server.metrics()
        assert metrics["weir_hls_streams"] == metrics["weir_hls_viewers"] == 1 and metrics["weir_hls_memory_bytes"] > 0
        statistics = (await get(server, "/?action=stat"))[2]
        assert "connections_hls=1\n" in statistics and "streams_hls=1\n" in statistics
        # Other ports: the one that serves all, and TLS.
        for base in (server.http_url, f"https://127.0.0.1:{server.hls_tls_port}", f"https://127.0.0.1:{server.https_port}"):
            async with session.get(base + output["playlist"], ssl=False) as got:
                assert got.status == 200, base
        # Who comes while the server is emptied is sent away, who is there goes on.
        await done(server, "drain")
        assert (await fetch(session, server.hls_url + output["playlist"]))[0] == 503
        assert (await fetch(session, media))[0] == 200
        await done(server, "resume")
        await done(server, "hls/terminate", {"name": name})
        assert (await call(server, "hls/find_all"))[0] == 404
        assert (await call(server, "hls/terminate", {"name": name}))[0] == 404
        # The next request begins it anew, behind the old numbers.
        status, _, body = await fetch(session, media)
        assert status == 200 and hls_playlist.media(body).sequence >= 3, body
    await peer.close()


async def curl(url: str, *more: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "curl", "-k", "-s", "-o", "/dev/null", "-w", "%{http_version} %{response_code}\n", *more, url,
        stdout=asyncio.subprocess.PIPE)
    return (await asyncio.wait_for(process.communicate(), LIMIT_SECONDS))[0].decode()


async def test_http_2_under_tls(server, name):
    """Playlist and part at once on one connection; who does not know it speaks HTTP/1.1; not on ports with WHIP."""
    peer = await publish(server, name)
    secure = f"https://127.0.0.1:{server.hls_tls_port}"
    path = f"/{name}/{name}.m3u8"
    assert await curl(secure + path) == "2 200\n"
    assert await curl(secure + path, "--http1.1") == "1.1 200\n"
    assert await curl(f"https://127.0.0.1:{server.https_port}{path}") == "1.1 200\n"
    async with aiohttp.ClientSession() as session:
        media, segment = await first_segment(session, address(server, name))
        _, _, body = await fetch(session, media)
    last, part = hls_playlist.media(body).last
    media, segment = (secure + url.removeprefix(server.hls_url) for url in (media, segment))
    # The first of the two waits; the second overtakes it on the same connection.
    both = await curl(f"{media}&_HLS_msn={last}&_HLS_part={part + 2}", "--parallel", "-o", "/dev/null", segment)
    assert both == "2 200\n2 200\n", both
    assert await curl(f"{secure}/{name}/main/1-x.m4s") == "2 404\n"
    await peer.close()


async def test_output_is_begun_at_publish_and_ended_when_idle(start_server, name):
    server = start_server({"hls": {"auto_start": True}})
    peer = await publish(server, name)
    assert [output["streamName"] for output in await found(server, "hls/find_all")] == [name]
    await peer.close()


async def test_switched_off_there_is_none(start_server, name):
    server = start_server({"hls": {"enabled": False}})
    assert (await call(server, "hls/find_all"))[0] == 501
    async with aiohttp.ClientSession() as session:
        assert (await fetch(session, f"{server.http_url}/{name}/{name}.m3u8"))[0] == 404
