"""Hostile bytes at the ICE-TCP port: connections without an authenticated check are few, small and short-lived.

Counters: weir_media_tcp_connections_refused_total, weir_media_datagrams_rejected_total by reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time

import pytest

from hostile import live  # noqa: F401 (a fixture)
from hostile import BINDING_SUCCESS, Credentials, LiveStream, check, client_hello, noise, open_publisher, rejected

REFUSED = "weir_media_tcp_connections_refused_total"
# What the kernel takes beyond the 16 KiB that the server reads, before the attacker learns that it has been cut off.
SOCKET_BUFFERS = 8 << 20
# Time for the first authenticated check (TCPConnection.checkTimeout), with the slack of a busy machine.
CHECK_LIMIT_SECONDS = 10.0
SLACK_SECONDS = 10.0


def framed(packet: bytes) -> bytes:
    """RFC 4571: two bytes of length, then the packet."""
    return struct.pack(">H", len(packet)) + packet


class Attacker:
    """One TCP connection to the media port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, live: LiveStream) -> "Attacker":
        return cls(*await asyncio.open_connection("127.0.0.1", live.server.media_port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self, limit: float) -> bool:
        """Whether the server closes the connection within that time, having sent nothing more."""
        try:
            return await asyncio.wait_for(self.reader.read(1), limit) == b""
        except ConnectionError:
            return True
        except asyncio.TimeoutError:
            return False

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def send_until_closed(attacker: Attacker, piece: bytes, most: int) -> int:
    """Bytes taken by the connection before it closed; fails if it takes more than `most`."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while not attacker.reader.at_eof():
            assert sent < most, f"the connection took {sent} bytes"
            await asyncio.wait_for(attacker.send(piece), 5)
            sent += len(piece)
            await asyncio.sleep(0)
    return sent


async def test_endless_frames(live):
    """Empty, random, of the longest announced, of hellos and of checks for nobody: each connection is closed soon."""
    pieces = [framed(b"") * 512, framed(os.urandom(200)) * 20, framed(client_hello()) * 10, b"\xff\xff" + bytes(1022),
              framed(check("nobody:peer", "x" * 24)) * 10]

    async def attack(piece: bytes) -> None:
        attacker = await Attacker.open(live)
        try:
            await send_until_closed(attacker, piece, SOCKET_BUFFERS)
            assert await attacker.closed(1), "the connection is still open"
        finally:
            await attacker.close()

    async with live.unaffected(REFUSED, least=len(pieces)):
        await asyncio.gather(*(attack(piece) for piece in pieces))


async def test_frames_in_pieces(live):
    """A byte at a time: nothing is read beyond a frame, nothing is kept beyond the limit."""
    attacker = await Attacker.open(live)
    try:
        async with live.unaffected(REFUSED, rejected("malformed")):
            for byte in framed(b"\0" * 40) * 40 + os.urandom(500):
                await attacker.send(bytes([byte]))
            await send_until_closed(attacker, framed(os.urandom(500)), SOCKET_BUFFERS)
    finally:
        await attacker.close()


async def test_noise(live):
    source = noise(int.from_bytes(os.urandom(4)))
    async with live.unaffected(REFUSED, least=40):
        for _ in range(40):
            attacker = await Attacker.open(live)
            with contextlib.suppress(ConnectionError):
                for _ in range(60):
                    await attacker.send(next(source))
            assert await attacker.closed(1), "noise is read for ever"
            await attacker.close()


async def test_lying_length_of_an_authenticated_peer(live, name):
    """An authenticated connection is not cut off at 16 KiB, but no packet of 64 KiB is taken either."""
    peer = await open_publisher(live, name)
    attacker = await Attacker.open(live)
    try:
        known = Credentials.of(peer)
        async with live.unaffected(REFUSED, rejected("malformed")):
            await attacker.send(framed(check(known.user, known.server_password)))
            length = struct.unpack(">H", await asyncio.wait_for(attacker.reader.readexactly(2), 3))[0]
            reply = await attacker.reader.readexactly(length)
            assert struct.unpack_from(">H", reply)[0] == BINDING_SUCCESS
            await attacker.send(b"\xff\xff" + os.urandom(0xFFFF))
            end = time.monotonic() + 3
            while not attacker.reader.at_eof() and time.monotonic() < end:
                # What the server still says on the connection (DTLS) is of no interest.
                with contextlib.suppress(asyncio.TimeoutError, ConnectionError):
                    await asyncio.wait_for(attacker.reader.read(4096), 0.2)
            assert attacker.reader.at_eof(), "the connection is still open"
    finally:
        await attacker.close()
        await peer.close()


@pytest.mark.limit(90)
async def test_half_open_connections_are_closed(live, full):
    count = 800 if full else 200
    files = live.server.open_files()
    begin = time.monotonic()
    async with live.unaffected(REFUSED, least=count):
        attackers = [await Attacker.open(live) for _ in range(count)]
        # Half of them say something that is never finished.
        for attacker in attackers[::2]:
            await attacker.send(b"\0\x50\0\1")
        async with asyncio.timeout(CHECK_LIMIT_SECONDS):
            while live.server.open_files() < files + count / 2:
                await asyncio.sleep(0.05)
        closed = await asyncio.gather(*(a.closed(CHECK_LIMIT_SECONDS + SLACK_SECONDS) for a in attackers))
        assert all(closed), f"{closed.count(False)} of {count} are still open after {time.monotonic() - begin:.1f} s"
        assert time.monotonic() - begin > CHECK_LIMIT_SECONDS / 2, "closed before a slow peer could have checked"
        assert live.server.open_files() <= files + 10
        for attacker in attackers:
            await attacker.close()


async def test_more_connections_than_allowed(start_server):
    """The bound is for each worker; what is above it is closed at once."""
    server = start_server({"media": {"workers": 1, "tcp_connections": 32}})
    attackers = [await asyncio.open_connection("127.0.0.1", server.media_port) for _ in range(80)]
    try:
        reads = [asyncio.ensure_future(reader.read(1)) for reader, _ in attackers]
        done, waiting = await asyncio.wait(reads, timeout=2)
        assert (len(done), len(waiting)) == (48, 32)
        assert (await asyncio.to_thread(server.metrics))[REFUSED] == 48
    finally:
        for one in waiting:
            one.cancel()
        for _, writer in attackers:
            writer.close()
