"""SIGTERM: every client is told, the process ends within `shutdown.timeout`; a second signal ends it at once."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import pytest
import websockets

from offers import make_offer
from wcs_client import WcsClient

GOING_AWAY = 1001
SHUTDOWN_SECONDS = 2
# What the operating system and the test machine need on top of the setting.
GRACE_SECONDS = 1.5


async def wait_end(server, limit: float) -> int:
    """Exit status of the server process, which must come within `limit` seconds."""
    return await asyncio.get_running_loop().run_in_executor(None, lambda: server.process.wait(limit))


async def test_publisher_and_player_are_told_and_their_sockets_closed(start_server, new_page, name):
    server = start_server()
    publisher, player = await new_page(), await new_page()
    await publisher.wcs_publish(server, name, "VP8")
    await player.wcs_play(server, name)
    await player.wait_frames("play")
    async with WcsClient(server.ws_url) as idle:
        await idle.connect()
        server.process.send_signal(signal.SIGTERM)
        assert await wait_end(server, GRACE_SECONDS + SHUTDOWN_SECONDS) == 0
        await asyncio.wait_for(idle.reader, GRACE_SECONDS)
        assert (idle.socket.close_code, idle.socket.close_reason) == (GOING_AWAY, "server shutdown")
    for page, key in ((publisher, "pub"), (player, "play")):
        facts = await page.call("describe", key)
        assert (facts["status"], facts["info"]) == ("FAILED", "Requested stream shutdown"), facts
        assert facts["history"].count("FAILED") == 1, facts["history"]
        assert (await page.call("wcsSession", key))["closed"]


async def test_nothing_new_is_taken_and_health_says_so(start_server, name):
    """A client that never answers the closing handshake keeps the end open long enough to look."""
    server = start_server({"shutdown": {"timeout": "4s"}})
    offer = make_offer(True)
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        identifier = await client.publish(name, offer)
        await client.answer(identifier)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in await reader.readline()
        server.process.send_signal(signal.SIGTERM)
        await client.status(identifier, "FAILED")
        await wait_end(server, 4 + GRACE_SECONDS)
        for port in (server.ws_port, server.wss_port, server.http_port, server.https_port, server.media_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 1)
        writer.close()


def half_request(port: int) -> socket.socket:
    """A client in the middle of a request, of which nothing more will come."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"POST /whip/stuck HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
                   b"Content-Length: 1000\r\n\r\nv=0\r\n")
    return client


def stuck_websocket(port: int) -> socket.socket:
    """An upgraded WebSocket that reads nothing and answers nothing."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    assert client.recv(12).startswith(b"HTTP/1.1 101")
    return client


async def test_clients_that_hang_do_not_hold_the_end_up(start_server):
    server = start_server({"shutdown": {"timeout": f"{SHUTDOWN_SECONDS}s"}})
    stuck = [half_request(server.http_port), stuck_websocket(server.ws_port),
             socket.create_connection(("127.0.0.1", server.media_port)),
             socket.create_connection(("127.0.0.1", server.wss_port)),
             socket.create_connection(("127.0.0.1", server.https_port))]
    async with WcsClient(server.ws_url, answer_pings=False) as client:
        await client.connect()
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        status = await wait_end(server, SHUTDOWN_SECONDS + GRACE_SECONDS)
        assert status == 0
        print(f"\nended after {time.monotonic() - begin:.2f} s with clients that hang")
    for one in stuck:
        one.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_ends_at_once(start_server, number):
    server = start_server({"shutdown": {"timeout": "30s"}})
    stuck = [half_request(server.http_port), stuck_websocket(server.ws_port)]
    server.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 5
    while "Ending" not in server.log_tail():
        assert time.monotonic() < end, "no word of the first signal in the log"
        await asyncio.sleep(0.02)
    assert server.is_running, "nothing held the end up, so a second signal proves nothing"
    begin = time.monotonic()
    server.process.send_signal(number)
    assert await wait_end(server, 1.0) == 128 + number
    assert time.monotonic() - begin < 0.5
    server.expected_status = 128 + number
    for one in stuck:
        one.close()


async def test_socket_that_connects_while_the_server_ends_is_sent_away(start_server):
    server = start_server({"shutdown": {"timeout": "10s"}})
    hanging = stuck_websocket(server.ws_port)
    async with WcsClient(server.ws_url) as client:
        await client.connect()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(client.reader, 5)
        try:
            late = await websockets.connect(server.ws_url)
        except (OSError, websockets.InvalidHandshake):
            pass  # the port is closed already, or closed meanwhile
        else:
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(late.recv(), 5)
    hanging.close()
    assert await wait_end(server, 10 + GRACE_SECONDS) == 0
