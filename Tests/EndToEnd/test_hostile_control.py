"""Hostile WebSocket clients and HTTP requests: refused and counted, while a stream and its control go on.

Counters: weir_wcs_rejected_total by reason, weir_http_requests_total by status, weir_http_malformed_total,
weir_http_connections_without_request_total.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
import time

from hostile import live  # noqa: F401 (a fixture)
from hostile import LiveStream, wcs_rejected

TEXT, CONTINUATION, PING, CLOSE = 1, 0, 9, 8
TEN_MEGABYTES = 10_000_000
CLOSE_LIMIT_SECONDS = 5.0
# The longest time that the server gives a client to say something whole: a body, 15 s (HTTPConfiguration.bodyTimeout).
SLOW_LIMIT_SECONDS = 20.0


def frame(opcode: int, payload: bytes, final: bool = True, announced: int | None = None) -> bytes:
    """A masked frame (RFC 6455 section 5.2); `announced` is the length that it claims to have."""
    length = len(payload) if announced is None else announced
    head = bytes([opcode | (0x80 if final else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack(">H", length)
    else:
        head += bytes([0x80 | 127]) + struct.pack(">Q", length)
    # A mask of zeros is a mask.
    return head + bytes(4) + payload


class RawClient:
    """A WebSocket client that does as it is told, right or wrong."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, live: LiveStream, connect: bool = True, receive_buffer: int | None = None) -> "RawClient":
        one = socket.socket()
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", live.server.ws_port))
        client = cls(*await asyncio.open_connection(sock=one, limit=1 << 12))
        key = base64.b64encode(os.urandom(16)).decode()
        client.writer.write(
            f"GET / HTTP/1.1\r\nHost: weir\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        if connect:
            await client.message("connection", {"appKey": "defaultApp", "clientVersion": "2.0"})
        return client

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()
        # `drain` waits only for a full buffer; the stream in this process must go on, too.
        await asyncio.sleep(0)

    async def message(self, name: str, payload) -> None:
        await self.send(frame(TEXT, json.dumps({"message": name, "data": [payload]}).encode()))

    async def close_code(self, limit: float = CLOSE_LIMIT_SECONDS) -> int | None:
        """Reads until the server ends the connection: the code of its close frame, None without one."""
        async def read() -> int | None:
            while True:
                head = await self.reader.readexactly(2)
                length = head[1] & 0x7F
                if length > 125:
                    length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8))
                payload = await self.reader.readexactly(length)
                if head[0] & 0x0F == CLOSE:
                    return struct.unpack(">H", payload[:2])[0]
        try:
            return await asyncio.wait_for(read(), limit)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        self.writer.close()


@contextlib.asynccontextmanager
async def raw_client(live: LiveStream, **options):
    client = await RawClient.open(live, **options)
    try:
        yield client
    finally:
        client.close()


# WebSocket -----------------------------------------------------------------------------------------------------------

async def test_sdp_of_ten_megabytes(live):
    sdp = "v=0\r\n" * (TEN_MEGABYTES // 5)
    whole = frame(TEXT, json.dumps({"message": "publishStream", "data": [{"name": "x", "sdp": sdp}]}).encode())
    async with live.unaffected(wcs_rejected("message_too_long")):
        async with raw_client(live) as client:
            with contextlib.suppress(ConnectionError):
                await client.send(whole)
            assert await client.close_code() in (1009, None)


async def test_long_sdp_below_the_limit_is_refused_by_its_reader(live, name):
    """Within the limit of a message, beyond that of an SDP: lines, sections and attributes without end."""
    long = ["v=0\r\no=- 1 1 IN IP4 0\r\ns=-\r\nt=0 0\r\n" + body for body in (
        "a=x\r\n" * 50_000, "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 5000, "a=" + "x" * 200_000 + "\r\n",
        "m=video 9 UDP/TLS/RTP/SAVPF" + " 96" * 60_000 + "\r\n")]
    async with live.unaffected():
        async with raw_client(live) as client:
            for sdp in long:
                await client.message("publishStream", {
                    "mediaSessionId": os.urandom(8).hex(), "name": name, "sdp": sdp, "hasVideo": True,
                    "hasAudio": True})
            failed = 0
            while failed < len(long):
                line = await asyncio.wait_for(client.reader.readuntil(b"FAILED"), CLOSE_LIMIT_SECONDS)
                failed += line.count(b"FAILED")


async def test_deep_json(live):
    deep = b'{"message":"sendData","data":[' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"]}"
    # The client goes last: closing a socket with unread bytes in it takes back what it has sent.
    async with raw_client(live) as client, live.unaffected(wcs_rejected("json_too_deep"), least=2):
        await client.send(frame(TEXT, b"[" * 200_000))
        await client.send(frame(TEXT, deep))


async def test_json_with_very_many_values(live):
    async with raw_client(live) as client, live.unaffected(wcs_rejected("json_too_many_values")):
        await client.send(frame(TEXT, b'{"message":"sendData","data":[' + b"0," * 400_000 + b"0]}"))


async def test_endless_fragments(live):
    """Small fragments of one message without end, and empty ones."""
    async with live.unaffected(wcs_rejected("too_many_fragments")):
        for piece in (b"x", b""):
            async with raw_client(live) as client:
                await client.send(frame(TEXT, b"x", final=False))
                with contextlib.suppress(ConnectionError):
                    for _ in range(200):
                        await client.send(frame(CONTINUATION, piece, final=False) * 1000)
                assert await client.close_code() in (1002, 1008, 1009, None)


async def test_large_fragments_without_end(live):
    async with live.unaffected(wcs_rejected("message_too_long")):
        async with raw_client(live) as client:
            await client.send(frame(TEXT, b"x", final=False))
            with contextlib.suppress(ConnectionError):
                for _ in range(400):
                    await client.send(frame(CONTINUATION, b"x" * 60_000, final=False))
            assert await client.close_code() in (1009, None)


async def test_giant_frames_are_refused_by_their_head(live):
    async with live.unaffected(wcs_rejected("message_too_long"), least=2):
        for announced in ((1 << 63) - 1, 1 << 40):
            async with raw_client(live) as client:
                await client.send(frame(TEXT, b"beginning", announced=announced))
                assert await client.close_code() in (1009, 1002)


async def test_frames_that_break_the_protocol(live):
    broken = [
        bytes([0xF1, 0x80]) + bytes(4),  # reserved bits
        bytes([0x83, 0x80]) + bytes(4),  # reserved opcode
        bytes([0x81, 0x05]) + b"plain",  # not masked
        frame(PING, b"x" * 200),  # long control frame
        frame(PING, b"x", final=False),  # control frame in fragments
        frame(CONTINUATION, b"x"),  # continues nothing
    ]
    async with live.unaffected(wcs_rejected("frame_protocol"), least=len(broken)):
        for one in broken:
            async with raw_client(live) as client:
                await client.send(one)
                assert await client.close_code() in (1002, None), one


async def test_invalid_utf8(live):
    async with live.unaffected(wcs_rejected("bad_utf8"), least=3):
        for text in (b"\xff\xfe", b'{"message":"\xc0\x80","data":[]}', b'{"message":"x","data":["\xed\xa0\x80"]}'):
            async with raw_client(live) as client:
                await client.send(frame(TEXT, text))
                assert await client.close_code() in (1007, None), text


async def test_flood_of_refused_messages_ends_the_connection(live):
    async with live.unaffected(wcs_rejected("too_many_rejected")):
        async with raw_client(live) as client:
            with contextlib.suppress(ConnectionError):
                for _ in range(200):
                    await client.send(frame(TEXT, b"{") * 100)
            assert await client.close_code() in (1008, 1002, None)


async def test_client_that_does_not_read(live):
    """Each request is answered, no answer is read: what waits is bounded, then the client goes."""
    async with live.unaffected(wcs_rejected("slow_reader")):
        async with raw_client(live, receive_buffer=4096) as client:
            request = frame(TEXT, json.dumps({
                "message": "playStream", "data": [{"mediaSessionId": "m", "name": "no-such-stream", "sdp": "v=0\r\n"}],
            }).encode())
            end = time.monotonic() + 20
            with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
                while time.monotonic() < end and not client.writer.is_closing():
                    client.writer.write(request * 200)
                    await asyncio.wait_for(client.writer.drain(), 2)


# HTTP ----------------------------------------------------------------------------------------------------------------

async def open_http(live: LiveStream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", live.server.http_port)


async def status_of(reader: asyncio.StreamReader) -> int | None:
    """Status of the response; None when the connection ends without one."""
    try:
        line = await asyncio.wait_for(reader.readline(), CLOSE_LIMIT_SECONDS)
    except ConnectionError:
        return None
    return int(line.split()[1]) if line else None


def answered(route: str, method: str, status: int) -> str:
    """Name of the counter of answered requests."""
    return f'weir_http_requests_total{{method="{method}",route="{route}",status="{status}"}}'


async def test_whip_body_of_ten_megabytes(live):
    async with live.unaffected(answered("/whip/{name}", "POST", 413)):
        reader, writer = await open_http(live)
        writer.write(
            f"POST /whip/x HTTP/1.1\r\nHost: weir\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {TEN_MEGABYTES}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(TEN_MEGABYTES // 50_000):
                writer.write(b"v" * 50_000)
                await writer.drain()
        assert await status_of(reader) in (413, None)
        writer.close()


async def test_whip_body_without_end(live):
    async with live.unaffected(answered("/whip/{name}", "POST", 413)):
        reader, writer = await open_http(live)
        writer.write(
            b"POST /whip/x HTTP/1.1\r\nHost: weir\r\nContent-Type: application/sdp\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20 and not reader.at_eof():
                writer.write(b"4000\r\n" + b"v" * 0x4000 + b"\r\n")
                await asyncio.wait_for(writer.drain(), CLOSE_LIMIT_SECONDS)
                sent += 0x4000
                if sent > 1 << 20 and reader._buffer:
                    break
        assert await status_of(reader) in (413, None)
        assert sent < 64 << 20, "the body was read to its end, which it has not"
        writer.close()


async def test_flood_of_headers(live):
    floods = [b"".join(b"X-%d: y\r\n" % n for n in range(100_000)), b"X: " + b"y" * 2_000_000 + b"\r\n",
              b"X" * 2_000_000 + b": y\r\n"]
    async with live.unaffected("weir_http_malformed_total", least=len(floods)):
        for headers in floods:
            reader, writer = await open_http(live)
            with contextlib.suppress(ConnectionError):
                writer.write(b"GET /health HTTP/1.1\r\nHost: weir\r\n" + headers)
                await asyncio.wait_for(writer.drain(), CLOSE_LIMIT_SECONDS)
            assert await status_of(reader) in (400, 431, None)
            writer.close()


async def trickle(live: LiveStream, port: int, text: bytes, at: int) -> float:
    """Sends `text` up to `at`, then a byte now and then: seconds until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin = time.monotonic()
    writer.write(text[:at])
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - begin < SLOW_LIMIT_SECONDS and not reader.at_eof():
            writer.write(text[at:at + 1])
            at += 1
            await writer.drain()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1000), 0.5)
    writer.close()
    return time.monotonic() - begin


async def test_slow_and_silent_connections(live):
    """A byte now and then keeps no connection: not in the head of a request, not in its body, not in an upgrade."""
    head = b"GET /health HTTP/1.1\r\nHost: weir\r\nX-Slow: " + b"y" * 1000
    body = (b"POST /whip/x HTTP/1.1\r\nHost: weir\r\nContent-Type: application/sdp\r\nContent-Length: 2000\r\n\r\n"
            + b"v" * 1000)
    upgrade = b"GET / HTTP/1.1\r\nHost: weir\r\nUpgrade: websocket\r\nX-Slow: " + b"y" * 1000
    http, ws = live.server.http_port, live.server.ws_port
    async with live.unaffected(
            "weir_http_connections_without_request_total", answered("/whip/{name}", "POST", 408),
            wcs_rejected("handshake_timeout"), wcs_rejected("first_message_timeout")):
        quiet = await RawClient.open(live, connect=False)
        seconds = await asyncio.gather(
            trickle(live, http, head, 60), trickle(live, http, body, 150), trickle(live, ws, upgrade, 60),
            *(trickle(live, ws, b"", 0) for _ in range(20)), *(trickle(live, http, b"", 0) for _ in range(20)))
        assert max(seconds) < SLOW_LIMIT_SECONDS, seconds
        await quiet.close_code()
        quiet.close()
