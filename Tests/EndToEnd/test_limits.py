"""Every limit of the configuration: what is above it is refused with a reason and counted, what is there goes on."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest
import websockets

from offers import make_offer
from wcs_client import WcsClient

OFFER = make_offer(True)


def rejections(server, metric: str, reason: str) -> float:
    return server.metrics().get(f'{metric}{{reason="{reason}"}}', 0)


async def eventually(condition, limit: float = 5.0) -> None:
    """Waits until the function returns something true; a refused connection is "not yet"."""
    end = asyncio.get_running_loop().time() + limit
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert asyncio.get_running_loop().time() < end, "did not happen in time"
        await asyncio.sleep(0.05)


async def refused_connection(url: str) -> None:
    """A WebSocket that the server closes before the handshake."""
    with pytest.raises((OSError, EOFError, websockets.InvalidHandshake, websockets.InvalidMessage)):
        async with websockets.connect(url):
            pass


def post_offer(url: str, offer: str = OFFER) -> tuple[int, dict]:
    """(status, problem details) of a refused WHIP or WHEP request."""
    request = urllib.request.Request(url, offer.encode(), {"Content-Type": "application/sdp"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert refused.value.headers["Content-Type"].startswith("application/problem+json")
    return refused.value.code, json.load(refused.value)


async def test_connections_are_one_total_over_all_listeners(start_server):
    server = start_server({"limits": {"connections": 6, "connections_per_address": 6}})
    held = []
    for port in (server.ws_port, server.wss_port, server.http_port, server.https_port, server.ws_port):
        held.append((await asyncio.open_connection("127.0.0.1", port))[1])
    # Five are held; the metrics need one more, which is closed again each time.
    await eventually(lambda: server.metrics()["weir_wcs_connections"] == 3)
    held.append(await take_last_place(server))
    await refused_connection(server.ws_url)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.https_port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    held.pop(0).close()
    await eventually(lambda: answers(server))
    await eventually(lambda: rejections(server, "weir_wcs_rejected_total", "too_many_connections") >= 1)
    await eventually(
        lambda: rejections(server, "weir_http_connections_refused_total", "too_many_connections") >= 1)
    log = server.log_tail()
    assert "too_many_connections" in log and "HTTP connection refused" in log
    for writer in held:
        writer.close()
    await eventually(lambda: server.metrics()["weir_wcs_connections"] == 0)
    async with WcsClient(server.ws_url) as client:
        await client.connect()


async def take_last_place(server) -> asyncio.StreamWriter:
    """Opens an HTTP connection that is answered and stays open. The one that asked for the metrics before may still
    hold the place."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            if b"200" in await asyncio.wait_for(reader.readline(), 5):
                return writer
        except ConnectionError:
            pass
        writer.close()
        await asyncio.sleep(0.05)


def answers(server) -> bool:
    try:
        return urllib.request.urlopen(f"{server.http_url}/health", timeout=1).status == 200
    except OSError:
        return False


async def test_one_address_gets_its_share_over_all_listeners(start_server):
    server = start_server({"limits": {"connections": 100, "connections_per_address": 3}})
    async with WcsClient(server.ws_url) as first, WcsClient(server.ws_url) as second:
        await first.connect()
        await second.connect()
        writer = await take_last_place(server)
        await refused_connection(server.ws_url)
        assert not answers(server)
        await first.answer(await first.publish("goes-on", OFFER))
        writer.close()
        await eventually(lambda: answers(server))
        await eventually(lambda: rejections(server, "weir_wcs_rejected_total", "too_many_from_address") == 1)
        await eventually(
            lambda: rejections(server, "weir_http_connections_refused_total", "too_many_from_address") >= 1)


async def test_sessions(start_server, name):
    server = start_server({"limits": {"sessions": 2}})
    async with WcsClient(server.ws_url) as first, WcsClient(server.ws_url) as second, \
            WcsClient(server.ws_url) as third:
        await first.connect()
        await second.connect()
        await third.send("connection", {"appKey": "defaultApp", "mediaProviders": ["WebRTC"]})
        failed = (await third.expect("fail"))[0]
        assert failed["info"] == "Too many sessions" and failed["apiMethod"] == "ConnectionStatusEvent"
        await asyncio.wait_for(third.reader, 5)
        status, problem = post_offer(server.whip(name))
        assert status == 503 and "Too many sessions" in json.dumps(problem)
        await first.answer(await first.publish(name, OFFER))
    assert rejections(server, "weir_control_rejections_total", "tooManySessions") == 2

    async def free() -> None:
        async with WcsClient(server.ws_url) as client:
            await client.connect()
    await eventually(lambda: server.metrics()["weir_control_sessions"] == 0)
    await free()


async def test_published_streams(start_server, name):
    server = start_server({"limits": {"streams": 2}})
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        first = await client.publish(f"{name}-1", OFFER)
        await client.answer(first)
        await client.answer(await client.publish(f"{name}-2", OFFER))
        assert await client.failure(await client.publish(f"{name}-3", OFFER)) == "Limit of published streams is reached"
        status, problem = post_offer(server.whip(f"{name}-4"))
        assert status == 503 and "Limit of published streams is reached" in json.dumps(problem)
        assert rejections(server, "weir_control_rejections_total", "limitOfstreams") == 2
        await client.stop(first, f"{name}-1", published=True)
        await client.status(first, "UNPUBLISHED")
        await client.answer(await client.publish(f"{name}-3", OFFER))


async def test_streams_of_one_session(start_server, name):
    server = start_server({"limits": {"streams_per_session": 2}})
    async with WcsClient(server.ws_url) as client, WcsClient(server.ws_url) as other:
        await client.connect()
        await other.connect()
        for index in range(2):
            await client.answer(await client.publish(f"{name}-{index}", OFFER))
        failure = await client.failure(await client.publish(f"{name}-2", OFFER))
        assert failure == "Limit of streams of this session is reached"
        await other.answer(await other.publish(f"{name}-2", OFFER))
        assert rejections(server, "weir_control_rejections_total", "limitOfstreamsPerSession") == 1


@pytest.mark.parametrize("limit, info, label", [
    ("players", "Limit of players is reached", "limitOfplayers"),
    ("players_per_stream", "Limit of players of this stream is reached", "limitOfplayersPerStream"),
])
async def test_players(start_server, new_page, name, limit, info, label):
    server = start_server({"limits": {limit: 2}})
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await player.wcs_play(server, name, "a")
    await player.wcs_play(server, name, "b")
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        assert await client.failure(await client.play(name, make_offer(False))) == info
    status, problem = post_offer(server.whep(name), make_offer(False))
    assert status == 503 and info in json.dumps(problem)
    assert rejections(server, "weir_control_rejections_total", label) == 2
    seen = (await player.wait_frames("b"))["video"]["frames"]
    await player.wait_frames("b", seen + 10)
    await player.call("stop", "a")
    await player.call("waitStatus", "a", ["STOPPED"], 3000)
    await player.wcs_play(server, name, "c")
    await player.wait_frames("c")
